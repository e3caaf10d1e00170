"""What only MySQL and MariaDB do, over both doors and all four drivers."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, insert, select, text, update
from sqlalchemy.orm import DeclarativeBase

from infra.database import (
    DataError,
    DeadlockError,
    Fault,
    LockTimeoutError,
    ReadOnlyError,
    SoftDelete,
    StatementError,
    TransactionFailedError,
    inbox,
    outbox,
)
from infra.database.models import unique_among_live
from infra.database.outbox import Outbox
from infra.errors import UnsupportedError
from infra.plugin import OpenContext
from infra.runtime.deadline import Deadline
from infra_mysql.connecting import connect_arguments, session_settings
from infra_mysql.driver import MySQLDriver
from infra_mysql.faults import classify
from infra_mysql.settings import MySQLSettings
from infra_testing.conformance.database.tables import Account, Owner, SuiteBase
from infra_testing.harness import Harness, Place
from infra_testing.pytest_plugin import need_package

BARE = Table("suite_bare", MetaData(), Column("id", Integer, primary_key=True, autoincrement=False))
DRIVERS = ["pymysql", "mysqlclient", "asyncmy", "aiomysql"]
ASYNCIO = ["asyncmy", "aiomysql"]
NO_HEADERS = "run `make services`"


class PersonBase(DeclarativeBase):
    """Apart from the suite's."""


class Person(SoftDelete, PersonBase):
    """What MySQL cannot keep unique."""

    __tablename__ = "suite_person"
    id = Column(Integer, primary_key=True)
    email = Column(String(100))
    __table_args__ = (unique_among_live("email", name="uq_email"),)


async def settle(value):
    """What a call of either door gives."""
    return await value if inspect.isawaitable(value) else value


@pytest.fixture(scope="module")
def url(mariadb_server):
    url = mariadb_server.database()
    yield url
    mariadb_server.drop_database(url)


async def open_door(driver, place, url, **settings):
    if driver == "mysqlclient":
        need_package("MySQLdb", NO_HEADERS)
    values = {"connect_timeout": 30, **MySQLSettings.expand_url(url), "driver": driver, **settings}
    harness = Harness("mysql", values, plugin="infra_mysql")
    return await harness.open_async("database", place) if driver in ASYNCIO else harness.open("database", place)


@pytest.fixture(params=DRIVERS)
async def database(request, url, tmp_path):
    database = await open_door(request.param, Place(tmp_path), url)
    await settle(database.create_all(SuiteBase.metadata))
    for table in ("suite_account", "suite_owner", "infra_outbox", "infra_outbox_key", "infra_inbox"):
        await settle(database.execute(text(f"DELETE FROM {table}")))
    yield database
    await settle(database.close())


async def within(database, work, **options):
    """Run ``work(session)`` in a session; the work of either door is written with blocking statements."""
    if inspect.iscoroutinefunction(database.ping):
        async with database.session(**options) as session:
            return await session.run_sync(work)
    with database.session(**options) as session:
        return work(session)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mysql://u:p%40@h:6000/d", {"driver": [], "host": "h", "port": 6000, "username": "u", "database": "d"}),
        ("mariadb://h/d", {"host": "h", "database": "d"}),
        ("mysql+aiomysql://h/d?ssl_mode=REQUIRED", {"driver": ["aiomysql"], "tls": "require"}),
        ("mysql+mysqldb://h/d?ssl-mode=VERIFY_IDENTITY&ssl_ca=ca.pem", {"driver": ["mysqlclient"], "tls": "verify", "tls_ca": "ca.pem"}),
        ("mysql+pymysql://h/d?charset=utf8mb4&unix_socket=/run/s.sock", {"driver": ["pymysql"], "unix_socket": "/run/s.sock"}),
    ],
)
def test_urls_mean_what_mysqls_own_clients_say(url, expected):
    settings = MySQLSettings(**MySQLSettings.expand_url(url))
    assert {name: getattr(settings, name) for name in expected} == expected


