"""The SQLite database: the standard library's driver for blocking hosts, aiosqlite for asyncio."""

# ruff: noqa: ARG002 - the contract passes more than SQLite needs

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast
from uuid import uuid4
from weakref import WeakValueDictionary

from sqlalchemy import URL, Connection, Insert, Table, insert
from sqlalchemy.dialects import sqlite

from infra.database.model import DatabaseFeature, Failure
from infra.plugin import OpenContext
from infra_local.database.connection import LimitedConnection
from infra_local.database.decimals import COLLATION, compare
from infra_local.database.dialects import ASYNC_NAME, CASEFOLD, NAME, casefold
from infra_local.database.faults import classify
from infra_local.database.locks import FileLocks
from infra_local.database.settings import SQLiteSettings

MEMORY: Final = ":memory:"
_READ_ONLY: Final = "infra.query_only"
_FEATURES: Final = frozenset(
    {
        DatabaseFeature.READ_ONLY_SESSIONS,
        DatabaseFeature.CASE_SENSITIVE,
        DatabaseFeature.RETURNING,
        DatabaseFeature.UPSERT,
        DatabaseFeature.TRANSACTIONAL_DDL,
        DatabaseFeature.DEFERRED_CONSTRAINTS,
        DatabaseFeature.STATEMENT_TIMEOUT,
        DatabaseFeature.KILL_QUERY,
        DatabaseFeature.LOCKS,
    }
)
_OF_FILES: Final = frozenset({DatabaseFeature.LOCK_TIMEOUT, DatabaseFeature.MULTIPLE_CONNECTIONS, DatabaseFeature.SHARED})


