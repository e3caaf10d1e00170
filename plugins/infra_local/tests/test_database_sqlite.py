"""What only SQLite does."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import insert, select, text, update

from infra.database import (
    DatabaseOperationError,
    Fault,
    ForeignKeyError,
    ReadOnlyError,
    SerializationError,
    outbox,
)
from infra.database.outbox import AsyncRelay, Relay
from infra_local.database.faults import classify
from infra_local.database.settings import SQLiteSettings
from infra_testing.conformance.database.tables import Account, Owner, SuiteBase
from infra_testing.harness import Harness, Place

HARNESS = Harness("sqlite", plugin="infra_local")


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path / "data")


@pytest.fixture
def database(place):
    with HARNESS.open("database", place) as database:
        database.create_all(SuiteBase.metadata)
        yield database


def owners(database):
    return sorted(database.execute(select(Owner.id)).scalars())


def test_the_file_is_named_after_the_resource(place):
    with HARNESS.open("database", place, "garmin") as database:
        database.ping()
        assert (place.data_dir / "garmin.sqlite3").exists()


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite://", ":memory:"),
        ("sqlite:///:memory:", ":memory:"),
        ("sqlite:///some/file.db", "some/file.db"),
        ("sqlite:////an/absolute.db", "/an/absolute.db"),
    ],
)
def test_urls_mean_what_sqlalchemy_says(url, path):
    assert SQLiteSettings(**SQLiteSettings.expand_url(url)).path == path


def test_every_connection_has_its_modes(database):
    def pragma(name):
        return database.execute(text(f"PRAGMA {name}")).scalar()

    assert (pragma("foreign_keys"), pragma("journal_mode"), pragma("synchronous"), pragma("busy_timeout")) == (1, "wal", 1, 5000)


def test_a_deferred_constraint_fails_at_commit_and_leaves_a_clean_connection(database):
    database.execute(text("CREATE TABLE child (id INTEGER, owner INTEGER REFERENCES suite_owner (id) DEFERRABLE INITIALLY DEFERRED)"))
    for _ in range(2):
        with pytest.raises(ForeignKeyError), database.session() as session:
            session.execute(text("INSERT INTO child VALUES (1, 99)"))
    assert database.execute(text("SELECT count(*) FROM child")).scalar() == 0
    assert database.pool.in_use == 0


def test_a_deferred_begin_can_come_too_late_and_run_repeats_it(place):
    with HARNESS.open("database", place, begin="deferred") as database:
        database.create_all(SuiteBase.metadata)
        database.execute(insert(Account), [{"id": 1, "balance": 0, "title": ""}])
        runs = []

        def work(session):
            account = session.get(Account, 1)
            runs.append(account.balance)
            if len(runs) == 1:
                with database.session(independent=True) as rival:
                    rival.execute(update(Account).values(balance=Account.balance + 10))
            account.balance += 1
            session.flush()

        with pytest.raises(SerializationError), database.session() as session:
            work(session)
        runs.clear()
        database.run(work)
        assert runs == [10, 20]
        assert database.execute(select(Account.balance)).scalar() == 21


def test_busy_at_commit_means_not_committed(tmp_path):
    first, second = (sqlite3.connect(tmp_path / "plain.db", timeout=0, isolation_level=None) for _ in range(2))
    first.execute("CREATE TABLE t (a)")
    first.execute("INSERT INTO t VALUES (1)")
    second.execute("BEGIN")
    second.execute("SELECT * FROM t").fetchall()
    first.execute("BEGIN")
    first.execute("INSERT INTO t VALUES (2)")
    with pytest.raises(sqlite3.OperationalError) as caught:
        first.execute("COMMIT")
    failure = classify(caught.value)
    assert failure is not None
    assert (failure.fault, failure.commit_unknown) == (Fault.LOCK_TIMEOUT, False)
    first.close()
    second.close()


def test_a_full_disk_is_an_error_and_nothing_is_half_written(place):
    with HARNESS.open("database", place, pool_size=1, max_overflow=0) as database:
        database.create_all(SuiteBase.metadata)
        pages = database.execute(text("PRAGMA page_count")).scalar()
        database.execute(text(f"PRAGMA max_page_count = {pages + 2}"))
        with pytest.raises(DatabaseOperationError) as caught, database.session() as session:
            session.add_all([Owner(id=number, name=f"{number} {'x' * 90}") for number in range(1000)])
        assert caught.value.details["server_code"] == "SQLITE_FULL"
        assert owners(database) == []
        database.execute(text("PRAGMA max_page_count = 100000"))
        database.execute(insert(Owner).values(id=1, name="room again"))
        assert owners(database) == [1]


IO_ERROR = """
import resource, sys
from pathlib import Path
from infra.database import CommitUnknownError
from infra_testing.conformance.database.tables import Owner, SuiteBase
from infra_testing.harness import Harness, Place

folder = Path(sys.argv[1])
database = Harness("sqlite", plugin="infra_local").open("database", Place(folder), synchronous="full")
database.create_all(SuiteBase.metadata)
runs = []

def work(session):
    runs.append(1)
    session.add_all([Owner(id=number, name=f"{number} {'x' * 90}") for number in range(100)])
    session.flush()
    if len(runs) == 1:
        size = (folder / "main.sqlite3-wal").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

