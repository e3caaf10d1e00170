"""PostgreSQL killed three times under load: a ledger says whether anything that was acknowledged is lost, or done twice."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter

from sqlalchemy import Column, Integer, MetaData, Table, insert, select, text

from infra.database import CommitUnknownError, Retry, outbox
from infra.database.outbox import Relay, RelayPolicy
from infra.errors import DatabaseError
from infra.runtime.threads import Stop
from infra_postgres.settings import PostgresSettings
from infra_testing.harness import Harness, Place
from infra_testing.services import PostgresServer

METADATA = MetaData()
#: Nothing keeps a number from being written twice.
NUMBERS = Table("ledger_number", METADATA, Column("id", Integer, primary_key=True), Column("number", Integer, nullable=False))
WRITERS = 2  # of each kind
KINDS = 3
PATIENCE = 120.0
RETRY = Retry(attempts=3)


class Ledger:
    """What the writers of one kind were told, by number.

    Args:
        kind: Its place among the kinds.
    """

    def __init__(self, kind: int) -> None:
        self.kind = kind
        self.acknowledged: set[int] = set()
        self.unknown: set[int] = set()
        self.failed: set[int] = set()

    def number(self, writer: int, count: int) -> int:
        """A number that no other writer has."""
        return (count * WRITERS + writer) * KINDS + self.kind

    def note(self, number: int, error: DatabaseError | None) -> None:
        answer = self.acknowledged if error is None else self.unknown if isinstance(error, CommitUnknownError) else self.failed
        answer.add(number)

    def check(self, found: Counter[int], published: Counter[int]) -> None:
        """Against the rows, and the messages that were published."""
        mine = Counter({number: times for number, times in found.items() if number % KINDS == self.kind})
        assert self.acknowledged <= set(mine), "an acknowledged commit is lost"
        assert not set(mine) & self.failed, "a commit that failed is there"
        assert set(mine) <= self.acknowledged | self.unknown
        assert max(mine.values()) == 1, "a unit took effect twice"
        messages = {number for number in published if number % KINDS == self.kind}
        assert messages == set(mine), "messages are published if, and only if, their transaction committed"


def prepared(server, folder):
    return Harness("postgres", {"connect_timeout": 30, "pool_size": WRITERS, **PostgresSettings.expand_url(server.url)}), Place(folder)


def write_blocking(database, ledger, writer, stop):
    count = 0
    while not stop.is_set():
        count += 1
        number = ledger.number(writer, count)

        def work(session, number=number):
            session.execute(insert(NUMBERS).values(number=number))
            outbox.publish(session, queue="ledger", body=str(number).encode())

        try:
            database.run(work, retry=RETRY)
        except DatabaseError as error:
            ledger.note(number, error)
            stop.wait(0.01)
        else:
            ledger.note(number, None)


async def write(database, ledger, writer, stop):
    count = 0
    while not stop.is_set():
        count += 1
        number = ledger.number(writer, count)

        async def work(session, number=number):
            await session.execute(insert(NUMBERS).values(number=number))
            await outbox.publish(session, queue="ledger", body=str(number).encode())

        try:
            await database.run(work, retry=RETRY)
        except DatabaseError as error:
            ledger.note(number, error)
            await asyncio.sleep(0.01)
        else:
            ledger.note(number, None)


async def reached(condition, what):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what()
        await asyncio.sleep(0.02)


async def test_nothing_acknowledged_is_lost_or_done_twice_when_the_server_is_killed_three_times(start_server, tmp_path):
    server = start_server(PostgresServer)
    harness, place = prepared(server, tmp_path)
    blocking = harness.open("database", place)
    through_psycopg = await harness.open_async("database", place)
    through_asyncpg = await harness.with_settings(driver="asyncpg").open_async("database", place)
    queue = Harness("sqlite", {"queue": "ledger"}).open("queue", place)
    blocking.create_all(METADATA)
    blocking.create_all(outbox.metadata)

    ledgers = [Ledger(kind) for kind in range(KINDS)]
    stop, stopped, end_relay = asyncio.Event(), threading.Event(), Stop()
    relay = Relay(blocking, lambda _: queue, policy=RelayPolicy(first=0.05, longest=0.5, poll=0.5, lease=2.0))
    relaying = threading.Thread(target=relay.run, args=(end_relay,))
    threads = [threading.Thread(target=write_blocking, args=(blocking, ledgers[0], writer, stopped)) for writer in range(WRITERS)]
    tasks = [
        asyncio.create_task(write(database, ledger, writer, stop))
        for database, ledger in ((through_psycopg, ledgers[1]), (through_asyncpg, ledgers[2]))
        for writer in range(WRITERS)
    ]

    async def work_goes_on():
        """Every kind has committed more, and the relay published more."""
        wanted = [len(ledger.acknowledged) + 20 for ledger in ledgers]
        published = queue.stats().ready + 20
        await reached(
            lambda: all(len(ledger.acknowledged) >= least for ledger, least in zip(ledgers, wanted, strict=True)),
            lambda: f"the writers did not recover: {tasks}",
        )
        await reached(lambda: queue.stats().ready >= published, lambda: f"the relay did not recover: {relay.stats()}")

    try:
        for thread in (relaying, *threads):
            thread.start()
        await work_goes_on()
        for _ in range(3):
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            await work_goes_on()
        stop.set()
        stopped.set()
        await asyncio.gather(*tasks)
        for thread in threads:
            await asyncio.to_thread(thread.join)
        await reached(lambda: not relay.stats().pending, lambda: f"the outbox is not empty: {relay.stats()}")
    finally:
        stop.set()
        stopped.set()
        end_relay.set()
    await asyncio.to_thread(relaying.join)

    found = Counter(blocking.execute(select(NUMBERS.c.number)).scalars())
    published: Counter[int] = Counter()
    queue.consume(lambda delivery: published.update([int(delivery.body)]), until="empty")
    for ledger in ledgers:
        ledger.check(found, published)
    databases = (blocking, through_psycopg, through_asyncpg)
    assert [database.pool.in_use for database in databases] == [0, 0, 0]
    sessions = blocking.execute(text("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'infra'")).scalar()
    assert sessions <= sum(database.pool.idle + database.pool.in_use for database in databases) + 1
    print(
        f"{len(found)} rows, {sum(published.values()) - len(published)} published again,",
        [f"{len(ledger.acknowledged)} acknowledged, {len(ledger.unknown)} unknown, {len(ledger.failed)} failed" for ledger in ledgers],
    )
    await through_psycopg.close()
    await through_asyncpg.close()
    blocking.close()
    queue.close()