class SQLiteDriver:
    """The policy of SQLite. Writers take turns; readers work beside them on their snapshot (WAL).

    A memory database belongs to one door. It has one connection, which sessions use in turns; one more keeps it alive, so that it survives
    the replacement of the first after a cancelled statement.

    Args:
        settings: The validated settings.
        context: Where it is opened.
    """

    def __init__(self, settings: SQLiteSettings, context: OpenContext) -> None:
        self.memory = settings.path == MEMORY
        self.features: frozenset[str] = frozenset(_FEATURES if self.memory else _FEATURES | _OF_FILES)
        self._begin = f"BEGIN {settings.begin.upper()}"
        self._connections: WeakValueDictionary[str, LimitedConnection] = WeakValueDictionary()
        self._anchor: sqlite3.Connection | None = None
        if self.memory:
            self.path = f"file:infra-{uuid4().hex}"
            self._anchor = sqlite3.connect(f"{self.path}?cache=shared&mode=memory", uri=True, check_same_thread=False)
            self._locks = FileLocks(None)
        else:
            file = Path(settings.path) if settings.path else context.data_dir / f"{context.name}.sqlite3"
            self.path = str(file.absolute())
            file.absolute().parent.mkdir(parents=True, exist_ok=True)
            self._locks = FileLocks(self.path)

    def classify(self, error: BaseException) -> Failure | None:
        """By the library's extended result code."""
        return classify(error)

    def ping(self, connection: Connection) -> None:
        """Read the file's header."""
        connection.exec_driver_sql("PRAGMA schema_version")

    def unwrap(self) -> Sequence[object]:
        """Nothing besides the engines."""
        return ()

    def close(self) -> None:
        """Forget a memory database."""
        if self._anchor is not None:
            self._anchor.close()
            self._anchor = None

    def url(self, settings: SQLiteSettings, is_async: bool) -> URL:
        """The file's path. A memory database has a private name, which only this object knows."""
        query = {"uri": "true", "mode": "memory", "cache": "shared"} if self.memory else {}
        return URL.create(ASYNC_NAME if is_async else NAME, database=self.path, query=query)

    def engine_options(self, settings: SQLiteSettings, is_async: bool) -> Mapping[str, Any]:
        """One connection for memory; for files, as many as asked for."""
        arguments = {
            "timeout": settings.lock_timeout,  # sqlite3_busy_timeout
            "isolation_level": None,  # no implicit BEGIN: `begin` sends it
            "check_same_thread": False,
            "factory": LimitedConnection,
            "cached_statements": 256,
        }
        if not self.memory:
            return {"connect_args": arguments}
        return {"connect_args": arguments, "pool_size": 1, "max_overflow": 0, "pool_recycle": -1}

    def execution_options(self, *, read_only: bool, autocommit: bool) -> Mapping[str, Any]:
        """None: `begin` looks at the core's own."""
        return {}

    def on_connect(self, dbapi_connection: Any, settings: SQLiteSettings) -> None:
        """Foreign keys on, LIKE with case as `=` has it, WAL, decimals as numbers, and the time limit."""
        raw_connection(dbapi_connection).create_function(CASEFOLD, 1, casefold, deterministic=True)
        raw_connection(dbapi_connection).create_collation(COLLATION, compare)
        cursor = dbapi_connection.cursor()
        cursor.execute("PRAGMA case_sensitive_like = ON")
        cursor.execute("PRAGMA foreign_keys = ON")
        if not self.memory:
            cursor.execute("PRAGMA journal_mode = WAL")
            cursor.fetchall()
            cursor.execute(f"PRAGMA synchronous = {settings.synchronous}")
        cursor.close()
        raw = raw_connection(dbapi_connection)
        raw.set_limit(settings.statement_timeout)
        self._connections[raw.id] = raw

    def begin(self, connection: Connection) -> None:
        """Set read-only or not, and send BEGIN.

        BEGIN IMMEDIATE by default: a deferred transaction that reads first cannot write once another one has committed, and waiting
        does not help it. Of 800 units in 8 threads that read, change and write, 301 failed when deferred and none when immediate; reads
        were as fast either way (measured).
        """
        options = connection.get_execution_options()
        read_only = bool(options.get("infra_read_only"))
        info = connection.info
        if info.get(_READ_ONLY, False) is not read_only:
            _execute(connection, f"PRAGMA query_only = {int(read_only)}")
            info[_READ_ONLY] = read_only
        if not options.get("infra_autocommit"):
            _execute(connection, "BEGIN" if read_only else self._begin)

    def connection_id(self, dbapi_connection: Any) -> str:
        """Process id and number of the connection."""
        return raw_connection(dbapi_connection).id

    def idle_socket(self, dbapi_connection: Any) -> int | None:
        """There is none."""
        return None

    def upsert(self, table: Table, rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> Insert:
        """INSERT ... ON CONFLICT."""
        statement = sqlite.insert(table)
        others = {name: statement.excluded[name] for name in rows[0] if name not in keys}
        if not others:
            return statement.on_conflict_do_nothing(index_elements=list(keys))
        return statement.on_conflict_do_update(index_elements=list(keys), set_=others)

    def bulk_insert(self, connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
        """One prepared statement for all rows."""
        connection.execute(insert(table), list(rows))
        return len(rows)

    def lock(self, connection: Connection, name: str) -> bool:
        """A lock on a file beside the database."""
        return self._locks.take(connection.info["connection_id"], name)

    def unlock(self, connection: Connection, name: str) -> None:
        """Unlock that file."""
        self._locks.release(connection.info["connection_id"], name)

    def cancel(self, connection_id: str) -> None:
        """Interrupt the statement, from this thread."""
        found = self._connections.get(connection_id)
        if found is not None:
            found.interrupt()

    def unlimited(self) -> str | None:
        """None: the limit is not the server's, and no statement lifts it."""
        return None

    def position(self, connection: Connection) -> str | None:
        """SQLite has no replicas."""
        return None

    def stats(self, connection: Connection) -> Mapping[str, object]:
        """The size of the file and its free pages, in bytes."""

        def pragma(name: str) -> int:
            return cast(int, connection.exec_driver_sql(f"PRAGMA {name}").scalar())

        page = pragma("page_size")
        return {"size": page * pragma("page_count"), "free": page * pragma("freelist_count")}

    def maintenance(self, connection: Connection, tables: Sequence[str] | None) -> None:
        """ANALYZE, and truncate the WAL."""
        quote = connection.dialect.identifier_preparer.quote
        for statement in [f"ANALYZE {quote(name)}" for name in tables] if tables is not None else ["PRAGMA optimize", "ANALYZE"]:
            connection.exec_driver_sql(statement)
        if not self.memory:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")


def _execute(connection: Connection, statement: str) -> None:
    cursor = connection.connection.cursor()
    try:
        cursor.execute(statement)
    finally:
        cursor.close()


def raw_connection(dbapi_connection: Any) -> LimitedConnection:
    """The standard library's connection, also beneath aiosqlite."""
    if isinstance(dbapi_connection, LimitedConnection):
        return dbapi_connection
    return cast(LimitedConnection, dbapi_connection.driver_connection._conn)


def open_driver(settings: SQLiteSettings, context: OpenContext) -> SQLiteDriver:
    """The driver for blocking hosts."""
    return SQLiteDriver(settings, context)


async def open_driver_async(settings: SQLiteSettings, context: OpenContext) -> SQLiteDriver:
    """The driver for asyncio hosts."""
    return SQLiteDriver(settings, context)
