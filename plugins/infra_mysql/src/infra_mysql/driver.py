"""The MySQL and MariaDB database, over any of four DBAPIs."""

# ruff: noqa: ARG002 - the contract passes more than MySQL needs

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from hashlib import blake2b
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from sqlalchemy import URL, ColumnElement, Connection, Executable, Insert, Table, func, select, text
from sqlalchemy.dialects import mysql

from infra.database.errors import StatementError
from infra.database.model import DatabaseFeature, Failure
from infra.database.repository.bulk import insert_rows
from infra.errors import ConfigurationError, InfraError, UnsupportedError
from infra.plugin import OpenContext
from infra_mysql.connecting import (
    UNLIMITED,
    check_server,
    connect_arguments,
    connect_plainly,
    descriptor_of,
    isolation_of,
    keep_alive,
    make_url,
    session_settings,
)
from infra_mysql.dialects import raw_connection
from infra_mysql.faults import classify
from infra_mysql.limits import PLACE, StatementLimit
from infra_mysql.settings import Driver, MySQLSettings

_READ_ONLY: Final = "infra.read_only"
_HOLDS: Final = "infra.holds_locks"
#: RETURNING is absent: MariaDB has it for INSERT and DELETE, not for UPDATE, and MySQL not at all.
_FEATURES: Final = frozenset(
    {
        DatabaseFeature.SERVER,
        DatabaseFeature.CONCURRENT_WRITERS,
        DatabaseFeature.READ_ONLY_SESSIONS,
        DatabaseFeature.UPSERT,
        DatabaseFeature.SKIP_LOCKED,
        DatabaseFeature.STATEMENT_TIMEOUT,
        DatabaseFeature.LOCK_TIMEOUT,
        DatabaseFeature.IDLE_TIMEOUT,
        DatabaseFeature.KILL_QUERY,
        DatabaseFeature.LOCKS,
        DatabaseFeature.MULTIPLE_CONNECTIONS,
        DatabaseFeature.SHARED,
    }
)
_STATS: Final = text("""
    SELECT (SELECT CAST(COALESCE(SUM(data_length + index_length), 0) AS UNSIGNED) FROM information_schema.tables
            WHERE table_schema = DATABASE()) AS size,
        (SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE()) AS connections,
        @@max_connections AS max_connections
""")
#: Counters of the server, by our names.
_COUNTERS: Final = {
    "Threads_connected": "server_connections",
    "Threads_running": "running",
    "Max_used_connections": "most_connections",
    "Com_commit": "commits",
    "Com_rollback": "rollbacks",
    "Slow_queries": "slow_queries",
    "Aborted_clients": "aborted_clients",
    "Innodb_deadlocks": "deadlocks",
    "Uptime": "uptime",
}
_ERRORS_OF: Final[dict[Driver, str]] = {"pymysql": "pymysql", "mysqlclient": "MySQLdb", "asyncmy": "asyncmy.errors", "aiomysql": "aiomysql"}
_MODULE_OF: Final[dict[Driver, str]] = {"pymysql": "pymysql", "mysqlclient": "MySQLdb", "asyncmy": "asyncmy", "aiomysql": "aiomysql"}


