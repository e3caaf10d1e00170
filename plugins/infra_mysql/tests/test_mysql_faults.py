"""A server that dies under load, connections that an operator ends, answers that never come, and four databases of which one is down."""

from __future__ import annotations

import asyncio
import inspect
import threading

import pytest
from sqlalchemy import insert, select, text

from infra import AsyncInfra, ConfigurationError, Infra
from infra.database import AsyncDatabase, CommitUnknownError, DatabaseConnectionError
from infra.errors import DatabaseError
from infra.runtime.deadline import Deadline
from infra_mysql.settings import MySQLSettings
from infra_testing.conformance.database.tables import Owner, SuiteBase
from infra_testing.harness import Harness, Place
from infra_testing.pytest_plugin import need_package
from infra_testing.services import MariaDBServer

WRITERS = 4
DRIVERS = ["pymysql", "mysqlclient", "asyncmy", "aiomysql"]
ASYNCIO = ["asyncmy", "aiomysql"]
COMMIT = b"\x03COMMIT"  # as a command: a new session sets READ-COMMITTED


def harness(url, **settings):
    values = {"connect_timeout": 30, **MySQLSettings.expand_url(url), **settings}
    return Harness("mysql", values, plugin="infra_mysql")


async def open_door(driver, tmp_path, url, **settings):
    if driver == "mysqlclient":
        need_package("MySQLdb", "run `make services`")
    made = harness(url, driver=driver, **settings)
    return await made.open_async("database", Place(tmp_path)) if driver in ASYNCIO else made.open("database", Place(tmp_path))


async def settle(value):
    """What a call of either door gives."""
    return await value if inspect.isawaitable(value) else value


@pytest.fixture
def url(mariadb_server):
    url = mariadb_server.database()
    yield url
    mariadb_server.drop_database(url)


class Ledger:
    """What writers were told, by key."""

    def __init__(self):
        self.acknowledged = set()
        self.unknown = set()
        self.failed = set()

    def note(self, key, error):
        answer = self.acknowledged if error is None else self.unknown if isinstance(error, CommitUnknownError) else self.failed
        answer.add(key)

    def check(self, found):
        assert self.acknowledged <= found, "an acknowledged commit is lost"
        assert not found & self.failed, "a commit that failed is there"
        assert found <= self.acknowledged | self.unknown


def wait_for_more(ledger, more):
    """Until so many further commits were acknowledged."""
    wanted = len(ledger.acknowledged) + more
    waiting = threading.Event()
    for _ in range(9000):
        if len(ledger.acknowledged) >= wanted:
            return
        waiting.wait(0.01)
    raise AssertionError("the writers did not recover")


def test_no_acknowledged_commit_is_lost_when_the_server_is_killed_under_load(start_server, tmp_path):
    server = start_server(MariaDBServer, options={"innodb-flush-log-at-trx-commit": "2"})
    with harness(server.url_of("test_ledger")).open("database", Place(tmp_path)) as database:
        server.sql("CREATE DATABASE test_ledger")
        database.create_all(SuiteBase.metadata)
        ledger, stop = Ledger(), threading.Event()

        def write(writer):
            number = 0
            while not stop.is_set():
                number += 1
                key = number * WRITERS + writer
                try:
                    with database.session() as session:
                        session.add(Owner(id=key, name=f"owner {key}"))
                except DatabaseError as error:
                    ledger.note(key, error)
                    stop.wait(0.01)
                else:
                    ledger.note(key, None)

        writers = [threading.Thread(target=write, args=(writer,)) for writer in range(WRITERS)]
        for thread in writers:
            thread.start()
        try:
            for end in (server.kill, server.stop):
                wait_for_more(ledger, 20)
                end()
                server.start()
            wait_for_more(ledger, 20)
        finally:
            stop.set()
            for thread in writers:
                thread.join()
        ledger.check(set(database.execute(select(Owner.id)).scalars()))
        assert ledger.failed | ledger.unknown, "the server went unnoticed"
        assert database.pool.in_use == 0


async def test_no_acknowledged_commit_is_lost_through_asyncio(start_server, tmp_path):
    server = start_server(MariaDBServer, options={"innodb-flush-log-at-trx-commit": "2"})
    databases = [await harness(server.url_of("test_ledger"), driver=driver).open_async("database", Place(tmp_path)) for driver in ASYNCIO]
    server.sql("CREATE DATABASE test_ledger")
    await databases[0].create_all(SuiteBase.metadata)
    ledger, stop = Ledger(), asyncio.Event()

    async def write(writer):
        number = 0
        while not stop.is_set():
            number += 1
            key = number * WRITERS + writer
            try:
                async with databases[writer % 2].session() as session:
                    session.add(Owner(id=key, name=f"owner {key}"))
            except DatabaseError as error:
                ledger.note(key, error)
                await asyncio.sleep(0.01)
            else:
                ledger.note(key, None)

    writers = [asyncio.create_task(write(writer)) for writer in range(WRITERS)]
    try:
        await asyncio.to_thread(wait_for_more, ledger, 20)
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        await asyncio.to_thread(wait_for_more, ledger, 20)
    finally:
        stop.set()
        await asyncio.gather(*writers)
    ledger.check(set((await databases[0].execute(select(Owner.id))).scalars()))
    assert ledger.failed | ledger.unknown
    for database in databases:
        assert database.pool.in_use == 0
        await database.close()


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a_connection_that_an_operator_ends_costs_one_transaction(driver, url, mariadb_server, tmp_path):
    """Idle it is replaced unnoticed; in a transaction `run` begins again."""
    database = await open_door(driver, tmp_path, url, pool_size=1, max_overflow=0)
    ended = []

    def work(session):
        session.execute(text("SELECT 1"))
        if not ended:
            ended.append(end_connection(mariadb_server, session.info["connection_id"]))
        return session.execute(text("SELECT 2")).scalar()

    async def work_async(session):
        return await session.run_sync(work)

    assert await settle(database.run(work_async if isinstance(database, AsyncDatabase) else work)) == 2
    info = await settle(database.info())
    end_connection(mariadb_server, info.details["connection_id"])
    assert (await settle(database.execute(text("SELECT 3")))).scalar() == 3
    assert ended
    await settle(database.close())