def test_each_door_has_its_driver():
    assert [MySQLSettings().driver_of(is_async) for is_async in (False, True)] == ["pymysql", "asyncmy"]
    both = MySQLSettings(driver="mysqlclient, aiomysql")
    assert [both.driver_of(is_async) for is_async in (False, True)] == ["mysqlclient", "aiomysql"]
    with pytest.raises(ValueError, match="choose one of pymysql and mysqlclient"):
        MySQLSettings(driver=["pymysql", "mysqlclient"])


def test_a_lax_sql_mode_is_refused():
    assert MySQLSettings(sql_mode="ansi_quotes, strict_all_tables").sql_mode == "ANSI_QUOTES,STRICT_ALL_TABLES"
    for mode in ("ANSI", "STRICT_ALL_TABLES'", ""):
        with pytest.raises(ValueError):
            MySQLSettings(sql_mode=mode)


@pytest.mark.parametrize("driver", DRIVERS)
def test_production_verifies_the_server(driver):
    settings = MySQLSettings(driver=driver)
    is_async = driver in ASYNCIO
    context = OpenContext(capability="database", name="main", provider="mysql", environment="production")
    options = MySQLDriver(settings, context, is_async).engine_options(settings, is_async)["connect_args"]
    relaxed = connect_arguments(settings, is_async, False)
    if driver == "mysqlclient":
        assert (options["ssl_mode"], relaxed["ssl_mode"]) == ("VERIFY_IDENTITY", "PREFERRED")
    else:
        assert options["ssl"].check_hostname
        assert "ssl" not in relaxed or not relaxed["ssl"].check_hostname


def test_each_server_is_told_its_own_settings_only():
    said = session_settings(MySQLSettings(statement_timeout=0.25, lock_timeout=0.1, idle_in_transaction_timeout=0))
    common, _, special = said.partition("/*M!100100")
    mariadb, _, mysql = special.partition("/*!80000")
    assert "innodb_lock_wait_timeout = 1," in common
    assert "max_statement_time = 0.25" in mariadb
    assert "max_execution_time = 250" in mysql
    assert "wait_timeout = 0" not in mysql


async def test_the_session_is_set_up(database):
    names = (
        "time_zone",
        "innodb_lock_wait_timeout",
        "max_statement_time",
        "idle_transaction_timeout",
        "tx_isolation",
        "character_set_client",
    )
    row = (await settle(database.execute(text("SELECT " + ", ".join(f"@@{name}" for name in names))))).one()
    assert list(row) == ["+00:00", 5, 30.0, 60, "READ-COMMITTED", "utf8mb4"]
    info = await settle(database.info())
    assert info.server_version.startswith("1")
    assert not database.supports("returning")


async def test_an_autocommit_session_sends_neither_commit_nor_rollback(url, tmp_path):
    for driver in DRIVERS[:1] + ASYNCIO:
        database = await open_door(driver, Place(tmp_path), url, pool_size=1, max_overflow=0)

        async def ends(database=database):
            query = text("SHOW SESSION STATUS WHERE Variable_name IN ('Com_commit', 'Com_rollback')")
            return sum(int(count) for _, count in (await settle(database.execute(query))).all())

        first = await ends()
        for _ in range(3):
            assert await within(database, lambda session: session.scalar(text("SELECT 1")), autocommit=True) == 1
        assert await ends() == first
        await within(database, lambda session: session.scalar(text("SELECT 1")))
        assert await ends() == first + 1
        await settle(database.close())


async def test_a_transaction_begun_by_hand_in_autocommit_is_rolled_back(url, tmp_path):
    for driver in DRIVERS[:1] + ASYNCIO:
        database = await open_door(driver, Place(tmp_path), url, pool_size=1, max_overflow=0)
        await settle(database.execute(text("CREATE OR REPLACE TABLE by_hand (n int)")))

        def begin(session):
            session.execute(text("START TRANSACTION"))
            session.execute(text("INSERT INTO by_hand VALUES (1)"))

        await within(database, begin, autocommit=True)
        assert (await settle(database.execute(text("SELECT COUNT(*) FROM by_hand")))).scalar() == 0
        await settle(database.close())


