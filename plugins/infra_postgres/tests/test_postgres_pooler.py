from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import text

from infra import Infra
from infra.database import DatabaseFeature
from infra.errors import StartupError
from infra_testing.conformance.database import (
    AsyncMisuseCases,
    AsyncSessionCases,
    AsyncSharingCases,
    DatabaseHarness,
    SessionCases,
    SharingCases,
)
from infra_testing.pytest_plugin import provide
from infra_testing.services import PgBouncerServer, PostgresServer

SETTINGS = "SELECT current_setting('transaction_isolation'), current_setting('statement_timeout'), current_setting('TimeZone')"
STATE: dict[str, object] = {}


@pytest.fixture(scope="module", autouse=True)
def pooler() -> Iterator[PgBouncerServer]:
    postgres = PostgresServer({"fsync": "off"})
    server = PgBouncerServer(postgres, {"ignore_startup_parameters": "options"})
    try:
        provide(PostgresServer, lambda _: postgres.start())
        provide(PgBouncerServer, lambda _: server.start())
        STATE["port"] = server.port
        yield server
    finally:
        server.close()
        postgres.close()


class Control:
    """The cases here kill nothing."""


HARNESS = DatabaseHarness(
    "postgres",
    lambda: {"host": "127.0.0.1", "port": STATE["port"], "username": "postgres", "database": "postgres", "pooler": "transaction"},
    plugin="infra_postgres",
    control=lambda: Control(),  # type: ignore[arg-type,return-value]
)


class TestPsycopg(SessionCases, SharingCases):
    harness = HARNESS


class TestPsycopgAsync(AsyncSessionCases, AsyncSharingCases, AsyncMisuseCases):
    harness = HARNESS


class TestAsyncpg(AsyncSessionCases, AsyncSharingCases):
    harness = DatabaseHarness(
        "postgres", lambda: {**HARNESS.values(), "driver": "asyncpg"}, plugin="infra_postgres", control=HARNESS.control
    )


def test_settings_hold_in_each_transaction(pooler):
    with Infra(environ={"DATABASE_URL": f"{pooler.url}?pooler=transaction&isolation=SERIALIZABLE&statement_timeout=1s"}) as services:
        database = services.database()
        assert tuple(database.execute(SETTINGS).one()) == ("serializable", "1s", "UTC")
        for options in ({}, {"autocommit": True}, {"role": "reader"}):
            with database.session(**options) as session:
                assert tuple(session.execute(text(SETTINGS)).one()) == ("serializable", "1s", "UTC")


def test_what_does_not_hold_there_is_no_feature(pooler):
    with Infra(environ={"DATABASE_URL": f"{pooler.url}?pooler=transaction"}) as services:
        assert not services.database().features & {DatabaseFeature.NOTIFY, DatabaseFeature.KILL_QUERY}


def test_a_server_that_ignores_settings_is_refused(pooler):
    with pytest.raises(StartupError, match="pooler") as caught, Infra(environ={"DATABASE_URL": pooler.url}):
        pass
    assert "ignored" in str(caught.value)
