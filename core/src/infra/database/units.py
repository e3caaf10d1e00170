"""Units: whole transactions that `run` may repeat, and the rows that tell whether one was committed."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Column, Connection, Delete, Insert, MetaData, Table, Uuid, delete, insert

from infra.database.models import NAMING_CONVENTION, UTCDateTime, utcnow
from infra.errors import UnsupportedError

metadata = MetaData(naming_convention=dict(NAMING_CONVENTION))

#: A row for each committed unit of ``run(witness=True)``.
Unit: Final = Table(
    "infra_unit",
    metadata,
    Column("id", Uuid(), primary_key=True),
    Column("committed_at", UTCDateTime(), nullable=False, index=True),
)

_DDL: Final = re.compile(r"\s*(?:CREATE|ALTER|DROP|TRUNCATE|RENAME)\b", re.IGNORECASE)


def witness(unit: UUID) -> Insert:
    """The statement that leaves the row of `unit` in its transaction."""
    return insert(Unit).values(id=unit, committed_at=utcnow())


def forget(older_than: timedelta, now: datetime | None = None) -> Delete:
    """The statement that deletes rows of units that nobody asks about any more."""
    return delete(Unit).where(Unit.c.committed_at < (now or utcnow()) - older_than)


def refuse_ddl(_connection: Connection, _cursor: Any, statement: str, _parameters: Any, context: Any, _many: bool) -> None:
    """Raise on DDL: MySQL commits before it, so a unit that is run again would start half done."""
    if (context is not None and context.isddl) or _DDL.match(statement):
        raise UnsupportedError(
            "a unit must not change the schema: some servers commit before DDL",
            operation="run",
            remedy="put it into a migration, or into a session of its own",
        )
