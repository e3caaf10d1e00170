from __future__ import annotations

from collections.abc import Iterator

import pymysql
import pytest
import pytest_asyncio

from infra_testing.conformance.database import (
    AsyncDatabaseConformance,
    AsyncErrorCases,
    AsyncMisuseCases,
    AsyncSessionCases,
    DatabaseConformance,
    DatabaseHarness,
    ErrorCases,
    MisuseCases,
    ProxiedServer,
    SessionCases,
)
from infra_testing.conformance.database.tables import SuiteBase
from infra_testing.pytest_plugin import need_package
from infra_testing.services import MariaDBServer, MySQLServer


class Control(ProxiedServer[MariaDBServer]):
    def prepare(self, server: MariaDBServer) -> None:
        server.database("suite")

    def settings(self) -> dict[str, object]:
        return {"host": "127.0.0.1", "port": self.port, "username": "root", "database": "suite", "connect_timeout": 30}

    def running(self) -> int:
        query = "SELECT COUNT(*) FROM information_schema.processlist WHERE db = 'suite' AND command = 'Query' AND id <> CONNECTION_ID()"
        return int(self.server.sql(query))

    def emptied(self) -> bool:
        """Whether the database has all tables of the suite, which are empty now. Making them anew takes 0.3 s, twice a test."""
        with (
            pymysql.connect(host="127.0.0.1", port=self.server.port, user="root", database="suite", autocommit=True) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute("SET foreign_key_checks = 0")
            cursor.execute("SHOW TABLES")
            tables = {name for (name,) in cursor.fetchall()}
            if tables == set(SuiteBase.metadata.tables):
                for name in tables:
                    cursor.execute(f"DELETE FROM `{name}`")
                return True
            for name in tables:
                cursor.execute(f"DROP TABLE `{name}`")
            return False


# A killed process loses nothing that it gave to the kernel: only a power failure needs flushing. The command's byte is part of what is
# looked for: a new session sets READ-COMMITTED.
OPTIONS = {"innodb-flush-log-at-trx-commit": "2", "innodb-flush-method": "nosync"}
CONTROL = Control(lambda: MariaDBServer(OPTIONS), b"\x03COMMIT")
MYSQL = Control(lambda: MySQLServer(OPTIONS), b"\x03COMMIT")


def harness(*drivers: str, control: Control = CONTROL) -> DatabaseHarness:
    return DatabaseHarness("mysql", lambda: {**control.settings(), "driver": list(drivers)}, plugin="infra_mysql", control=lambda: control)


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[None]:
    yield
    CONTROL.close()
    MYSQL.close()


class TestPyMySQL(DatabaseConformance):
    harness = harness()

    @pytest.fixture
    def database(self, opened):
        database = opened()
        if not CONTROL.emptied():
            database.create_all(SuiteBase.metadata)
        return database


class TestAsyncmy(AsyncDatabaseConformance):
    harness = harness()

    @pytest_asyncio.fixture
    async def database(self, opened):
        database = await opened()
        if not CONTROL.emptied():
            await database.create_all(SuiteBase.metadata)
        return database


class TestAiomysql(AsyncSessionCases, AsyncErrorCases, AsyncMisuseCases):
    """The parts that depend on the driver most; asyncmy runs them all."""

    harness = harness("aiomysql")
    database = TestAsyncmy.database


class TestMySQLClient(SessionCases, ErrorCases, MisuseCases):
    """The parts that depend on the driver most; PyMySQL runs them all."""

    harness = harness("mysqlclient")
    database = TestPyMySQL.database

    @pytest.fixture(autouse=True)
    def installed(self):
        need_package("MySQLdb", "run `make services`")


@pytest.mark.optional_server(kind=MySQLServer)
class TestMySQL(DatabaseConformance):
    """MySQL's own server, through PyMySQL."""

    harness = harness(control=MYSQL)

    @pytest.fixture
    def database(self, opened):
        database = opened()
        if not MYSQL.emptied():
            database.create_all(SuiteBase.metadata)
        return database


@pytest.mark.optional_server(kind=MySQLServer)
class TestMySQLAsync(AsyncDatabaseConformance):
    """MySQL's own server, through asyncmy."""

    harness = harness(control=MYSQL)

    @pytest_asyncio.fixture
    async def database(self, opened):
        database = await opened()
        if not MYSQL.emptied():
            await database.create_all(SuiteBase.metadata)
        return database
