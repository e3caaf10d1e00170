"""Database, embedded.

Our sessions and repositories beside plain SQLAlchemy on the same SQLite settings: write-ahead log, synchronous NORMAL, foreign keys on,
transactions that take the write lock as they begin. The yardstick is what a host would write by hand: a session for each operation.
"""

from __future__ import annotations

import sqlite3
from itertools import count as counter
from typing import Any

from harness import Bench, Contender
from sqlalchemy import Engine, String, create_engine, event, insert, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from infra.database.repository import Repository

ROWS = 1_000
LISTED = 50
ADDED = 1_000

SESSION = "joining, the connection's name and the mapping of errors are a fixed cost beside a query of a few microseconds"
LIST = "a repository checks field names and sort order with each call"


class Base(DeclarativeBase):
    """The models of this suite."""


class Item(Base):
    """A row of ordinary width."""

    __tablename__ = "item"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(16), index=True)
    note: Mapped[str | None] = mapped_column(String(200))


def rows(first: int, number: int) -> list[dict[str, Any]]:
    """So many rows, from an id on."""
    return [{"id": first + i, "name": f"item {i}", "kind": f"kind-{i % 20}", "note": "n" * 40} for i in range(number)]


def plain_engine(bench: Bench, *, immediate: bool) -> Engine:
    """SQLAlchemy as its manual sets SQLite up for real transactions, or with those of Python's own driver, which begins at writes only."""
    engine = create_engine(f"sqlite:///{bench.folder / f'plain-{immediate}.db'}")
    bench.stack.callback(engine.dispose)

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        if immediate:
            connection.isolation_level = None

    if immediate:
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    Base.metadata.create_all(engine)
    with Session(engine) as session, session.begin():
        session.execute(insert(Item), rows(1, ROWS))
    return engine


def measure(bench: Bench) -> None:
    """Reading one and many, writing one and many."""
    bench.packages += ["infra-local", "SQLAlchemy"]
    bench.notes.append(f"SQLite {sqlite3.sqlite_version}")
    engine = plain_engine(bench, immediate=True)
    loose = plain_engine(bench, immediate=False)
    database = bench.open("database", "sqlite")
    database.create_all(Base.metadata)
    with database.session() as session:
        Repository[Item](session).add_many(rows(1, ROWS))
    reading(bench, engine, loose, database)
    writing(bench, engine, database)


def reading(bench: Bench, engine: Engine, loose: Engine, database: Any) -> None:
    """One row by its key, and a filtered list."""
    items = Repository[Item]

    def plain_get(engine: Engine) -> None:
        with Session(engine) as session:
            session.get(Item, 7)

    def ours_get(**options: Any) -> None:
        with database.session(**options) as session:
            session.get(Item, 7)

    def ours_repository() -> None:
        with database.session() as session:
            items(session).get(7)

    bench.compare(
        "a session and one row by its key",
        Contender("SQLAlchemy", bench.repeat(lambda: plain_get(engine))),
        Contender("SQLAlchemy, no BEGIN", bench.repeat(lambda: plain_get(loose))),
        Contender("ours", bench.repeat(ours_get), 1.05, why=SESSION),
        Contender("ours, repository", bench.repeat(ours_repository)),
        Contender("ours, autocommit", bench.repeat(lambda: ours_get(autocommit=True))),
        operations=1_000,
    )

    def plain_list() -> None:
        with Session(engine) as session:
            session.scalars(select(Item).where(Item.kind == "kind-7").order_by(Item.name).limit(LISTED)).all()

    def ours_list() -> None:
        with database.session() as session:
            items(session).list(kind="kind-7", sort="name", limit=LISTED)

    bench.compare(
        f"a sorted list of {LISTED}",
        Contender("SQLAlchemy", bench.repeat(plain_list)),
        Contender("ours, repository", bench.repeat(ours_list), 1.03, why=LIST),
        operations=300,
    )


def writing(bench: Bench, engine: Engine, database: Any) -> None:
    """One row a transaction, and a thousand."""
    items = Repository[Item]
    ids = counter(1_000_000)

    def plain_add() -> None:
        with Session(engine) as session, session.begin():
            session.add(Item(id=next(ids), name="new", kind="kind-1"))

    def ours_add() -> None:
        with database.session() as session:
            items(session).add(Item(id=next(ids), name="new", kind="kind-1"))

    bench.compare(
        "add one row and commit",
        Contender("SQLAlchemy", bench.repeat(plain_add)),
        Contender("ours, repository", bench.repeat(ours_add), 1.05, why=SESSION),
        operations=200,
    )

    def first() -> int:
        return 10_000_000 + next(ids) * ADDED

    def add_all() -> None:
        with Session(engine) as session, session.begin():
            session.add_all([Item(**row) for row in rows(first(), ADDED)])

    def core() -> None:
        with engine.begin() as connection:
            connection.execute(insert(Item.__table__), rows(first(), ADDED))

    def ours_many() -> None:
        with database.session() as session:
            items(session).add_many(rows(first(), ADDED))

    bench.compare(
        f"add {ADDED} rows and commit",
        Contender("SQLAlchemy, Core executemany", bench.repeat(core)),
        Contender("SQLAlchemy, add_all", bench.repeat(add_all)),
        Contender("ours, add_many", bench.repeat(ours_many)),
        operations=10,
        unit="batch",
    )
