"""A server that has stopped, or lies behind a network that swallows everything: waits end, and work goes on when it is back."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import text

from infra.database.errors import DatabaseConnectionError
from infra_postgres.settings import PostgresSettings
from infra_testing.harness import Harness, Place
from infra_testing.services import PostgresServer

SLOW = text("SELECT pg_sleep(1.5), 1")

#: A slow statement of a process that has no file descriptor left to ask the server with.
EXHAUSTED = """
import asyncio, os, resource, sys
from pathlib import Path
from sqlalchemy import text
from infra_testing.harness import Place
from test_postgres_silence import SLOW, harness

def exhaust():
    most = max(map(int, os.listdir("/dev/fd"))) + 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    try:
        while True:
            os.dup(0)
    except OSError:
        pass

async def in_task():
    database = await harness(sys.argv[1], connect_timeout=60).open_async("database", Place(Path(sys.argv[2])))
    async with database.session() as session:
        await session.execute(text("SELECT 1"))
        exhaust()
        print((await session.execute(SLOW)).one()[1])

def in_thread():
    with harness(sys.argv[1], connect_timeout=60).open("database", Place(Path(sys.argv[2]))) as database, database.session() as session:
        session.execute(text("SELECT 1"))
        exhaust()
        print(session.execute(SLOW).one()[1])

asyncio.run(in_task()) if sys.argv[3] == "task" else in_thread()
"""


def harness(url, **settings):
    values = {"network_timeout": 0.5, "connect_timeout": 3, "statement_timeout": 0, **PostgresSettings.expand_url(url), **settings}
    return Harness("postgres", values)


def recovered(database):
    """A machine under load may take longer than a connection has."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return database.execute(text("SELECT 3")).scalar() == 3
        except DatabaseConnectionError:
            assert time.monotonic() < deadline, "the server does not come back"


def serves(server, folder):
    with harness(server.url).open("database", Place(folder)) as database:
        return recovered(database)


def test_a_stopped_server_ends_a_wait_and_the_pool_recovers(start_server, tmp_path):
    server = start_server(PostgresServer)
    with harness(server.url).open("database", Place(tmp_path)) as database:
        with database.session() as session:
            session.execute(text("SELECT 1"))
            server.pause()
            with pytest.raises(DatabaseConnectionError, match="stopped answering"):
                session.execute(text("SELECT 2"))
            session.rollback()
        server.resume()
        assert recovered(database)
        assert database.pool.in_use == 0


async def test_a_stopped_server_ends_the_waits_of_tasks(start_server, tmp_path):
    server = start_server(PostgresServer)
    database = await harness(server.url, driver="psycopg").open_async("database", Place(tmp_path))
    async with database.session() as session:
        await session.execute(text("SELECT 1"))
        await asyncio.to_thread(server.pause)
        with pytest.raises(DatabaseConnectionError, match="stopped answering"):
            await session.execute(text("SELECT 2"))
        await session.rollback()
    await asyncio.to_thread(server.resume)
    assert await asyncio.to_thread(serves, server, tmp_path)
    assert (await database.execute(text("SELECT 3"))).scalar() == 3
    assert database.pool.in_use == 0
    await database.close()


def test_a_black_hole_ends_a_wait(postgres_server, fault_proxy, tmp_path):
    proxy = fault_proxy(postgres_server)
    with harness(proxy.url_of(postgres_server.url)).open("database", Place(tmp_path)) as database:
        with database.session() as session:
            session.execute(text("SELECT 1"))
            proxy.black_hole()
            with pytest.raises(DatabaseConnectionError, match="stopped answering"):
                session.execute(text("SELECT 2"))
            session.rollback()
        proxy.heal()
        assert recovered(database)


@pytest.mark.parametrize("host", ["127.0.0.1", "folder"])
def test_a_slow_statement_goes_on_while_the_server_lives(postgres_server, tmp_path, host):
    place = str(postgres_server.root) if host == "folder" else host
    with harness(postgres_server.url, host=place, connect_timeout=60).open("database", Place(tmp_path)) as database:
        assert database.execute(SLOW).one()[1] == 1


async def test_a_slow_statement_of_a_task_goes_on_while_the_server_lives(postgres_server, tmp_path):
    for host in ("127.0.0.1", str(postgres_server.root)):
        database = await harness(postgres_server.url, host=host, connect_timeout=60).open_async("database", Place(tmp_path))
        assert (await database.execute(SLOW)).one()[1] == 1
        await database.close()
    assert len(asyncio.all_tasks()) == 1, "a question is left over"


def test_zero_switches_it_off(postgres_server, tmp_path):
    with harness(postgres_server.url, network_timeout=0).open("database", Place(tmp_path)) as database:
        assert database.execute(SLOW).one()[1] == 1


@pytest.mark.parametrize("caller", ["thread", "task"])
def test_a_process_that_cannot_ask_does_not_blame_the_server(postgres_server, tmp_path, caller):
    command = [sys.executable, "-c", EXHAUSTED, postgres_server.url, str(tmp_path), caller]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    assert done.stdout == "1\n", done.stderr
