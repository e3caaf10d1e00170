"""`statement_timeout` on MySQL's own server, which ends reads alone by itself: every statement that takes too long ends, and no other."""

from __future__ import annotations

import inspect
import threading
from time import perf_counter

import pytest
from sqlalchemy import text

from infra.database import DatabaseFeature, StatementTimeoutError
from infra_mysql.limits import StatementLimit
from infra_mysql.settings import MySQLSettings
from infra_testing.harness import Harness, Place
from infra_testing.pytest_plugin import need_package, provide
from infra_testing.services import MySQLServer

pytestmark = pytest.mark.optional_server(kind=MySQLServer)
DRIVERS = ["pymysql", "mysqlclient", "asyncmy", "aiomysql"]
ASYNCIO = ["asyncmy", "aiomysql"]
#: Longer than any of these tests may take.
LONG = 600


async def settle(value):
    """What a call of either door gives."""
    return await value if inspect.isawaitable(value) else value


@pytest.fixture(scope="module")
def server():
    server = MySQLServer()
    try:
        provide(MySQLServer, lambda _: server.start())
        server.sql("CREATE TABLE mysql.limits (id int PRIMARY KEY); INSERT INTO mysql.limits VALUES (1)")
        yield server
    finally:
        server.close()


async def open_door(driver, place, server, **settings):
    if driver == "mysqlclient":
        need_package("MySQLdb", "run `make services`")
    values = {
        "connect_timeout": 30,
        **MySQLSettings.expand_url(server.url),
        "driver": driver,
        "pool_size": 1,
        "max_overflow": 0,
        **settings,
    }
    harness = Harness("mysql", values, plugin="infra_mysql")
    return await harness.open_async("database", place) if driver in ASYNCIO else harness.open("database", place)


async def value_of(database, statement):
    """The first value; a machine that stands still makes any statement slow."""
    for _ in range(20):
        try:
            return (await settle(database.execute(text(statement)))).scalar()
        except StatementTimeoutError:
            continue
    raise AssertionError("the connection does not recover")


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize(
    "statement",
    [
        f"DO SLEEP({LONG})",
        f"SELECT SLEEP({LONG})",
        f"INSERT INTO limits SELECT 2 + SLEEP({LONG})",
        f"UPDATE limits SET id = 3 + SLEEP({LONG})",
        f"DELETE FROM limits WHERE SLEEP({LONG}) = 0",
        "SELECT BENCHMARK(1000000000000, 1 + 1)",
    ],
)
async def test_whatever_takes_too_long_ends(driver, statement, server, tmp_path):
    database = await open_door(driver, Place(tmp_path), server, statement_timeout=0.3)
    assert database.supports(DatabaseFeature.STATEMENT_TIMEOUT)
    with pytest.raises(StatementTimeoutError, match="statement timeout") as caught:
        if driver in ASYNCIO:
            async with database.session() as session:
                await session.execute(text(statement))
        else:
            with database.session() as session:
                session.execute(text(statement))
    assert "statement_timeout" in caught.value.remedy
    assert await value_of(database, "SELECT GROUP_CONCAT(id) FROM limits") == "1"
    assert database.pool.in_use == 0
    running = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE '%SLEEP%' AND id <> CONNECTION_ID()"
    assert server.sql(running) == "0"
    await settle(database.close())


@pytest.mark.parametrize("driver", DRIVERS)
async def test_many_short_statements_are_not_one_long_one(driver, server, tmp_path):
    database = await open_door(driver, Place(tmp_path), server, statement_timeout=1)

    def work(session):
        began = perf_counter()
        session.execute(text("UPDATE limits SET id = id WHERE :n >= 0 AND SLEEP(0.3) = 0"), [{"n": n} for n in range(6)])
        return perf_counter() - began

    if driver in ASYNCIO:
        async with database.session() as session:
            took = await session.run_sync(work)
    else:
        with database.session() as session:
            took = work(session)
    assert took > 1, "the statements ran one after the other"
    await settle(database.close())


@pytest.mark.parametrize("driver", DRIVERS)
async def test_no_thread_is_started_for_a_statement_and_none_stays(driver, server, tmp_path):
    before = set(threading.enumerate())
    database = await open_door(driver, Place(tmp_path), server, statement_timeout=30)
    for _ in range(20):
        await settle(database.execute(text("SELECT 1")))
    limiting = [thread for thread in threading.enumerate() if thread not in before and "statement_timeout" in thread.name]
    assert len(limiting) == 1
    await settle(database.close())
    limiting[0].join(60)
    assert not limiting[0].is_alive()


@pytest.mark.parametrize("driver", DRIVERS)
async def test_without_a_limit_nothing_is_watched(driver, server, tmp_path):
    before = set(threading.enumerate())
    database = await open_door(driver, Place(tmp_path), server, statement_timeout=0)
    assert await value_of(database, "SELECT SLEEP(0.2)") == 0
    assert not [thread for thread in threading.enumerate() if thread not in before and "statement_timeout" in thread.name]
    await settle(database.close())


def test_maintenance_has_no_limit_and_gives_it_back(server, tmp_path, monkeypatch):
    values = {"connect_timeout": 30, **MySQLSettings.expand_url(server.url), "statement_timeout": 0.3, "pool_size": 1, "max_overflow": 0}
    limits = []
    begin = StatementLimit.begin

    def noted(self, watch):
        limits.append(self.seconds)
        return begin(self, watch)

    with Harness("mysql", values, plugin="infra_mysql").open("database", Place(tmp_path)) as database:
        database.ping()
        with monkeypatch.context() as patch, database.engine.connect() as connection:
            patch.setattr(StatementLimit, "begin", noted)
            database.policy.maintenance(connection, ["limits"])
            assert limits == [], "its statements had a limit"
        with pytest.raises(StatementTimeoutError):
            database.execute(text(f"DO SLEEP({LONG})"))
