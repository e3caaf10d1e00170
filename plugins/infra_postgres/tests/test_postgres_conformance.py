from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
import pytest_asyncio
from sqlalchemy import NullPool, create_engine

from infra_testing.conformance.database import AsyncDatabaseConformance, DatabaseConformance, DatabaseHarness, ProxiedServer
from infra_testing.conformance.database.tables import SuiteBase
from infra_testing.services import PostgresServer


class Control(ProxiedServer[PostgresServer]):
    def settings(self) -> dict[str, object]:
        return {"host": "127.0.0.1", "port": self.port, "username": "postgres", "database": "postgres", "connect_timeout": 30}

    def running(self) -> int:
        query = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND datname = 'postgres' AND pid <> pg_backend_pid()"
        return int(self.server.sql(query))

    def empty(self) -> None:
        """Give the database the empty tables of the suite. Making them anew takes 0.2 s, twice a test."""
        with psycopg.connect(self.server.url, autocommit=True) as connection:
            tables = {name for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}
            if tables == set(SuiteBase.metadata.tables):
                filled = [name for name in tables if connection.execute(f'SELECT 1 FROM "{name}" LIMIT 1').fetchone()]
                if filled:
                    connection.execute(f"TRUNCATE {', '.join(chr(34) + name + chr(34) for name in filled)} CASCADE")
                return
            connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        engine = create_engine(self.server.url, poolclass=NullPool)
        SuiteBase.metadata.create_all(engine)


# A killed process loses nothing that it gave to the kernel: only a power failure needs fsync.
CONTROL = Control(lambda: PostgresServer({"fsync": "off", "full_page_writes": "off"}), b"COMMIT")
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