async def test_readers_are_refused_by_the_server_and_writers_of_the_same_connection_are_not(url, tmp_path):
    for driver in DRIVERS[:1] + ASYNCIO:
        database = await open_door(driver, Place(tmp_path), url, pool_size=1, max_overflow=0)
        await settle(database.execute(text("CREATE TABLE IF NOT EXISTS written (n int)")))
        statement = text("INSERT INTO written VALUES (1)")

        def write(session):
            session.execute(text("INSERT INTO written VALUES (1)"))

        for _ in range(2):
            with pytest.raises(ReadOnlyError):
                await settle(database.execute(statement, role="reader"))
            assert (await settle(database.execute(statement))).rowcount == 1
            with pytest.raises(ReadOnlyError):
                await within(database, write, role="reader")
            await within(database, write)
        await settle(database.close())


async def test_a_value_that_does_not_fit_is_an_error_not_cut(database):
    with pytest.raises(DataError):
        await settle(database.execute(insert(Owner).values(id=1, name="x" * 101)))


async def test_an_integrity_error_names_its_constraint(database):
    await settle(database.execute(insert(Owner).values(id=1, name="one")))
    for statement, constraint in (
        ("INSERT INTO suite_owner VALUES (2, 'one')", "uq_suite_owner_name"),
        ("INSERT INTO suite_owner VALUES (1, 'two')", "PRIMARY"),
        ("INSERT INTO suite_owner VALUES (2, NULL)", "name"),
        ("INSERT INTO suite_account (id, title, balance) VALUES (1, '', -1)", "ck_suite_account_not_negative"),
        ("INSERT INTO suite_account (id, title, balance, owner_id) VALUES (1, '', 1, 9)", "fk_suite_account_owner_id_suite_owner"),
    ):
        with pytest.raises(Exception, match="failed on mysql") as caught:
            await settle(database.execute(text(statement)))
        assert caught.value.constraint == constraint


async def test_an_upsert_updates_or_leaves(database):
    def write(session):
        for rows in ([{"id": 1, "name": "one"}, {"id": 2, "name": "two"}], [{"id": 1, "name": "first"}, {"id": 3, "name": "three"}]):
            session.execute(database.policy.upsert(Owner.__table__, rows, ["id"]), rows)
        for rows in ([{"id": 2}], [{"id": 2}, {"id": 4}]):
            session.execute(database.policy.upsert(BARE, rows, ["id"]), rows)

    await settle(database.create_all(BARE.metadata))
    await within(database, write)
    found = (await settle(database.execute(select(Owner.id, Owner.name).order_by(Owner.id)))).all()
    assert [tuple(row) for row in found] == [(1, "first"), (2, "two"), (3, "three")]
    assert set((await settle(database.execute(select(BARE.c.id)))).scalars()) == {2, 4}


async def test_a_lock_timeout_fails_the_whole_transaction(database, url, tmp_path):
    await settle(database.execute(insert(Owner).values(id=1, name="one")))
    other = await open_door("pymysql", Place(tmp_path), url)
    impatient = await open_door(database.settings.driver[0], Place(tmp_path), url, lock_timeout=0.1)
    with other.session() as holder:
        holder.execute(update(Owner).values(name="held"))

        def work(session):
            session.add(Owner(id=2, name="two"))
            session.flush()
            with pytest.raises(LockTimeoutError), session.begin_nested():
                session.execute(update(Owner).where(Owner.id == 1).values(name="wanted"))

        with pytest.raises(TransactionFailedError):
            await within(impatient, work)
    assert (await settle(database.execute(select(Owner.id)))).scalars().all() == [1]
    await settle(impatient.close())
    other.close()


