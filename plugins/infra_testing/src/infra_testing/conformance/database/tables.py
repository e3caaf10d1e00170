"""The models of the suite."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from infra.database import UTCDateTime, new_metadata
from infra.database.outbox import include
from infra.database.units import Unit


class SuiteBase(DeclarativeBase):
    """Everything that the suite creates and drops."""

    metadata = new_metadata("suite")


class Owner(SuiteBase):
    """Has a unique name."""

    __tablename__ = "suite_owner"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(100), unique=True)


class Account(SuiteBase):
    """Has each kind of constraint."""

    __tablename__ = "suite_account"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    owner_id: Mapped[int | None] = mapped_column(ForeignKey(Owner.id), default=None)
    title: Mapped[str] = mapped_column(String(100), default="")
    balance: Mapped[int] = mapped_column(CheckConstraint("balance >= 0", name="not_negative"), default=0)
    opened_at: Mapped[datetime | None] = mapped_column(UTCDateTime(), default=None)


include(SuiteBase.metadata)
Unit.to_metadata(SuiteBase.metadata)
