"""Database on MariaDB.

The cases of the PostgreSQL suite that MariaDB shares with it, by PyMySQL and asyncmy: sessions and repositories of ours beside plain
SQLAlchemy, the DBAPI itself and advanced-alchemy, each with a pool of its own on the same private server over the loopback.
"""

from __future__ import annotations

from itertools import count as counter

import pymysql
from harness import Bench, Contender
from sqlalchemy import create_engine, insert
from sqlalchemy.dialects import mysql
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from suites.servers_database import AUTOCOMMIT, ONE, ROWS, SESSION, Base, Item, reading, rows, writing

from infra.database.repository import AsyncRepository
from infra_testing.services import MariaDBServer


def measure(bench: Bench) -> None:
    """MariaDB by both doors."""
    bench.packages += ["infra-mysql", "SQLAlchemy", "PyMySQL", "asyncmy", "advanced-alchemy"]
    server = bench.serve(MariaDBServer)
    url = server.database("bench")
    address = url.removeprefix("mysql://")
    options = {"pool_size": 10, "isolation_level": "READ COMMITTED"}
    engine = create_engine(f"mysql+pymysql://{address}?charset=utf8mb4", **options)
    bench.stack.callback(engine.dispose)
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(insert(Item.__table__), rows(1, ROWS))
    database = bench.open("database", "mysql", url=url)
    raw = pymysql.connect(host="127.0.0.1", port=server.port, user="root", database="bench", autocommit=True)
    bench.stack.callback(raw.close)

    def by_dbapi() -> None:
        with raw.cursor() as cursor:
            cursor.execute(ONE, (7,))
            cursor.fetchone()

    reading(bench, "PyMySQL", engine, database, by_dbapi)
    into = mysql.insert(Item.__table__)
    changes = {name: into.inserted[name] for name in ("name", "kind", "note")}
    writing(bench, "PyMySQL", engine, database, counter(1), into.on_duplicate_key_update(changes))
    tasks(bench, url, f"mysql+asyncmy://{address}?charset=utf8mb4", options)


def tasks(bench: Bench, url: str, address: str, options: dict[str, object]) -> None:
    """Awaited sessions."""
    engine = create_async_engine(address, **options)
    bench.stack.callback(lambda: bench.runner.run(engine.dispose()))
    database = bench.open_async("database", "mysql", url=url)
    ids = counter(50_000_000)

    async def plain() -> None:
        async with AsyncSession(engine) as session:
            await session.get(Item, 7)

    async def ours(**options: bool) -> None:
        async with database.session(**options) as session:
            await session.get(Item, 7)

    case = "asyncio, asyncmy: a session and one row by its key"
    bench.compare(
        case,
        Contender("SQLAlchemy", bench.repeat_async(plain)),
        Contender("ours", bench.repeat_async(ours)),
        Contender("ours, autocommit", bench.repeat_async(lambda: ours(autocommit=True))),
        operations=150,
    )
    bench.at_most(case, "ours", 1.05, clock="wall", why=SESSION)
    bench.at_most("asyncio, asyncmy: the same without a transaction", "ours, autocommit", 0.6, clock="wall", why=AUTOCOMMIT)

    async def plain_add() -> None:
        async with AsyncSession(engine) as session, session.begin():
            session.add(Item(id=next(ids), name="new", kind="kind-1"))

    async def our_add() -> None:
        async with database.session() as session:
            await AsyncRepository[Item](session).add(Item(id=next(ids), name="new", kind="kind-1"))

    case = "asyncio, asyncmy: add one row and commit"
    bench.compare(
        case,
        Contender("SQLAlchemy", bench.repeat_async(plain_add)),
        Contender("ours, repository", bench.repeat_async(our_add)),
        operations=100,
    )
    bench.at_most(case, "ours, repository", 1.05, clock="wall", why=SESSION)
