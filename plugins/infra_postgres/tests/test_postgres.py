"""What only PostgreSQL does, over both doors and both drivers of asyncio."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from uuid import uuid4

import pytest
from sqlalchemy import select, text

from infra.database import (
    DatabaseConnectionError,
    Failure,
    Fault,
    LockTimeoutError,
    ReadOnlyError,
    StatementError,
    UniqueError,
    outbox,
)
from infra.errors import ErrorCode
from infra.plugin import OpenContext
from infra.runtime import aio, threads
from infra.runtime.deadline import Deadline
from infra_postgres.connecting import connect_arguments
from infra_postgres.driver import PostgresDriver
from infra_postgres.faults import classify
from infra_postgres.settings import PostgresSettings
from infra_testing.conformance.database.records import Colour, Value
from infra_testing.conformance.database.tables import Owner, SuiteBase
from infra_testing.harness import Harness, Place

DOORS = ["psycopg", "psycopg async", "asyncpg"]
SECRET = "canary-4711"


async def settle(value):
    """What a call of either door gives."""
    return await value if inspect.isawaitable(value) else value


@pytest.fixture(scope="module")
def url(postgres_server):
    url = postgres_server.database()
    yield url
    postgres_server.drop_database(url)


async def open_door(door, place, url, **settings):
    values = {"connect_timeout": 30, **PostgresSettings.expand_url(url), **settings}
    if door == "psycopg":
        return Harness("postgres", values, plugin="infra_postgres").open("database", place)
    harness = Harness("postgres", {**values, "driver": door.partition(" ")[0]}, plugin="infra_postgres")
    return await harness.open_async("database", place)


@pytest.fixture(params=DOORS)
async def database(request, url, tmp_path):
    database = await open_door(request.param, Place(tmp_path), url)
    await settle(database.create_all(SuiteBase.metadata))
    await settle(database.execute(text("TRUNCATE suite_owner, suite_account, suite_value")))
    yield database
    await settle(database.close())


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgres://u:p%40@h:6000/d", {"driver": "psycopg", "host": "h", "port": 6000, "username": "u", "database": "d"}),
        ("postgresql+asyncpg://h/d?sslmode=require", {"driver": "asyncpg", "tls": "require"}),
        ("postgresql+psycopg2://h/d?sslmode=verify-full&sslrootcert=ca.pem", {"driver": "psycopg", "tls": "verify", "tls_ca": "ca.pem"}),
        ("postgresql:///d?host=/run/postgresql&application_name=app", {"host": "/run/postgresql", "application_name": "app"}),
    ],
)
def test_urls_mean_what_libpq_says(url, expected):
    settings = PostgresSettings(**PostgresSettings.expand_url(url))
    assert {name: getattr(settings, name) for name in expected} == expected


@pytest.mark.parametrize(("environment", "mode"), [("production", "verify-full"), ("development", "prefer")])
def test_production_verifies_the_server(environment, mode):
    context = OpenContext(capability="database", name="main", provider="postgres", environment=environment)
    settings = PostgresSettings()
    options = PostgresDriver(settings, context).engine_options(settings, False)
    assert options["connect_args"]["sslmode"] == mode
    fast = connect_arguments(PostgresSettings(driver="asyncpg"), True, environment == "production")["ssl"]
    assert fast == "prefer" if environment == "development" else fast.check_hostname


async def test_the_session_is_set_up_without_a_round_trip(database):
    async def shown(name):
        return (await settle(database.execute(text(f"SHOW {name}")))).scalar()

    names = ("timezone", "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "jit", "application_name")
    assert [await shown(name) for name in names] == ["UTC", "30s", "5s", "1min", "off", "infra"]
    assert await shown("transaction_isolation") == "read committed"
    assert await shown("client_encoding") == "UTF8"


async def test_readers_are_refused_by_the_server_and_writers_of_the_same_connection_are_not(url, tmp_path):
    for door in DOORS:
        database = await open_door(door, Place(tmp_path), url, pool_size=1, max_overflow=0)
        await settle(database.execute(text("CREATE TABLE IF NOT EXISTS written (n int)")))
        insert = text("INSERT INTO written VALUES (1)")
        for _ in range(2):
            with pytest.raises(ReadOnlyError):
                await settle(database.execute(insert, role="reader"))
            assert (await settle(database.execute(insert))).rowcount == 1
            with pytest.raises(ReadOnlyError):
                await settle(database.execute(insert, role="reader"))
            await write_in_a_transaction(database, insert)
        await settle(database.close())


async def write_in_a_transaction(database, statement):
    if inspect.iscoroutinefunction(database.ping):
        async with database.session() as session:
            await session.execute(statement)
    else:
        with database.session() as session:
            session.execute(statement)


async def bulk_insert(database, table, rows):
    if inspect.iscoroutinefunction(database.ping):
        async with database.session() as session:
            connection = await session.connection()
            return await connection.run_sync(database.policy.bulk_insert, table, rows)
    with database.session() as session:
        return database.policy.bulk_insert(session.connection(), table, rows)


async def test_copy_keeps_every_kind_of_value(database):
    rows = [
        {
            "id": uuid4(),
            "text": "tab\t line\n back\\slash \\N é漢😀",
            "number": 2**62,
            "exact": Decimal("12345.678900"),
            "document": {"a": [1, None, "x"]},
            "raw": bytes(range(256)),
            "flag": True,
            "at": datetime(2024, 2, 29, 23, 59, 59, 123456, UTC),
            "colour": Colour.BLUE,
        },
        {"id": uuid4(), **dict.fromkeys(("text", "number", "exact", "document", "raw", "flag", "at", "colour"))},
        {"id": uuid4(), **dict.fromkeys(("number", "exact", "document", "raw", "flag", "at", "colour")), "text": ""},
    ]
    assert await bulk_insert(database, Value.__table__, rows) == 3
    assert await bulk_insert(database, Value.__table__, []) == 0
    found = (await settle(database.execute(select(Value.__table__)))).mappings().all()
    assert sorted((dict(row) for row in found), key=lambda row: row["id"]) == sorted(rows, key=lambda row: row["id"])


async def test_copy_is_part_of_the_transaction_and_its_errors_are_ours(database):
    rows = [{"id": number, "name": f"name {number}"} for number in range(50)]
    with pytest.raises(UniqueError) as caught:
        await bulk_insert(database, Owner.__table__, [*rows, {"id": 99, "name": "name 1"}])
    assert caught.value.constraint == "uq_suite_owner_name"
    assert (await settle(database.execute(select(Owner.id)))).all() == []
    assert await bulk_insert(database, Owner.__table__, rows) == 50
    assert len((await settle(database.execute(select(Owner.id)))).all()) == 50
    assert database.pool.in_use == 0


async def test_position_moves_with_writes(database):
    async def position():
        return await settle(database._with_connection(database.policy.position))

    first = await position()
    await settle(database.execute(text("INSERT INTO suite_owner VALUES (1, 'one')")))
    second = await position()
    (system, timeline, before), after = first.split("/"), second.split("/")
    assert [system, timeline] == after[:2]
    assert int(after[2]) > int(before)


async def test_stats_are_the_servers(database):
    server = (await settle(database.stats())).server
    assert server["size"] > 0
    assert 1 <= server["connections"] <= server["server_connections"] <= server["max_connections"]


async def test_a_maintained_session_keeps_its_time_limit(database):
    await settle(database.optimize(["suite_owner", "public.suite_account"]))
    await settle(database.optimize([]))
    assert (await settle(database.execute(text("SHOW statement_timeout")))).scalar() == "30s"
    with pytest.raises(StatementError):
        await settle(database.optimize(["absent"]))


async def test_an_integrity_error_names_its_constraint(database):
    for statement, constraint in (
        ("INSERT INTO suite_owner VALUES (1, NULL)", "suite_owner.name"),
        ("INSERT INTO suite_account (id, title, balance) VALUES (1, '', -1)", "ck_suite_account_not_negative"),
    ):
        with pytest.raises(Exception, match="null|check") as caught:
            await settle(database.execute(text(statement)))
        assert caught.value.constraint == constraint


async def test_a_statement_after_a_schema_change_can_be_run_again(url, tmp_path):
    for door in DOORS:
        database = await open_door(door, Place(tmp_path), url, pool_size=1, max_overflow=0)
        await settle(database.execute(text("DROP TABLE IF EXISTS changing")))
        await settle(database.execute(text("CREATE TABLE changing (n int)")))
        query = text("SELECT * FROM changing")

        async def ask(database=database, query=query):
            if inspect.iscoroutinefunction(database.ping):
                return await database.run(lambda session: session.execute(query))
            return database.run(lambda session: session.execute(query))

        for _ in range(7):  # enough for psycopg to prepare it
            await ask()
        await settle(database.execute(text("ALTER TABLE changing ADD COLUMN m text")))
        await ask()
        await settle(database.close())


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("case", ["refused port", "unknown host", "missing database", "wrong password"])
async def test_what_cannot_connect_says_so_in_one_line(door, case, url, tmp_path, postgres_server, fault_proxy, request):
    changes = {"password": SECRET}
    if case == "refused port":
        proxy = fault_proxy(postgres_server)
        proxy.refuse()
        changes["port"] = proxy.port
    elif case == "unknown host":
        changes["host"] = "no-such-host.invalid"
    elif case == "missing database":
        changes["database"] = "absent"
    else:
        changes |= {"port": request.getfixturevalue("strict_server").port, "username": "postgres"}
    database = await open_door(door, Place(tmp_path), url, **changes)
    with pytest.raises(DatabaseConnectionError) as caught:
        await settle(database.execute(text("SELECT 1")))
    await settle(database.close())
    line = str(caught.value)
    assert "\n" not in line
    assert SECRET not in line + str(caught.value.to_dict(public=False))
    assert line.startswith("database.main: ")
    assert caught.value.remedy
    if case == "wrong password":
        assert caught.value.code is ErrorCode.UNAUTHENTICATED
        assert "password" in line
    if case == "missing database":
        assert "absent" in line
        assert "create the database" in caught.value.remedy


@pytest.fixture(scope="module")
def strict_server():
    """A server that asks for passwords."""
    from infra_testing.pytest_plugin import provide
    from infra_testing.services import PostgresServer

    server = PostgresServer({"fsync": "off"})
    try:
        provide(PostgresServer, lambda _: server.start())
        server.sql("ALTER USER postgres PASSWORD 'right'")
        rules = server.data / "pg_hba.conf"
        rules.write_text("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
        server.restart()
        yield server
    finally:
        server.close()


async def test_a_lock_is_held_against_other_connections(database, url, tmp_path):
    other = await open_door("psycopg", Place(tmp_path), url)
    with other.lock("x"), pytest.raises(LockTimeoutError):
        await take(database)
    await take(database)
    other.close()


async def take(database):
    if inspect.iscoroutinefunction(database.ping):
        async with database.lock("x", timeout=0.05):
            pass
    else:
        with database.lock("x", timeout=0.05):
            pass


class Published:
    """A queue that says when something came."""

    def __init__(self, event):
        self.event = event

    def publish_many(self, messages, *, timeout=None):
        self.event.set()
        return [None] * len(messages)


class PublishedAsync(Published):
    async def publish_many(self, messages, *, timeout=None):
        return super().publish_many(messages)


@pytest.mark.parametrize("door", ["psycopg async", "asyncpg"])
async def test_a_commit_wakes_the_relay(door, url, tmp_path):
    database = await open_door(door, Place(tmp_path), url)
    await database.create_all(outbox.metadata)
    came, stop = aio.Event(), aio.Stop()
    relay = outbox.AsyncRelay(database, lambda _: PublishedAsync(came), policy=outbox.RelayPolicy(poll=600))
    running = asyncio.create_task(relay.run(stop))
    for _ in range(3):
        came.clear()
        async with database.session() as session:
            await outbox.publish(session, queue="audit", body=b"now")
        assert await aio.wait_for(came, 90)
    stop.set()
    await asyncio.wait_for(running, 90)
    await database.close()


def test_a_commit_wakes_the_relay_of_a_thread(url, tmp_path, postgres_server):
    settings = {"connect_timeout": 30, **PostgresSettings.expand_url(url)}
    with Harness("postgres", settings, plugin="infra_postgres").open("database", Place(tmp_path)) as database:
        database.create_all(outbox.metadata)
        came, background = threads.Event(), threads.Background("test")
        relay = outbox.Relay(database, lambda _: Published(came), policy=outbox.RelayPolicy(poll=600))
        background.start(relay.run, "relay")
        for number in range(4):
            came.clear()
            with database.session() as session:
                outbox.publish(session, queue="audit", body=b"now")
            assert threads.wait_for(came, 90)
            if number == 1:
                name = url.rpartition("/")[2]
                end = f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = '{name}'"
                deadline = Deadline(90)
                while postgres_server.sql(end) != "t":  # it may not listen yet
                    assert not deadline.passed
        assert background.stop(30)


def test_describing_the_provider_imports_no_driver():
    code = "import infra_postgres, sys; infra_postgres.infra_database(); print({'psycopg', 'asyncpg', 'sqlalchemy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60).stdout == "set()\n"


def test_what_is_not_the_servers_is_not_classified():
    assert classify(ValueError("closed")) is None


class Reported(Exception):
    """Any error of the server, by its SQLSTATE."""


@pytest.mark.parametrize(
    ("state", "fault", "unknown"),
    [
        ("08006", Fault.CONNECTION, True),
        ("40003", Fault.CONNECTION, True),
        ("57P01", Fault.CONNECTION, True),
        ("40001", Fault.SERIALIZATION, False),
        ("40P01", Fault.DEADLOCK, False),
        ("23P01", Fault.INTEGRITY, False),
        ("22003", Fault.DATA, False),
        ("53300", Fault.LIMIT, False),
        ("XX001", Fault.CORRUPT, False),
        ("25006", Fault.READ_ONLY, False),
        ("P0001", Fault.OTHER, False),
    ],
)
def test_sqlstates_of_both_drivers_mean_the_same(state, fault, unknown):
    import psycopg
    from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi

    first = psycopg.Error("x")
    first.sqlstate = state
    cause = Reported("x")
    cause.sqlstate = state
    for error in (first, AsyncAdapt_asyncpg_dbapi.Error("x", cause)):
        found = classify(error)
        assert isinstance(found, Failure)
        assert (found.fault, found.commit_unknown, found.code) == (fault, unknown, state)
