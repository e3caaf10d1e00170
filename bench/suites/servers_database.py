"""Database on PostgreSQL.

Sessions and repositories of ours beside plain SQLAlchemy, the DBAPI itself and advanced-alchemy, each with a pool of its own on the same
private server over the loopback: same isolation, same durability (the launcher's servers do not sync). The yardstick is what a host would
write by hand, a session for each operation; ours also names its connection, watches the idle socket for its end, and maps errors.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count as counter
from typing import Any

import asyncpg
import psycopg
from advanced_alchemy.repository import SQLAlchemyAsyncRepository, SQLAlchemySyncRepository
from harness import Bench, Contender
from sqlalchemy import Engine, String, create_engine, insert, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from infra.database.repository import AsyncRepository, Repository
from infra_testing.services import PostgresServer

ROWS = 1_000
LISTED = 50
BULK = 10_000
UPSERTED = 1_000
DEEP = 100_000
ONE = "SELECT id, name, kind, note FROM item WHERE id = %s"
SESSION = "joining, the connection's name, a look at the idle socket and the mapping of errors are a fixed cost beside a short query"
LIST = "a repository checks field names and sort order with each call"
UPSERT = "each row is checked and made alike, and the batch kept within the server's limit of parameters"
BULK = "each row is checked against the model's columns and given its key and times; by hand they are there"
AUTOCOMMIT = "SQLAlchemy sets the mode with each session, resets it after, and rolls back nothing twice; a second pool would save that"


class Base(DeclarativeBase):
    """The models of this suite."""


class Item(Base):
    """A row of ordinary width."""

    __tablename__ = "item"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(16), index=True)
    note: Mapped[str | None] = mapped_column(String(200))


class Peer(SQLAlchemySyncRepository[Item]):
    """advanced-alchemy's."""

    model_type = Item


class AsyncPeer(SQLAlchemyAsyncRepository[Item]):
    """advanced-alchemy's for asyncio."""

    model_type = Item


def rows(first: int, number: int) -> list[dict[str, Any]]:
    """So many rows, from an id on."""
    return [{"id": first + i, "name": f"item {i}", "kind": f"kind-{i % 20}", "note": "n" * 40} for i in range(number)]


def measure(bench: Bench) -> None:
    """PostgreSQL by both doors and both DBAPIs."""
    bench.packages += ["infra-postgres", "SQLAlchemy", "psycopg", "asyncpg", "advanced-alchemy"]
    server = bench.serve(PostgresServer)
    address = server.url.removeprefix("postgresql://")
    engine = create_engine(f"postgresql+psycopg://{address}", pool_size=10)
    bench.stack.callback(engine.dispose)
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(insert(Item.__table__), rows(1, ROWS))
    ids = counter(1)
    database = bench.open("database", "postgres", url=server.url)
    raw = psycopg.connect(server.url, autocommit=True)
    bench.stack.callback(raw.close)
    reading(bench, "psycopg", engine, database, lambda: raw.execute(ONE, (7,)).fetchone())
    into = postgresql.insert(Item.__table__)
    changes = {name: into.excluded[name] for name in ("name", "kind", "note")}
    writing(bench, "psycopg", engine, database, ids, into.on_conflict_do_update(index_elements=["id"], set_=changes))
    bulk(bench, "psycopg", engine, database, psycopg.connect(server.url), ids)
    paging(bench, "psycopg", engine, database)
    for dbapi in ("asyncpg", "psycopg"):
        tasks(bench, dbapi, server, address)


def reading(bench: Bench, dbapi: str, engine: Engine, database: Any, by_dbapi: Callable[[], object]) -> None:
    """One row by its key, and a filtered list."""
    items = Repository[Item]

    def plain() -> None:
        with Session(engine) as session:
            session.get(Item, 7)

    def ours(**options: Any) -> None:
        with database.session(**options) as session:
            session.get(Item, 7)

    def repository() -> None:
        with database.session() as session:
            items(session).get(7)

    def peer() -> None:
        with Session(engine) as session:
            Peer(session=session).get(7)

    case = f"{dbapi}: a session and one row by its key"
    bench.compare(
        case,
        Contender("SQLAlchemy", bench.repeat(plain)),
        Contender(f"{dbapi}, one connection, no transaction", bench.repeat(by_dbapi)),
        Contender("ours", bench.repeat(ours)),
        Contender("ours, repository", bench.repeat(repository)),
        Contender("ours, autocommit", bench.repeat(lambda: ours(autocommit=True))),
        Contender("advanced-alchemy", bench.repeat(peer)),
        operations=200,
    )
    bench.at_most(case, "ours", 1.05, clock="wall", why=SESSION)
    bench.at_most(f"{dbapi}: the same without a transaction", "ours, autocommit", 0.6, clock="wall", why=AUTOCOMMIT)

    def plain_list() -> None:
        with Session(engine) as session:
            session.scalars(select(Item).where(Item.kind == "kind-7").order_by(Item.name).limit(LISTED)).all()

    def our_list() -> None:
        with database.session() as session:
            items(session).list(kind="kind-7", sort="name", limit=LISTED)

    def peer_list() -> None:
        with Session(engine) as session:
            Peer(session=session).list(Item.kind == "kind-7", order_by=("name", False), statement=select(Item).limit(LISTED))

    case = f"{dbapi}: a sorted list of {LISTED}"
    bench.compare(
        case,
        Contender("SQLAlchemy", bench.repeat(plain_list)),
        Contender("ours, repository", bench.repeat(our_list)),
        Contender("advanced-alchemy", bench.repeat(peer_list)),
        operations=100,
    )
    bench.at_most(case, "ours, repository", 1.03, clock="wall", why=LIST)