async def test_a_deadlock_within_a_savepoint_is_a_deadlock(database, url, tmp_path, mariadb_server):
    """The server drops the savepoint with the transaction; that there is none any more is not what went wrong."""
    rows = [{"id": 1, "balance": 0, "title": ""}, {"id": 2, "balance": 0, "title": ""}]
    await settle(database.execute(insert(Account), rows))
    other = await open_door("pymysql", Place(tmp_path), url)
    second = update(Account).where(Account.id == 2)
    first = update(Account).where(Account.id == 1)
    with other.session() as heavy:
        # The server ends the transaction that changed less.
        heavy.execute(insert(Account), [{"id": number, "balance": 0, "title": ""} for number in range(10, 60)])
        heavy.execute(second.values(balance=5))

        def work(session):
            session.execute(first.values(balance=7))
            waiting = Waiting(heavy, first.values(balance=5))
            try:
                wait_for_lock(mariadb_server)
                with session.begin_nested():
                    session.execute(second.values(balance=7))
            finally:
                waiting.join()

        with pytest.raises(DeadlockError):
            await within(database, work)
    assert set((await settle(database.execute(select(Account.balance).where(Account.id < 3)))).scalars()) == {5}
    other.close()


class Waiting:
    """A statement that another thread executes."""

    def __init__(self, session, statement):
        self.thread = threading.Thread(target=session.execute, args=(statement,))
        self.thread.start()

    def join(self):
        self.thread.join(60)


def wait_for_lock(server):
    """Until a transaction of the server waits for a row."""
    deadline = Deadline(60)
    while server.sql("SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'") == "0":
        assert not deadline.passed


async def test_locks_of_databases_are_apart(database, url, tmp_path, mariadb_server):
    elsewhere = mariadb_server.database()
    same = await open_door("pymysql", Place(tmp_path), url)
    apart = await open_door("pymysql", Place(tmp_path), elsewhere)
    name = "a name that is longer than the sixty-four characters that the server takes for one"
    with apart.lock(name):
        await take(database, name)
    with same.lock(name), pytest.raises(LockTimeoutError):
        await take(database, name)
    await take(database, name)
    same.close()
    apart.close()
    mariadb_server.drop_database(elsewhere)


async def take(database, name):
    if inspect.iscoroutinefunction(database.ping):
        async with database.lock(name, timeout=0.05):
            pass
    else:
        with database.lock(name, timeout=0.05):
            pass


async def test_stats_and_maintenance_are_the_servers(database):
    server = (await settle(database.stats())).server
    assert server["size"] > 0
    assert 1 <= server["connections"] <= server["server_connections"] <= server["max_connections"]
    await settle(database.optimize(["suite_owner"]))
    await settle(database.optimize([]))
    assert (await settle(database.execute(text("SELECT @@max_statement_time")))).scalar() == 30
    with pytest.raises(StatementError, match="absent"):
        await settle(database.optimize(["absent"]))


async def test_a_partial_unique_index_is_refused(database):
    with pytest.raises(UnsupportedError, match="partial indexes, which uq_email needs") as caught:
        await settle(database.create_all(Person.metadata))
    assert "generated column" in caught.value.remedy
    await settle(database.execute(text("DROP TABLE IF EXISTS suite_person")))


async def test_names_of_messages_differ_by_case_and_bodies_are_long(database):
    body = bytes(range(256)) * 1024

    def publish(session):
        for key in ("k", "K"):
            outbox.publish(session, queue="audit", body=body, key=key)

    await within(database, publish)
    rows = (await settle(database.execute(select(Outbox.c.aggregateid, Outbox.c.sequence, Outbox.c.payload)))).all()
    assert sorted(row.aggregateid for row in rows) == ["K", "k"]
    assert {row.sequence for row in rows} == {1}
    assert [row.payload for row in rows] == [body, body]
    for identity in ("abc", "ABC"):
        assert await within(database, lambda session, identity=identity: inbox.once(session, identity)) is True


