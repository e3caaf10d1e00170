"""The PostgreSQL database: psycopg for both doors, asyncpg for asyncio when the settings say so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from importlib.util import find_spec
from typing import Any, Final

import psycopg
from sqlalchemy import URL, ColumnElement, Connection, Executable, Insert, Table, func, select, text
from sqlalchemy.dialects import postgresql

from infra.database.model import DatabaseFeature, Failure
from infra.errors import ConfigurationError
from infra.plugin import OpenContext
from infra_postgres import pooled
from infra_postgres.connecting import connect_arguments, keep_alive, make_url, session_settings
from infra_postgres.copying import copy_rows
from infra_postgres.faults import classify
from infra_postgres.listening import wait_for_notice
from infra_postgres.settings import PostgresSettings
from infra_postgres.silence import watch

_READ_ONLY: Final = "infra.read_only"
_UNLIMITED: Final = "SET statement_timeout = 0"
_FEATURES: Final = frozenset(
    {
        DatabaseFeature.SERVER,
        DatabaseFeature.CONCURRENT_WRITERS,
        DatabaseFeature.READ_ONLY_SESSIONS,
        DatabaseFeature.CASE_SENSITIVE,
        DatabaseFeature.RETURNING,
        DatabaseFeature.UPSERT,
        DatabaseFeature.SKIP_LOCKED,
        DatabaseFeature.TRANSACTIONAL_DDL,
        DatabaseFeature.DEFERRED_CONSTRAINTS,
        DatabaseFeature.STATEMENT_TIMEOUT,
        DatabaseFeature.LOCK_TIMEOUT,
        DatabaseFeature.IDLE_TIMEOUT,
        DatabaseFeature.KILL_QUERY,
        DatabaseFeature.LOCKS,
        DatabaseFeature.NOTIFY,
        DatabaseFeature.COPY,
        DatabaseFeature.POSITION,
        DatabaseFeature.MULTIPLE_CONNECTIONS,
        DatabaseFeature.SHARED,
    }
)
#: What a pooler that lends sessions by the transaction leaves out. A process id is the pooler's own there: it ends nobody.
_OF_SESSIONS: Final = frozenset({DatabaseFeature.NOTIFY, DatabaseFeature.KILL_QUERY})
#: What is read back once, by the server's names: a pooler may have dropped it.
_READ_BACK: Final = ("default_transaction_isolation", "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
_STATS: Final = text("""
    SELECT pg_database_size(datname) AS size, numbackends AS connections, xact_commit AS commits, xact_rollback AS rollbacks,
        blks_hit AS blocks_hit, blks_read AS blocks_read, deadlocks, temp_bytes,
        current_setting('max_connections')::int AS max_connections,
        (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS server_connections
    FROM pg_stat_database WHERE datname = current_database()
""")
#: The timeline that pg_control_checkpoint knows lags behind a promotion; a primary's file names do not.
_POSITION: Final = text("""
    SELECT concat_ws('/', system_identifier,
        CASE WHEN pg_is_in_recovery() THEN (SELECT timeline_id FROM pg_control_checkpoint())
        ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int END,
        CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END - '0/0')
    FROM pg_control_system()
""")

#: Only a connection of this application from this machine: the process id may be another one's by now.
_TERMINATE: Final = text("""
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE pid = :pid AND application_name = :application AND client_addr IS NOT DISTINCT FROM inet_client_addr()
""")


class PostgresDriver:
    """The policy of PostgreSQL.

    Args:
        settings: The validated settings.
        context: Where it is opened.
    """

    def __init__(self, settings: PostgresSettings, context: OpenContext) -> None:
        self._pooled = settings.pooler is not None
        self.features: frozenset[str] = frozenset(_FEATURES - _OF_SESSIONS if self._pooled else _FEATURES)
        self._checked = False
        self._context = context
        self._production = context.is_production
        self._application = settings.application_name

    def classify(self, error: BaseException) -> Failure | None:
        """By SQLSTATE; by text where there is none."""
        return classify(error)

    def ping(self, connection: Connection) -> None:
        """SELECT 1."""
        connection.exec_driver_sql("SELECT 1")

    def unwrap(self) -> Sequence[object]:
        """Nothing besides the engines."""
        return ()

    def close(self) -> None:
        """There is nothing to let go of."""

    def url(self, settings: PostgresSettings, is_async: bool) -> URL:
        """Host, port, database and account."""
        return make_url(settings, is_async)

    def engine_options(self, settings: PostgresSettings, is_async: bool) -> Mapping[str, Any]:
        """The arguments of a connection; all session settings are among them."""
        arguments = {"connect_args": connect_arguments(settings, is_async, self._production)}
        if self._pooled:
            session = session_settings(settings)
            del session["application_name"]
            return arguments | pooled.engine_options(session, settings.isolation)
        return arguments

    def execution_options(self, *, read_only: bool, autocommit: bool) -> Mapping[str, Any]:
        """AUTOCOMMIT has no BEGIN to say READ ONLY in: there, `begin` sets the session's default."""
        if autocommit and not self._pooled:
            return {"isolation_level": "AUTOCOMMIT"}
        return {"postgresql_readonly": True} if read_only else {}

    def on_connect(self, dbapi_connection: Any, settings: PostgresSettings) -> None:
        """Only what the first packet, with the session's settings, cannot say: what to do when the server falls silent."""
        raw = _raw(dbapi_connection)
        if isinstance(raw, psycopg.Connection | psycopg.AsyncConnection):
            watch(raw, settings.network_timeout, settings.connect_timeout)
        else:
            keep_alive(raw)
        if not self._checked and not self._pooled:
            self._read_back(dbapi_connection, settings)
            self._checked = True

    def _read_back(self, dbapi_connection: Any, settings: PostgresSettings) -> None:
        wanted = session_settings(settings)
        cursor = dbapi_connection.cursor()
        cursor.execute(f"SELECT name, setting FROM pg_settings WHERE name IN {_READ_BACK}")  # noqa: S608 - names of our own
        ignored = sorted(name for name, value in cursor.fetchall() if value != wanted[name])
        cursor.close()
        dbapi_connection.rollback()
        if ignored:
            raise ConfigurationError(
                f"the server ignored {', '.join(ignored)}, as a pooler does",
                resource=self._context.resource,
                provider=self._context.provider,
                operation="connect",
                remedy='set `pooler = "transaction"`, or connect to the server itself',
            )

    def begin(self, connection: Connection) -> None:
        """Let the session's default be what this one needs. The DBAPI sends BEGIN with the first statement."""
        if self._pooled:
            return
        options = connection.get_execution_options()
        read_only = bool(options.get("infra_read_only") and options.get("infra_autocommit"))
        info = connection.info
        if info.get(_READ_ONLY, False) is not read_only:
            _set_read_only(connection.connection.dbapi_connection, read_only, in_autocommit=bool(options.get("infra_autocommit")))
            info[_READ_ONLY] = read_only

    def connection_id(self, dbapi_connection: Any) -> str:
        """The process id of its backend."""
        raw = _raw(dbapi_connection)
        pgconn = getattr(raw, "pgconn", None)
        return str(raw.get_server_pid() if pgconn is None else pgconn.backend_pid)

    def idle_socket(self, dbapi_connection: Any) -> int | None:
        """The connection's socket; None once it is closed."""
        raw = _raw(dbapi_connection)
        pgconn = getattr(raw, "pgconn", None)
        if pgconn is not None:
            return None if raw.closed else pgconn.socket
        # The event loop reads from it as well, and closes it when it has seen the end.
        return None if raw.is_closed() else raw._transport.get_extra_info("socket").fileno()

    def upsert(self, table: Table, rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> Insert:
        """INSERT ... ON CONFLICT."""
        statement = postgresql.insert(table)
        others = {name: statement.excluded[name] for name in rows[0] if name not in keys}
        if not others:
            return statement.on_conflict_do_nothing(index_elements=list(keys))
        return statement.on_conflict_do_update(index_elements=list(keys), set_=others)

    def bulk_insert(self, connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
        """COPY."""
        return copy_rows(connection, table, rows)

    def lock(self, connection: Connection, name: str) -> bool:
        """A session's advisory lock, on a number made of the name."""
        if self._pooled:
            return pooled.lock(connection, _number(name))
        return bool(connection.scalar(select(func.pg_try_advisory_lock(_number(name)))))

    def unlock(self, connection: Connection, name: str) -> None:
        """Unlock that number."""
        if self._pooled:
            pooled.unlock(connection)
            return
        connection.execute(select(func.pg_advisory_unlock(_number(name))))

    def notify(self, channel: str) -> ColumnElement[Any]:
        """pg_notify. The server sends equal notifications of one transaction once."""
        return func.pg_notify(channel, "")

    def wait_for_notice(self, connection: Connection, channel: str, timeout: float) -> bool:
        """LISTEN, then wait on the socket."""
        return wait_for_notice(connection, channel, timeout)

    def cancel(self, connection_id: str) -> Executable | None:
        """End its backend, for its connection is thrown away.

        The DBAPIs send a cancel request of their own, which overtakes the statement now and then, and then does nothing (asyncpg: 2 of 3).
        """
        if self._pooled:
            return None
        return _TERMINATE.bindparams(pid=int(connection_id), application=self._application)

    def unlimited(self) -> str | None:
        """Lifts statement_timeout."""
        return None if self._pooled else _UNLIMITED

    def position(self, connection: Connection) -> str | None:
        """``system/timeline/bytes of log``: written on a primary, replayed on a replica."""
        return connection.scalar(_POSITION)

    def stats(self, connection: Connection) -> Mapping[str, object]:
        """Size in bytes, connections, and counts since the server's statistics began."""
        return dict(connection.execute(_STATS).mappings().one())

    def maintenance(self, connection: Connection, tables: Sequence[str] | None) -> None:
        """VACUUM (ANALYZE), without a time limit; tables that somebody else has locked are left out."""
        quote = connection.dialect.identifier_preparer.quote
        names = [".".join(quote(part) for part in name.split(".")) for name in tables] if tables is not None else []
        if tables is not None and not names:
            return
        if self._pooled:  # VACUUM runs in no transaction
            connection.exec_driver_sql(f"ANALYZE {', '.join(names)}")
            return
        connection.exec_driver_sql(_UNLIMITED)
        try:
            connection.exec_driver_sql(f"VACUUM (ANALYZE, SKIP_LOCKED) {', '.join(names)}")
        finally:
            connection.exec_driver_sql("RESET statement_timeout")


def _raw(dbapi_connection: Any) -> Any:
    """psycopg's or asyncpg's own connection."""
    return getattr(dbapi_connection, "driver_connection", dbapi_connection)


def _number(name: str) -> int:
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), signed=True)


def _set_read_only(dbapi_connection: Any, read_only: bool, *, in_autocommit: bool) -> None:
    # Outside any transaction: a SET within one would be undone by its ROLLBACK.
    if not in_autocommit:
        dbapi_connection.autocommit = True
    cursor = dbapi_connection.cursor()
    try:
        cursor.execute(f"SET default_transaction_read_only = {'on' if read_only else 'off'}")
    finally:
        cursor.close()
        if not in_autocommit:
            dbapi_connection.autocommit = False


def open_driver(settings: PostgresSettings, context: OpenContext) -> PostgresDriver:
    """The driver for blocking hosts."""
    return PostgresDriver(settings, context)


async def open_driver_async(settings: PostgresSettings, context: OpenContext) -> PostgresDriver:
    """The driver for asyncio hosts.

    Raises:
        ConfigurationError: The settings name asyncpg, which is not installed.
    """
    if settings.driver == "asyncpg" and find_spec("asyncpg") is None:
        raise ConfigurationError(
            "asyncpg is not installed",
            resource=context.resource,
            provider=context.provider,
            remedy="pip install 'infra-postgres[asyncpg]', or leave `driver` at psycopg",
        )
    return PostgresDriver(settings, context)