def writing(bench: Bench, dbapi: str, engine: Engine, database: Any, ids: Any, statement: Any) -> None:
    """One row a transaction, and upserts by `statement`."""
    items = Repository[Item]

    def new() -> Item:
        return Item(id=1_000_000 + next(ids), name="new", kind="kind-1")

    def plain_add() -> None:
        with Session(engine) as session, session.begin():
            session.add(new())

    def our_add() -> None:
        with database.session() as session:
            items(session).add(new())

    def peer_add() -> None:
        with Session(engine) as session, session.begin():
            Peer(session=session).add(new(), auto_refresh=False)

    case = f"{dbapi}: add one row and commit"
    bench.compare(
        case,
        Contender("SQLAlchemy", bench.repeat(plain_add)),
        Contender("ours, repository", bench.repeat(our_add)),
        Contender("advanced-alchemy", bench.repeat(peer_add)),
        operations=100,
    )
    bench.at_most(case, "ours, repository", 1.05, clock="wall", why=SESSION)
    some = rows(2_000_000, UPSERTED)

    def core() -> None:
        with engine.begin() as connection:
            connection.execute(statement, some)

    def our_upsert() -> None:
        with database.session() as session:
            items(session).upsert_many(some)

    def peer_upsert() -> None:
        with Session(engine) as session, session.begin():
            Peer(session=session).upsert_many([Item(**row) for row in some], no_merge=False)

    case = f"{dbapi}: upsert {UPSERTED} rows and commit"
    bench.compare(
        case,
        Contender("SQLAlchemy, Core", bench.repeat(core)),
        Contender("ours, upsert_many", bench.repeat(our_upsert)),
        Contender("advanced-alchemy", bench.repeat(peer_upsert)),
        operations=1,
        unit="batch",
    )
    bench.at_most(f"{case}: over Core", "ours, upsert_many", 1.1, clock="wall", why=UPSERT)
    bench.at_most(f"{case}: over advanced-alchemy", "ours, upsert_many", 0.3, over="advanced-alchemy", clock="wall")


def bulk(bench: Bench, dbapi: str, engine: Engine, database: Any, raw: Any, ids: Any) -> None:
    """Very many rows a transaction, given as each contender takes them: making them is not part of it."""
    bench.stack.callback(raw.close)
    items = Repository[Item]
    made = Made(ids)

    def copy() -> None:
        with raw.transaction(), raw.cursor() as cursor, cursor.copy("COPY item (id, name, kind, note) FROM STDIN") as into:
            for record in made.next:
                into.write_row(record)

    def ours() -> None:
        with database.session() as session:
            items(session).add_many(made.next)

    def core() -> None:
        with engine.begin() as connection:
            connection.execute(insert(Item.__table__), made.next)

    def add_all() -> None:
        with Session(engine) as session, session.begin():
            session.add_all(made.next)

    def peer() -> None:
        with Session(engine) as session, session.begin():
            Peer(session=session).add_many(made.next)

    case = f"{dbapi}: add {BULK} rows and commit"
    bench.compare(
        case,
        Contender("COPY by hand", bench.repeat(copy), prepare=made.tuples),
        Contender("ours, add_many of mappings", bench.repeat(ours), prepare=made.mappings),
        Contender("ours, add_many of models", bench.repeat(ours), prepare=made.models),
        Contender("SQLAlchemy, Core executemany", bench.repeat(core), prepare=made.mappings),
        Contender("SQLAlchemy, add_all", bench.repeat(add_all), prepare=made.models),
        Contender("advanced-alchemy, add_many", bench.repeat(peer), prepare=made.models),
        operations=1,
        unit="batch",
        rounds=5,
    )
    bench.at_most(f"{case}: mappings", "ours, add_many of mappings", 1.1, clock="wall", why=BULK)
    bench.at_most(f"{case}: models", "ours, add_many of models", 1.3, clock="wall", why=BULK)
    bench.at_least(f"{case}: over add_all", "ours, add_many of models", 10, over="SQLAlchemy, add_all", why=BULK)
    bench.at_least(f"{case}: over advanced-alchemy", "ours, add_many of models", 10, over="advanced-alchemy, add_many", why=BULK)


class Made:
    """Rows for one bulk statement, made before it is measured.

    Args:
        ids: Counts the batches.
    """

    def __init__(self, ids: Any) -> None:
        self.next: list[Any] = []
        self._ids = ids

    def mappings(self, _: int) -> None:
        """As a repository and Core take them."""
        self.next = rows(100_000_000 + next(self._ids) * BULK, BULK)

    def tuples(self, count: int) -> None:
        """As COPY takes them."""
        self.mappings(count)
        self.next = [tuple(row.values()) for row in self.next]

    def models(self, count: int) -> None:
        """As units of work take them."""
        self.mappings(count)
        self.next = [Item(**row) for row in self.next]