class MySQLDriver:
    """The policy of MySQL and MariaDB.

    Args:
        settings: The validated settings.
        context: Where it is opened.
        is_async: For which door.
    """

    def __init__(self, settings: MySQLSettings, context: OpenContext, is_async: bool) -> None:
        self.features: frozenset[str] = frozenset(_FEATURES)
        self._context = context
        self._driver: Driver = settings.driver_of(is_async)
        self._session = session_settings(settings)
        self._isolation = isolation_of(settings)
        self._is_async = is_async
        self._limit: StatementLimit | None = None
        self._guard = threading.Lock()

    def classify(self, error: BaseException) -> Failure | None:
        """By number; by text where there is none."""
        return classify(error)

    def ping(self, connection: Connection) -> None:
        """SELECT 1."""
        connection.exec_driver_sql("SELECT 1")

    def unwrap(self) -> Sequence[object]:
        """Nothing besides the engines."""
        return ()

    def close(self) -> None:
        """End the thread that limits statements."""
        if self._limit is not None:
            self._limit.close()

    def url(self, settings: MySQLSettings, is_async: bool) -> URL:
        """Host, port, database and account."""
        return make_url(settings, is_async)

    def engine_options(self, settings: MySQLSettings, is_async: bool) -> Mapping[str, Any]:
        """The arguments of a connection."""
        return {"connect_args": connect_arguments(settings, is_async, self._context.is_production)}

    def execution_options(self, *, read_only: bool, autocommit: bool) -> Mapping[str, Any]:
        """None: `begin` looks at the core's own."""
        return {}

    def on_connect(self, dbapi_connection: Any, settings: MySQLSettings) -> None:
        """Set up the session in one statement, and look at the server's mode and version."""
        raw = raw_connection(dbapi_connection)
        try:
            descriptor = descriptor_of(raw, self._driver)
            if descriptor is not None:
                keep_alive(descriptor)
            cursor = dbapi_connection.cursor()
            cursor.execute(self._session)
            cursor.execute(self._isolation)
            cursor.execute(f"SELECT VERSION(), @@sql_mode, {PLACE}")
            version, sql_mode, place = cursor.fetchone()
            cursor.close()
            check_server(version, sql_mode)
            if settings.statement_timeout and "mariadb" not in version.lower():  # MySQL's own limit ends reads alone
                error: type[Exception] = import_module(_ERRORS_OF[self._driver]).OperationalError
                self._limited(settings).watch(raw, place, error, self._is_async)
        except BaseException as error:
            raw.close()  # nobody else knows of it yet
            if isinstance(error, ConfigurationError):
                raise self._named(error) from None
            raise

    def begin(self, connection: Connection) -> None:
        """Let the session's modes be what this one needs; they change when the last one on this connection was of another kind.

        Without autocommit a transaction begins with its first statement: BEGIN would be a round trip more.
        """
        options = connection.get_execution_options()
        autocommit, read_only = bool(options.get("infra_autocommit")), bool(options.get("infra_read_only"))
        dbapi_connection: Any = connection.connection.dbapi_connection
        raw_connection(dbapi_connection).infra_committed = False
        if bool(dbapi_connection.get_autocommit()) is not autocommit:
            dbapi_connection.autocommit(autocommit)
        info = connection.info
        if info.get(_READ_ONLY, False) is not read_only:
            _execute(dbapi_connection, f"SET SESSION TRANSACTION READ {'ONLY' if read_only else 'WRITE'}")
            info[_READ_ONLY] = read_only

    def connection_id(self, dbapi_connection: Any) -> str:
        """The id of its thread on the server."""
        return str(raw_connection(dbapi_connection).thread_id())

    def idle_socket(self, dbapi_connection: Any) -> int | None:
        """The connection's socket; None once it is closed."""
        return descriptor_of(raw_connection(dbapi_connection), self._driver)

    def upsert(self, table: Table, rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> Insert:
        """INSERT ... ON DUPLICATE KEY UPDATE. The server looks at every unique key of the table, not only at `keys`."""
        statement = mysql.insert(table)
        others: dict[str, Any] = {name: statement.inserted[name] for name in rows[0] if name not in keys}
        return statement.on_duplicate_key_update(others or {keys[0]: table.c[keys[0]]})

    def bulk_insert(self, connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
        """INSERT with many rows each, as the DBAPIs send them. LOAD DATA LOCAL would need a right that servers had better not give."""
        return insert_rows(connection, table, rows)

    def lock(self, connection: Connection, name: str) -> bool:
        """GET_LOCK, which belongs to the connection; by a hash, since names are short and the server's databases share them."""
        if not connection.info.get(_HOLDS):
            # MySQL ends sessions that are idle for longer than this, and whoever holds a lock is idle here.
            connection.exec_driver_sql("SET SESSION wait_timeout = 2147483")
            connection.info[_HOLDS] = True
        return bool(connection.scalar(select(func.get_lock(_lock_name(connection, name), 0))))

    def unlock(self, connection: Connection, name: str) -> None:
        """RELEASE_LOCK."""
        connection.execute(select(func.release_lock(_lock_name(connection, name))))

    def notify(self, channel: str) -> ColumnElement[Any]:
        """There is nothing like it."""
        raise self._unsupported()

    def wait_for_notice(self, connection: Connection, channel: str, timeout: float) -> bool:
        """There is nothing like it."""
        raise self._unsupported()

    def cancel(self, connection_id: str) -> Executable | None:
        """End the connection on the server, with what it runs: the drivers only close their end, which a running statement does not notice.

        Not KILL QUERY: a statement that is still on its way would run after it.
        """
        return text(f"KILL CONNECTION {int(connection_id)}")

    def unlimited(self) -> str | None:
        """Lifts max_statement_time or max_execution_time."""
        return UNLIMITED

    def position(self, connection: Connection) -> str | None:
        """None: not every server writes a log."""
        return None

    def stats(self, connection: Connection) -> Mapping[str, object]:
        """Size in bytes, connections, and counts since the server started."""
        names = ", ".join(f"'{name}'" for name in _COUNTERS)
        found = connection.exec_driver_sql(f"SHOW GLOBAL STATUS WHERE Variable_name IN ({names})").all()
        return {**connection.execute(_STATS).mappings().one(), **{_COUNTERS[name]: int(value) for name, value in found}}

    def maintenance(self, connection: Connection, tables: Sequence[str] | None) -> None:
        """OPTIMIZE TABLE, which rebuilds InnoDB tables and refreshes their statistics, without a time limit."""
        if tables is None:
            tables = [name for name, _ in connection.exec_driver_sql("SHOW FULL TABLES WHERE Table_type = 'BASE TABLE'")]
        quote = connection.dialect.identifier_preparer.quote
        connection.exec_driver_sql(UNLIMITED)
        try:
            for table in tables:
                name = ".".join(quote(part) for part in table.split("."))
                for _, _, kind, said in connection.exec_driver_sql(f"OPTIMIZE TABLE {name}"):
                    if kind.lower() == "error":  # it answers with rows, not with an error
                        raise StatementError(
                            f"{table} cannot be optimized: {said}",
                            resource=self._context.resource,
                            provider=self._context.provider,
                            operation="optimize",
                            remedy="check the table's name",
                        )
        finally:
            connection.exec_driver_sql(self._session)
            if self._limit is not None:
                self._limit.restore(raw_connection(connection.connection))

    def _limited(self, settings: MySQLSettings) -> StatementLimit:
        """What ends statements of this process that take too long."""
        with self._guard:
            if self._limit is None or self._limit.process != os.getpid():
                connect = partial(connect_plainly, settings, self._context.is_production)
                self._limit = StatementLimit(settings.statement_timeout, connect, self._context.resource)
            return self._limit

    def _named(self, error: InfraError) -> InfraError:
        return ConfigurationError(
            error.message, resource=self._context.resource, provider=self._context.provider, operation="connect", remedy=error.remedy
        )

    def _unsupported(self) -> UnsupportedError:
        return UnsupportedError(
            "MySQL and MariaDB have no notifications",
            resource=self._context.resource,
            provider=self._context.provider,
            operation="notify",
            remedy="poll, or choose a provider with the feature `notify`",
        )


def _execute(dbapi_connection: Any, statement: str) -> None:
    cursor = dbapi_connection.cursor()
    try:
        cursor.execute(statement)
    finally:
        cursor.close()


def _lock_name(connection: Connection, name: str) -> str:
    return "infra." + blake2b(f"{connection.engine.url.database}\0{name}".encode(), digest_size=16).hexdigest()


def _check(settings: MySQLSettings, context: OpenContext, is_async: bool) -> None:
    driver = settings.driver_of(is_async)
    if find_spec(_MODULE_OF[driver]) is None:
        raise ConfigurationError(
            f"{driver} is not installed",
            resource=context.resource,
            provider=context.provider,
            remedy=f"pip install 'infra-mysql[{driver}]', or leave it out of `driver`",
        )
    if driver == "aiomysql" and settings.read_timeout:
        raise ConfigurationError(
            "aiomysql has no read timeout",
            resource=context.resource,
            provider=context.provider,
            remedy="leave out `read_timeout`, or choose the driver asyncmy",
        )


def open_driver(settings: MySQLSettings, context: OpenContext) -> MySQLDriver:
    """The driver for blocking hosts.

    Raises:
        ConfigurationError: The settings name a driver that is not installed.
    """
    _check(settings, context, False)
    return MySQLDriver(settings, context, False)


async def open_driver_async(settings: MySQLSettings, context: OpenContext) -> MySQLDriver:
    """The driver for asyncio hosts.

    Raises:
        ConfigurationError: The settings name a driver that is not installed, or ask it for what it lacks.
    """
    _check(settings, context, True)
    return MySQLDriver(settings, context, True)