def free():
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

try:
    database.run(work)
except CommitUnknownError as error:
    assert not error.retryable and error.remedy, error
else:
    raise SystemExit("no error")
assert len(runs) == 1, "an unknown commit is not repeated"
free()
assert database.execute("SELECT count(*) FROM suite_owner").scalar() in (0, 100)
database.execute("DELETE FROM suite_owner")
runs.clear()
database._was_committed_once = database._was_committed
database._was_committed = lambda unit: (free(), database._was_committed_once(unit))[1]
database.run(work, witness=True)
assert database.execute("SELECT count(*) FROM suite_owner").scalar() == 100
runs.clear()
database.execute("DELETE FROM suite_owner")
free_now = database.engines.translator.commit_unknown
database.engines.translator.commit_unknown = lambda error: (free(), free_now(error))[1]
database.run(work, idempotent=True)
assert len(runs) == 2, runs
assert database.execute("SELECT count(*) FROM suite_owner").scalar() == 100
database.close()
print("done")
"""


def test_an_io_error_at_commit_is_an_unknown_commit(tmp_path):
    """The kernel refuses to let the write-ahead log grow, in the middle of COMMIT."""
    pytest.importorskip("resource")
    done = subprocess.run([sys.executable, "-W", "error", "-c", IO_ERROR, str(tmp_path)], capture_output=True, text=True, timeout=150)
    assert done.stdout == "done\n", done.stderr


def test_the_server_refuses_writes_of_readers_also_by_raw_sql(database):
    with pytest.raises(ReadOnlyError), database.session(role="reader") as session:
        session.execute(text("CREATE TABLE no (a)"))


def test_the_doors_of_a_memory_database_are_separate(place):
    memory = HARNESS.with_settings(path=":memory:")
    with memory.open("database", place) as one, memory.open("database", place) as two:
        one.create_all(SuiteBase.metadata)
        assert not two.validate_schema(SuiteBase.metadata).is_valid


async def test_a_memory_database_survives_a_cancelled_statement(place):
    database = await HARNESS.with_settings(path=":memory:").open_async("database", place)
    await database.create_all(SuiteBase.metadata)
    await database.execute(insert(Owner).values(id=1, name="kept"))

    async def endless():
        async with database.session() as session:
            await session.execute(text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"))

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(endless(), 0.1)
    assert (await database.execute(select(Owner.name))).scalar() == "kept"
    await database.close()


@pytest.mark.parametrize("provider", ["memory", "sqlite"])
async def test_the_relay_feeds_a_real_queue(place, provider):
    database = await HARNESS.open_async("database", place)
    queue = await Harness(provider, plugin="infra_local").open_async("queue", place, "audit")
    await database.create_all(outbox.metadata)
    for number in range(20):
        async with database.session() as session:
            await outbox.publish(session, queue="audit", body={"n": number}, key="k" if queue.supports("ordering") else None)
    relay = AsyncRelay(database, {"audit": queue}.__getitem__)
    while await relay.step():
        pass
    assert (await relay.stats()).pending == 0
    assert (await queue.stats()).ready == 20
    await queue.close()
    await database.close()


def test_the_blocking_relay_feeds_a_real_queue(place, database):
    with Harness("memory", plugin="infra_local").open("queue", place, "audit") as queue:
        with database.session() as session:
            outbox.publish(session, queue="audit", body=b"one")
        assert Relay(database, lambda _: queue).step() == 1
        assert queue.stats().ready == 1


WRITER = """
import sys
from pathlib import Path
from sqlalchemy import update
from infra_testing.conformance.database.tables import Account
from infra_testing.harness import Harness, Place

with Harness("sqlite", plugin="infra_local").open("database", Place(Path(sys.argv[1])), lock_timeout=30) as database:
    for _ in range(50):
        with database.session() as session:
            session.get(Account, 1).balance += 1
"""


def test_four_processes_lose_no_update(place, database):
    database.execute(insert(Account), [{"id": 1, "balance": 0, "title": ""}])
    command = [sys.executable, "-c", WRITER, str(place.data_dir)]
    writers = [subprocess.Popen(command) for _ in range(4)]
    assert [writer.wait(60) for writer in writers] == [0] * 4
    assert database.execute(select(Account.balance)).scalar() == 200


def test_a_named_lock_is_held_against_other_processes(place, database):
    script = (
        "import sys; from pathlib import Path; from infra.database import LockTimeoutError\n"
        "from infra_testing.harness import Harness, Place\n"
        "database = Harness('sqlite', plugin='infra_local').open('database', Place(Path(sys.argv[1])))\n"
        "try:\n    with database.lock('x', timeout=0.05): print('taken')\n"
        "except LockTimeoutError: print('refused')\n"
    )

    def other():
        return subprocess.run([sys.executable, "-c", script, str(place.data_dir)], capture_output=True, text=True, timeout=150).stdout

    with database.lock("x"):
        assert other() == "refused\n"
    assert other() == "taken\n"


def test_the_path_of_a_missing_folder_is_made(tmp_path):
    path = tmp_path / "a" / "b" / "c.db"
    with HARNESS.open("database", Place(Path(tmp_path)), path=str(path)) as database:
        database.ping()
    assert path.exists()