def paging(bench: Bench, dbapi: str, engine: Engine, database: Any) -> None:
    """A page at the beginning, and one far behind it."""
    items = Repository[Item]
    with engine.begin() as connection:
        connection.exec_driver_sql(
            f"INSERT INTO item SELECT 500000000 + i, 'item ' || i, 'deep', 'n' FROM generate_series(1, {DEEP + 1000}) i"
        )
        connection.exec_driver_sql("ANALYZE item")

    def at(after: str | None) -> Callable[[], None]:
        def read() -> None:
            with database.session() as session:
                items(session).page(LISTED, Item.id > 500_000_000, after=after, sort="id")

        return read

    with database.session() as session:
        far = items(session).page(DEEP, Item.id > 500_000_000, sort="id").next
    case = f"{dbapi}: a page of {LISTED} by its sort key"
    bench.compare(
        case,
        Contender("the first", bench.repeat(at(None))),
        Contender(f"behind {DEEP} rows", bench.repeat(at(far))),
        operations=50,
    )
    bench.at_most(f"{case}, far behind", f"behind {DEEP} rows", 1.5, clock="wall")


def tasks(bench: Bench, dbapi: str, server: PostgresServer, address: str) -> None:
    """Awaited sessions."""
    engine = create_async_engine(f"postgresql+{dbapi}://{address}", pool_size=10)
    database = bench.open_async("database", "postgres", url=server.url, driver=dbapi)
    bench.stack.callback(lambda: bench.runner.run(engine.dispose()))
    items = AsyncRepository[Item]

    async def connect() -> Any:
        if dbapi == "asyncpg":
            return await asyncpg.connect(server.url)
        return await psycopg.AsyncConnection.connect(server.url, autocommit=True)

    raw = bench.runner.run(connect())
    bench.stack.callback(lambda: bench.runner.run(raw.close()))

    async def by_dbapi() -> None:
        if dbapi == "asyncpg":
            await raw.fetchrow("SELECT id, name, kind, note FROM item WHERE id = $1", 7)
        else:
            await (await raw.execute(ONE, (7,))).fetchone()

    async def plain() -> None:
        async with AsyncSession(engine) as session:
            await session.get(Item, 7)

    async def ours(**options: Any) -> None:
        async with database.session(**options) as session:
            await session.get(Item, 7)

    async def peer() -> None:
        async with AsyncSession(engine) as session:
            await AsyncPeer(session=session).get(7)

    case = f"asyncio, {dbapi}: a session and one row by its key"
    bench.compare(
        case,
        Contender("SQLAlchemy", bench.repeat_async(plain)),
        Contender(f"{dbapi}, one connection, no transaction", bench.repeat_async(by_dbapi)),
        Contender("ours", bench.repeat_async(ours)),
        Contender("ours, autocommit", bench.repeat_async(lambda: ours(autocommit=True))),
        Contender("advanced-alchemy", bench.repeat_async(peer)),
        operations=150,
    )
    bench.at_most(case, "ours", 1.05, clock="wall", why=SESSION)
    limit = 0.7 if dbapi == "asyncpg" else 0.6
    bench.at_most(f"asyncio, {dbapi}: the same without a transaction", "ours, autocommit", limit, clock="wall", why=AUTOCOMMIT)
    ids = counter(10_000_000 if dbapi == "asyncpg" else 20_000_000)

    async def plain_add() -> None:
        async with AsyncSession(engine) as session, session.begin():
            session.add(Item(id=next(ids), name="new", kind="kind-1"))

    async def our_add() -> None:
        async with database.session() as session:
            await items(session).add(Item(id=next(ids), name="new", kind="kind-1"))

    case = f"asyncio, {dbapi}: add one row and commit"
    bench.compare(
        case,
        Contender("SQLAlchemy", bench.repeat_async(plain_add)),
        Contender("ours, repository", bench.repeat_async(our_add)),
        operations=100,
    )
    bench.at_most(case, "ours, repository", 1.05, clock="wall", why=SESSION)
    if dbapi != "asyncpg":
        return

    made = Made(counter(10_000))

    async def copy() -> None:
        async with raw.transaction():
            await raw.copy_records_to_table("item", columns=("id", "name", "kind", "note"), records=made.next)

    async def our_rows() -> None:
        async with database.session() as session:
            await items(session).add_many(made.next)

    case = f"asyncio, {dbapi}: add {BULK} rows and commit"
    bench.compare(
        case,
        Contender("COPY by hand", bench.repeat_async(copy), prepare=made.tuples),
        Contender("ours, add_many of mappings", bench.repeat_async(our_rows), prepare=made.mappings),
        operations=1,
        unit="batch",
        rounds=5,
    )
    bench.at_most(f"{case}: mappings", "ours, add_many of mappings", 1.1, clock="wall", why=BULK)
