from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
import pytest_asyncio
from sqlalchemy import NullPool, create_engine

from infra_testing.conformance.database import AsyncDatabaseConformance, DatabaseConformance, DatabaseHarness
from infra_testing.conformance.database.tables import SuiteBase
from infra_testing.proxy import FaultProxy
from infra_testing.pytest_plugin import provide
from infra_testing.services import PostgresServer


class Control:
    """A server of this module's own, which its cases kill, and a proxy before it."""

    def __init__(self) -> None:
        # A killed process loses nothing that it gave to the kernel: only a power failure needs fsync.
        self.server = PostgresServer({"fsync": "off", "full_page_writes": "off"})
        self.proxy: FaultProxy | None = None

    def settings(self) -> dict[str, object]:
        if self.proxy is None:
            provide(PostgresServer, lambda _: self.server.start())
            self.proxy = FaultProxy(self.server.port).start()
        return {"host": "127.0.0.1", "port": self.proxy.port, "username": "postgres", "database": "postgres", "connect_timeout": 30}

    def kill(self) -> None:
        self.server.kill()

    def start(self) -> None:
        self.server.start()

    @contextmanager
    def cut_at_commit(self) -> Iterator[None]:
        assert self.proxy is not None
        self.proxy.cut_answer_to(b"COMMIT")
        try:
            yield
        finally:
            self.proxy.heal()

    def running(self) -> int:
        query = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND datname = 'postgres' AND pid <> pg_backend_pid()"
        return int(self.server.sql(query))

    def empty(self) -> None:
        """Give the database the empty tables of the suite. Making them anew takes 0.2 s, twice a test."""
        assert self.proxy is not None
        with psycopg.connect(self.server.url, autocommit=True) as connection:
            tables = {name for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}
            if tables == set(SuiteBase.metadata.tables):
                filled = [name for name in tables if connection.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchone()]
                if filled:
                    connection.execute(f"TRUNCATE {', '.join(filled)} CASCADE")
                return
            connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        engine = create_engine(self.server.url, poolclass=NullPool)
        SuiteBase.metadata.create_all(engine)

    def close(self) -> None:
        if self.proxy is not None:
            self.proxy.close()
        self.server.close()
        self.__init__()  # a process that runs cases of other modules in between may come back to this one


CONTROL = Control()
HARNESS = DatabaseHarness("postgres", CONTROL.settings, plugin="infra_postgres", control=lambda: CONTROL)


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[None]:
    yield
    CONTROL.close()


class TestPsycopg(DatabaseConformance):
    harness = HARNESS

    @pytest.fixture
    def database(self, opened):
        database = opened()
        CONTROL.empty()
        return database


class TestPsycopgAsync(AsyncDatabaseConformance):
    harness = HARNESS

    @pytest_asyncio.fixture
    async def database(self, opened):
        database = await opened()
        CONTROL.empty()
        return database


class TestAsyncpg(TestPsycopgAsync):
    harness = DatabaseHarness(
        "postgres", lambda: {**CONTROL.settings(), "driver": "asyncpg"}, plugin="infra_postgres", control=lambda: CONTROL
    )