def end_connection(server, number):
    """Once it returns the connection is gone."""
    server.sql(f"KILL {int(number)}")
    deadline = Deadline(60)
    while server.sql(f"SELECT COUNT(*) FROM information_schema.processlist WHERE id = {int(number)}") != "0":
        assert not deadline.passed
    return number


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a_commit_whose_answer_never_comes_is_unknown(driver, url, mariadb_server, tmp_path, fault_proxy):
    proxy = fault_proxy(mariadb_server)
    database = await open_door(driver, tmp_path, url, port=proxy.port, pool_size=1, max_overflow=0)
    await settle(database.create_all(SuiteBase.metadata))
    statement = insert(Owner).values(id=1, name="perhaps")
    with pytest.raises(CommitUnknownError) as caught:
        if isinstance(database, AsyncDatabase):
            async with database.session() as session:
                await session.execute(statement)
                proxy.cut_answer_to(COMMIT)
        else:
            with database.session() as session:
                session.execute(statement)
                proxy.cut_answer_to(COMMIT)
    assert not caught.value.retryable
    proxy.heal()
    assert (await settle(database.execute(select(Owner.id)))).scalars().all() == [1], "the server did it, and nobody was told"
    assert database.pool.in_use == 0
    await settle(database.close())


def environment(server, proxy):
    """Four databases of one server, by their well-known names; one of them behind a proxy."""
    urls = {name: server.database() for name in ("main", "garmin", "blood", "ufc")}
    urls["blood"] = urls["blood"].replace("mysql://", "mariadb://")
    urls["ufc"] = proxy.url_of(urls["ufc"])
    return {f"{name.upper()}_DB_URL": url for name, url in urls.items()}


async def test_four_databases_are_independent_while_one_comes_and_goes(mariadb_server, fault_proxy, tmp_path):
    proxy = fault_proxy(mariadb_server)
    proxy.refuse()
    variables = environment(mariadb_server, proxy)
    further = {"INFRA_DATABASE__UFC__REQUIRED": "false", "INFRA_DATABASE__UFC__CONNECT_TIMEOUT": "30"}
    async with AsyncInfra(root=tmp_path, environ={**variables, **further}) as services:
        others = {name: services.database(name) for name in ("main", "garmin", "blood")}

        async def use(name, database):
            await database.create_all(SuiteBase.metadata)
            await database.execute(insert(Owner).values(id=1, name=name))

        for name, database in others.items():
            await use(name, database)
        with pytest.raises(DatabaseConnectionError, match="database.ufc: connect failed"):
            await services.open("database.ufc")
        for name, database in others.items():
            assert (await database.health()).status == "up"
            assert (await database.execute(select(Owner.name))).scalars().all() == [name]
        proxy.heal()
        ufc = await services.open("database.ufc")
        await use("ufc", ufc)
        proxy.refuse()
        proxy.reset()
        assert (await ufc.health()).status == "down"
        with pytest.raises(DatabaseError):
            await ufc.execute(select(Owner.name))
        assert {(await database.health()).status for database in others.values()} == {"up"}
        proxy.heal()
        assert (await ufc.execute(select(Owner.name))).scalars().all() == ["ufc"]
        assert len({id(database.engine) for database in [ufc, *others.values()]}) == 4
        assert services.blocking.database("garmin").execute(select(Owner.name)).scalars().all() == ["garmin"]
        assert services.find(AsyncDatabase, "heart") is None
        with pytest.raises(ConfigurationError, match="database.heart"):
            services.database("heart")
    for url in variables.values():
        mariadb_server.drop_database(url)


def test_a_required_database_that_is_down_fails_the_start_and_is_named(mariadb_server, fault_proxy, tmp_path):
    proxy = fault_proxy(mariadb_server)
    proxy.refuse()
    variables = environment(mariadb_server, proxy)
    with pytest.raises(Exception, match="database.ufc") as caught:
        Infra(root=tmp_path, environ=variables).start()
    assert "database.garmin" not in str(caught.value)
    assert "UFC_DB_URL" in str(caught.value)
    for url in variables.values():
        mariadb_server.drop_database(url)
