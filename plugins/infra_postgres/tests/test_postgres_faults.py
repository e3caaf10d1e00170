"""A server that dies under load, and callers that go away."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import select, text

from infra.database import CommitUnknownError
from infra.errors import DatabaseError
from infra_postgres.settings import PostgresSettings
from infra_testing.conformance.database.tables import Owner, SuiteBase
from infra_testing.harness import Harness, Place
from infra_testing.services import PostgresServer

WRITERS = 4


def harness(url, **settings):
    values = {"connect_timeout": 30, **PostgresSettings.expand_url(url), **settings}
    return Harness("postgres", values, plugin="infra_postgres")


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


def test_no_acknowledged_commit_is_lost_when_the_server_restarts_under_load(start_server, tmp_path):
    server = start_server(PostgresServer)
    with harness(server.url).open("database", Place(tmp_path)) as database:
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
            for _ in range(2):
                wait_for_more(ledger, 20)
                server.stop()
                server.start()
            wait_for_more(ledger, 20)
        finally:
            stop.set()
            for thread in writers:
                thread.join()
        ledger.check(set(database.execute(select(Owner.id)).scalars()))
        assert ledger.failed | ledger.unknown, "the server went unnoticed"
        assert database.pool.in_use == 0


def wait_for_more(ledger, more):
    """Until so many further commits were acknowledged."""
    wanted = len(ledger.acknowledged) + more
    waiting = threading.Event()
    for _ in range(12000):
        if len(ledger.acknowledged) >= wanted:
            return
        waiting.wait(0.01)
    raise AssertionError("the writers did not recover")


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
async def test_a_backend_that_an_operator_ends_costs_one_transaction(postgres_server, tmp_path, driver):
    """Idle it is replaced unnoticed; in a transaction `run` begins again."""
    database = await harness(postgres_server.url, driver=driver, pool_size=1, max_overflow=0).open_async("database", Place(tmp_path))
    ended = []

    async def work(session):
        await session.execute(text("SELECT 1"))
        if not ended:
            ended.append(end_backend(postgres_server, session.info["connection_id"]))
        return (await session.execute(text("SELECT 2"))).scalar()

    assert await database.run(work) == 2
    info = await database.info()
    end_backend(postgres_server, info.details["connection_id"])
    assert (await database.execute(text("SELECT 3"))).scalar() == 3
    assert ended
    await database.close()


def end_backend(server, pid):
    """Once it returns the backend is gone."""
    assert server.sql(f"SELECT pg_terminate_backend({int(pid)}, 60000)") == "t"
    return pid
