"""Value types of databases: features, what a failure means, how a unit is retried, and what the server says about itself."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal

#: Where a session works: the primary, or a replica (read-only, enforced by the server).
Role = Literal["writer", "reader"]


class DatabaseFeature(StrEnum):
    """What a provider may have. Ask for it with ``require``, or with ``db.supports(...)``."""

    SERVER = "server"  #: a server over a network, which can go away while this process lives
    CONCURRENT_WRITERS = "concurrent_writers"  #: transactions write different rows at once; without it they take turns
    READ_ONLY_SESSIONS = "read_only_sessions"  #: ``role="reader"`` is enforced, not only promised
    CASE_SENSITIVE = "case_sensitive"  #: every operator compares text with case and accents; without it as the column's collation says
    RETURNING = "returning"  #: INSERT, UPDATE and DELETE give rows back
    UPSERT = "upsert"  #: one statement inserts or updates
    SKIP_LOCKED = "skip_locked"  #: SELECT ... FOR UPDATE SKIP LOCKED
    TRANSACTIONAL_DDL = "transactional_ddl"  #: CREATE and ALTER roll back
    DEFERRED_CONSTRAINTS = "deferred_constraints"  #: constraints that are checked at COMMIT
    STATEMENT_TIMEOUT = "statement_timeout"  #: a statement ends after `statement_timeout`
    LOCK_TIMEOUT = "lock_timeout"  #: waiting for a lock ends after `lock_timeout`
    IDLE_TIMEOUT = "idle_timeout"  #: the server ends transactions idle for `idle_in_transaction_timeout`
    KILL_QUERY = "kill_query"  #: a cancelled statement does not go on running
    LOCKS = "locks"  #: ``db.lock(name)`` between processes
    NOTIFY = "notify"  #: LISTEN and NOTIFY
    COPY = "copy"  #: bulk load faster than INSERT
    COMMIT_STATUS = "commit_status"  #: the server can tell what became of a transaction
    POSITION = "position"  #: a position in the log, for sticky reads on replicas
    MULTIPLE_CONNECTIONS = "multiple_connections"  #: several sessions at once; without it they take turns on one connection
    SHARED = "shared"  #: other processes can use the same database
    TIMESERIES = "timeseries"  #: hypertables


class Fault(StrEnum):
    """What an exception of a DBAPI means, on every server."""

    CONNECTION = "connection"  #: there is no connection any more, or none could be made
    MISSING = "missing"  #: the server has no such database
    UNAUTHENTICATED = "unauthenticated"
    PERMISSION = "permission"
    UNIQUE = "unique"
    FOREIGN_KEY = "foreign_key"
    NOT_NULL = "not_null"
    CHECK = "check"
    INTEGRITY = "integrity"  #: a constraint of another kind
    DEADLOCK = "deadlock"
    SERIALIZATION = "serialization"
    STATEMENT_TIMEOUT = "statement_timeout"
    LOCK_TIMEOUT = "lock_timeout"
    POOL_TIMEOUT = "pool_timeout"
    CANCELLED = "cancelled"
    READ_ONLY = "read_only"
    SAVEPOINT_LOST = "savepoint_lost"  #: the server ended the transaction that the savepoint was in (MySQL, after a deadlock)
    DATA = "data"  #: a value out of range, too long or of the wrong type
    STATEMENT = "statement"  #: the statement itself is wrong: syntax, unknown table or column
    LIMIT = "limit"  #: the server is out of connections, disk or memory
    CORRUPT = "corrupt"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A driver's verdict on an exception of its DBAPI.

    Args:
        fault: What it means.
        code: The SQLSTATE, or the server's own number.
        constraint: The constraint or the columns, for integrity faults, where the server says.
        ends_transaction: The server rolled back the whole transaction, not only to a savepoint.
        commit_unknown: Raised by COMMIT, it leaves open whether the transaction was committed.
        remedy: What to do about it, where the driver knows better than what is usual for the fault.
        reason: The cause in the driver's own words, which hold no data and so are shown in production too.
        settings: The settings that it is about, where those that are usual for the fault are not.
    """

    fault: Fault
    code: str | None = None
    constraint: str | None = None
    ends_transaction: bool = False
    commit_unknown: bool = False
    remedy: str | None = None
    reason: str | None = None
    settings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often `run` repeats a unit, and how long it waits in between.

    Args:
        attempts: Runs in all; 1 never repeats.
        first: The longest wait before the second run, in seconds; it doubles with each further one.
        longest: The longest wait at all, in seconds.
    """

    attempts: int = 3
    first: float = 0.05
    longest: float = 2.0

    def delay(self, attempt: int) -> float:
        """Seconds to wait after run number `attempt`, counted from 1: full jitter, so that rivals do not meet again."""
        return random.random() * min(self.longest, self.first * 2.0 ** min(attempt - 1, 30))  # noqa: S311


NO_RETRY: Final = Retry(attempts=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseInfo:
    """What one connects to.

    Args:
        dialect: SQLAlchemy's name of the server's kind: ``postgresql``.
        driver: SQLAlchemy's name of the DBAPI: ``psycopg``.
        server_version: As the server gives it.
        database: Its name, or the file's path.
        features: What the provider has.
        details: Further facts of the driver's.
    """

    dialect: str
    driver: str
    server_version: str
    database: str | None
    features: frozenset[str]
    details: Mapping[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStats:
    """Connections of this process.

    Args:
        limit: The most at once: `pool_size` and `max_overflow`.
        open: Now open.
        in_use: Now handed out.
        idle: Open and waiting.
    """

    limit: int
    open: int
    in_use: int
    idle: int

    @property
    def saturated(self) -> bool:
        """True when the next session has to wait."""
        return self.in_use >= self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseStats:
    """Numbers of the pool and, where asked for, of the server."""

    pool: PoolStats
    server: Mapping[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaReport:
    """How the database differs from the models.

    Args:
        missing_tables: Tables of the models that the database lacks.
        missing_columns: ``table.column`` of the models that the database lacks.
        unexpected_columns: ``table.column`` of the database that no model has, in tables that a model has.
    """

    missing_tables: tuple[str, ...] = ()
    missing_columns: tuple[str, ...] = ()
    unexpected_columns: tuple[str, ...] = ()

    @property
    def is_valid(self) -> bool:
        """True when the models can work on this database."""
        return not self.missing_tables and not self.missing_columns
