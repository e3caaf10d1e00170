from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pymysql
import pytest
import pytest_asyncio

from infra_testing.conformance.database import (
    AsyncDatabaseConformance,
    AsyncErrorCases,
    AsyncSessionCases,
    DatabaseConformance,
    DatabaseHarness,
    ErrorCases,
    SessionCases,
)
from infra_testing.conformance.database.tables import SuiteBase
from infra_testing.proxy import FaultProxy
from infra_testing.pytest_plugin import need_package, provide
from infra_testing.services import MariaDBServer


class Control:
    """A server of this module's own, which its cases kill, and a proxy before it."""

    def __init__(self) -> None:
        # A killed process loses nothing that it gave to the kernel: only a power failure needs flushing.
        self.server = MariaDBServer({"innodb-flush-log-at-trx-commit": "2", "innodb-flush-method": "nosync"})
        self.proxy: FaultProxy | None = None

    def settings(self) -> dict[str, object]:
        if self.proxy is None:
            provide(MariaDBServer, lambda _: self.server.start())
            self.server.database("suite")
            self.proxy = FaultProxy(self.server.port).start()
        return {"host": "127.0.0.1", "port": self.proxy.port, "username": "root", "database": "suite", "connect_timeout": 30}

    def kill(self) -> None:
        self.server.kill()

    def start(self) -> None:
        self.server.start()

    @contextmanager
    def cut_at_commit(self) -> Iterator[None]:
        assert self.proxy is not None
        self.proxy.cut_answer_to(b"\x03COMMIT")  # as a command: a new session sets READ-COMMITTED
        try:
            yield
        finally:
            self.proxy.heal()

    def running(self) -> int:
        query = "SELECT COUNT(*) FROM information_schema.processlist WHERE db = 'suite' AND command = 'Query' AND id <> CONNECTION_ID()"
        return int(self.server.sql(query))

    def emptied(self) -> bool:
        """Whether the database has all tables of the suite, which are empty now. Making them anew takes 0.3 s, twice a test."""
        assert self.proxy is not None
        with (
            pymysql.connect(host="127.0.0.1", port=self.server.port, user="root", database="suite", autocommit=True) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute("SET foreign_key_checks = 0")
            cursor.execute("SHOW TABLES")
            tables = {name for (name,) in cursor.fetchall()}
            if tables == set(SuiteBase.metadata.tables):
                for name in tables:
                    cursor.execute(f"DELETE FROM {name}")
                return True
            for name in tables:
                cursor.execute(f"DROP TABLE {name}")
            return False

    def close(self) -> None:
        if self.proxy is not None:
            self.proxy.close()
        self.server.close()
        self.__init__()  # a process that runs cases of other modules in between may come back to this one


CONTROL = Control()


def harness(*drivers: str) -> DatabaseHarness:
    return DatabaseHarness("mysql", lambda: {**CONTROL.settings(), "driver": list(drivers)}, plugin="infra_mysql", control=lambda: CONTROL)


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[None]:
    yield
    CONTROL.close()


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


class TestAiomysql(AsyncSessionCases, AsyncErrorCases):
    """The parts that depend on the driver most; asyncmy runs them all."""

    harness = harness("aiomysql")
    database = TestAsyncmy.database


class TestMySQLClient(SessionCases, ErrorCases):
    """The parts that depend on the driver most; PyMySQL runs them all."""

    harness = harness("mysqlclient")
    database = TestPyMySQL.database

    @pytest.fixture(autouse=True)
    def installed(self):
        need_package("MySQLdb", "run `make services`")
