"""The models of the cases on what columns hold."""

from __future__ import annotations

import enum
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, REAL, BigInteger, DateTime, ForeignKey, Numeric, SmallInteger, String, Text, func
from sqlalchemy.orm import Mapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator

from infra.database import Base, SoftDelete
from infra_testing.conformance.database.tables import SuiteBase


class Level(enum.Enum):
    """Its names sort otherwise than they are declared."""

    LOW = 1
    HIGH = 2
    A_BIT = 3


class Loud(TypeDecorator[str]):
    """Text that the server makes upper case."""

    impl = String(60)
    cache_ok = True

    def bind_expression(self, bindparam: Any) -> Any:
        """By SQL."""
        return func.upper(bindparam)


class ColumnBase(Base):
    """The types that `Base` gives to annotations, in the suite's metadata."""

    __abstract__ = True
    metadata = SuiteBase.metadata


class Sample(ColumnBase):
    """Types as a model names them first, without lengths and precisions."""

    __tablename__ = "suite_sample"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    exact: Mapped[Decimal | None]
    price: Mapped[Decimal | None] = mapped_column(Numeric(10, 2))
    wide: Mapped[Decimal | None] = mapped_column(Numeric(30, 3))
    real: Mapped[float | None] = mapped_column(REAL)
    double: Mapped[float | None]
    at: Mapped[time | None]
    span: Mapped[timedelta | None]
    naive: Mapped[datetime | None] = mapped_column(DateTime)
    made: Mapped[datetime] = mapped_column(DateTime, server_default=func.now())
    day: Mapped[date | None]
    flag: Mapped[bool | None]
    token: Mapped[UUID | None]
    level: Mapped[Level | None]
    text: Mapped[str | None]
    long: Mapped[str | None] = mapped_column(Text)
    raw: Mapped[bytes | None]
    document: Mapped[dict[str, Any] | None] = mapped_column(JSON)


class Small(ColumnBase):
    """A small key that counts up, and a `str` without a length that is unique."""

    __tablename__ = "suite_small"
    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)


class Odd(ColumnBase):
    """Names with any character, attributes that are called otherwise, and values that SQL makes."""

    __tablename__ = "suite odd %"
    id: Mapped[int] = mapped_column("Id", primary_key=True, autoincrement=False)
    loud: Mapped[str] = mapped_column("a 'b' (s)", Loud)
    percent: Mapped[int | None] = mapped_column("100 %s")
    select: Mapped[int | None] = mapped_column("select")
    colon: Mapped[int | None] = mapped_column("x:y (z)")
    state: Mapped[str | None] = mapped_column(String(20), default="new")
    twice: Mapped[int | None] = mapped_column(default=lambda context: context.get_current_parameters()["Id"] * 2)
    changed: Mapped[int | None] = mapped_column(onupdate=func.abs(-7))


class Vehicle(ColumnBase):
    """Spans two tables in a class below."""

    __tablename__ = "suite_vehicle"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "vehicle"}  # noqa: RUF012 - SQLAlchemy's


class Lorry(Vehicle):
    """Has a table of its own beside."""

    __tablename__ = "suite_lorry"
    id: Mapped[int] = mapped_column(ForeignKey(Vehicle.id), primary_key=True)
    tons: Mapped[int | None] = mapped_column(default=3)
    __mapper_args__ = {"polymorphic_identity": "lorry"}  # noqa: RUF012 - SQLAlchemy's


class Topic(SoftDelete, ColumnBase):
    """Has remarks."""

    __tablename__ = "suite_topic"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    remarks: Mapped[list[Remark]] = relationship(back_populates="topic", order_by="Remark.id")


class Remark(SoftDelete, ColumnBase):
    """Belongs to a topic."""

    __tablename__ = "suite_remark"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    topic_id: Mapped[int] = mapped_column(ForeignKey(Topic.id))
    topic: Mapped[Topic | None] = relationship(back_populates="remarks")
