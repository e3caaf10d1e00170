"""The models of the cases on repositories and paging."""

from __future__ import annotations

import enum
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import JSON, BigInteger, Computed, ForeignKey, Index, LargeBinary, Numeric, String, Text, func
from sqlalchemy.orm import Mapped, mapped_column, relationship

from infra.database import SoftDelete, Timestamps, UUIDPrimaryKey, Version
from infra.database.models import UTCDateTime
from infra_testing.conformance.database.tables import SuiteBase


class Colour(enum.Enum):
    """A value that is stored by its name."""

    RED = "r"
    BLUE = "b"


class Value(UUIDPrimaryKey, SuiteBase):
    """One column of each kind."""

    __tablename__ = "suite_value"
    text: Mapped[str | None] = mapped_column(Text())
    number: Mapped[int | None] = mapped_column(BigInteger())
    exact: Mapped[Decimal | None] = mapped_column(Numeric(18, 6))
    document: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    raw: Mapped[bytes | None] = mapped_column(LargeBinary())
    flag: Mapped[bool | None]
    at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    colour: Mapped[Colour | None]


class Team(UUIDPrimaryKey, SuiteBase):
    """What agents belong to."""

    __tablename__ = "suite_team"
    name: Mapped[str] = mapped_column(String(100))
    agents: Mapped[list[Agent]] = relationship(back_populates="team")


class Agent(UUIDPrimaryKey, Timestamps, Version, SuiteBase):
    """What repositories are usually about."""

    __tablename__ = "suite_agent"
    name: Mapped[str] = mapped_column(String(100))
    email: Mapped[str | None] = mapped_column(String(100), unique=True)
    kind: Mapped[str] = mapped_column(String(20), default="plain")
    age: Mapped[int | None]
    team_id: Mapped[Any] = mapped_column(ForeignKey(Team.id), nullable=True, default=None)
    team: Mapped[Team | None] = relationship(back_populates="agents")


class Note(UUIDPrimaryKey, Timestamps, SoftDelete, Version, SuiteBase):
    """Marked instead of deleted."""

    __tablename__ = "suite_note"
    title: Mapped[str] = mapped_column(String(100), unique=True)


class Counter(SuiteBase):
    """What several writers add to at once."""

    __tablename__ = "suite_counter"
    name: Mapped[str] = mapped_column(String(50), primary_key=True)
    writer: Mapped[int]


class Entry(SuiteBase):
    """Many rows, with ties and NULLs."""

    __tablename__ = "suite_entry"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    rank: Mapped[int | None]
    score: Mapped[int] = mapped_column(default=0)
    at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    colour: Mapped[Colour] = mapped_column(default=Colour.RED)
    __table_args__ = (Index(None, "score", "id"),)


class Shelf(SuiteBase):
    """Loads its books with it, by a join."""

    __tablename__ = "suite_shelf"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    room: Mapped[str] = mapped_column(String(50), server_default="hall")
    width: Mapped[int] = mapped_column(default=1)
    double_width: Mapped[int] = mapped_column(Computed("width * 2", persisted=True))
    changes: Mapped[int | None] = mapped_column(onupdate=func.abs(-2))
    books: Mapped[list[Book]] = relationship(lazy="joined", order_by="Book.id")


class Book(SuiteBase):
    """Stands on a shelf."""

    __tablename__ = "suite_book"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    shelf_id: Mapped[int] = mapped_column(ForeignKey(Shelf.id))
    language: Mapped[str] = mapped_column(String(10), server_default="en")