@pytest.mark.parametrize("driver", ASYNCIO)
async def test_cancelled_statements_are_stopped_on_the_server(driver, url, tmp_path, mariadb_server):
    database = await open_door(driver, Place(tmp_path), url)
    await database.create_all(SuiteBase.metadata)
    await database.execute(text("DELETE FROM suite_owner"))
    await database.execute(insert(Owner).values(id=1, name="one"))
    mark = f"infra-cancel-{driver}"
    running = f"SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE '%{mark}%' AND id <> CONNECTION_ID()"

    async def work(number):
        async with database.session() as session:
            if number == 0:
                await session.execute(update(Owner).values(name="locked"))
            await session.execute(text(f"SELECT SLEEP(600) /* {mark} */"))

    async def count():
        return int(await asyncio.to_thread(mariadb_server.sql, running))

    tasks = [asyncio.create_task(work(number)) for number in range(5)]
    deadline = Deadline(60)
    while await count() < 5:
        assert not deadline.passed
    for task in tasks:
        task.cancel()
    assert {type(result) for result in await asyncio.gather(*tasks, return_exceptions=True)} == {asyncio.CancelledError}
    assert database.pool.in_use == 0
    while await count():
        assert not deadline.passed, "they go on running"
    assert (await database.execute(update(Owner).values(name="free"))).rowcount == 1, "its lock is gone as well"
    await database.close()


def test_describing_the_provider_imports_no_driver():
    modules = "{'pymysql', 'MySQLdb', 'asyncmy', 'aiomysql', 'sqlalchemy', 'pydantic'}"
    code = f"import infra_mysql, sys; infra_mysql.infra_database(); print({modules} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60).stdout == "set()\n"


def test_opening_imports_only_the_driver_in_use(tmp_path: Path):
    code = f"""
import asyncio, sys
from pathlib import Path
from infra_testing.harness import Harness, Place
Harness("mysql", {{"database": "d"}}, plugin="infra_mysql").open("database", Place(Path({str(tmp_path)!r}))).close()
print({{"MySQLdb", "asyncmy", "aiomysql"}} & set(sys.modules))
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60).stdout == "set()\n"


def test_what_is_not_the_drivers_is_not_classified():
    assert classify(ValueError(1062, "closed")) is None


@pytest.mark.parametrize("module", ["pymysql.err", "asyncmy.errors", "MySQLdb"])
@pytest.mark.parametrize(
    ("number", "fault", "unknown"),
    [
        (2006, Fault.CONNECTION, True),
        (2013, Fault.CONNECTION, True),
        (1927, Fault.CONNECTION, True),
        (1213, Fault.DEADLOCK, False),
        (1205, Fault.LOCK_TIMEOUT, False),
        (1020, Fault.SERIALIZATION, False),
        (1969, Fault.STATEMENT_TIMEOUT, False),
        (3024, Fault.STATEMENT_TIMEOUT, False),
        (1317, Fault.CANCELLED, True),
        (1040, Fault.LIMIT, False),
        (1045, Fault.UNAUTHENTICATED, False),
        (1049, Fault.MISSING, False),
        (1792, Fault.READ_ONLY, False),
        (1264, Fault.DATA, False),
        (1194, Fault.CORRUPT, False),
        (4025, Fault.CHECK, False),
        (3819, Fault.CHECK, False),
        (9999, Fault.OTHER, False),
    ],
)
def test_numbers_mean_the_same_of_every_driver(module, number, fault, unknown):
    if module == "MySQLdb":
        need_package(module, NO_HEADERS)
    from importlib import import_module

    found = classify(import_module(module).OperationalError(number, "x"))
    assert (found.fault, found.commit_unknown, found.code) == (fault, unknown, str(number))
    assert found.ends_transaction is (fault in (Fault.DEADLOCK, Fault.LOCK_TIMEOUT, Fault.SERIALIZATION))
