"""The statements of a relay."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, Delete, Row, Select, Update, and_, case, delete, exists, func, or_, select, tuple_, update

from infra.database.outbox.tables import Outbox, OutboxKey

OnDead = Literal["block", "skip"]
_older = Outbox.alias("older")


def claimable(now: datetime, batch: int, on_dead: OnDead, skip_locked: bool) -> Select[Any]:
    """Rows to lease: due, not leased, and the oldest unpublished row of their key. It asks for state, never for "after the last sequence":
    a transaction that commits late would be lost.
    """
    waiting = [_older.c.published_at.is_(None)]
    if on_dead == "skip":
        waiting.append(_older.c.dead_at.is_(None))
    behind = exists().where(
        _older.c.aggregatetype == Outbox.c.aggregatetype,
        _older.c.aggregateid == Outbox.c.aggregateid,
        _older.c.sequence < Outbox.c.sequence,
        *waiting,
    )
    query = (
        select(Outbox)
        .where(
            Outbox.c.published_at.is_(None),
            Outbox.c.dead_at.is_(None),
            Outbox.c.available_at <= now,
            or_(Outbox.c.locked_until.is_(None), Outbox.c.locked_until < now),
            or_(Outbox.c.aggregateid.is_(None), ~behind),
        )
        .order_by(Outbox.c.occurred_at, Outbox.c.id)
        .limit(batch)
    )
    return query.with_for_update(skip_locked=True, of=Outbox) if skip_locked else query


def lease(ids: Sequence[UUID], relay: str, until: datetime) -> Update:
    """Make the rows this relay's."""
    return update(Outbox).where(Outbox.c.id.in_(ids)).values(locked_by=relay, locked_until=until, attempts=Outbox.c.attempts + 1)


def published(ids: Sequence[UUID], now: datetime) -> Update:
    """Mark rows whose messages are in the queue, whoever has leased them meanwhile."""
    return (
        update(Outbox)
        .where(Outbox.c.id.in_(ids), Outbox.c.published_at.is_(None))
        .values(published_at=now, locked_by=None, locked_until=None, last_error=None)
    )


def failed(row: Row[Any], relay: str, again: datetime, error: str, *, refused: bool, dead_at: datetime | None) -> Update:
    """Give a row back, to be tried again at `again`; or give it up."""
    mine = and_(Outbox.c.id == row.id, Outbox.c.locked_by == relay, Outbox.c.published_at.is_(None))
    values: dict[str, Any] = {"locked_by": None, "locked_until": None, "available_at": again, "last_error": error, "dead_at": dead_at}
    if refused:
        values["refusals"] = Outbox.c.refusals + 1
    return update(Outbox).where(mine).values(values)


def numbers() -> Select[int, int]:
    """How many rows wait and are dead, and since when the oldest waits."""
    pending = and_(Outbox.c.published_at.is_(None), Outbox.c.dead_at.is_(None))
    return select(
        _count(pending).label("pending"),
        _count(and_(Outbox.c.published_at.is_(None), Outbox.c.dead_at.is_not(None))).label("dead"),
    ).select_from(Outbox)


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)


def oldest() -> Select[Any]:
    """When the oldest waiting row occurred."""
    return select(Outbox.c.occurred_at).where(Outbox.c.published_at.is_(None)).order_by(Outbox.c.occurred_at).limit(1)


def redrive(ids: Sequence[UUID] | None, now: datetime) -> Update:
    """Let dead rows be tried again."""
    chosen = update(Outbox).where(Outbox.c.dead_at.is_not(None), Outbox.c.published_at.is_(None))
    if ids is not None:
        chosen = chosen.where(Outbox.c.id.in_(ids))
    return chosen.values(dead_at=None, refusals=0, available_at=now)


def purgeable(before: datetime, batch: int, skip_locked: bool) -> Select[Any]:
    """Ids of rows published before that time, to be locked; not those that somebody else has locked."""
    query = select(Outbox.c.id).where(Outbox.c.published_at.is_not(None), Outbox.c.published_at < before).limit(batch)
    return query.with_for_update(skip_locked=True, of=Outbox) if skip_locked else query


def purge(ids: Sequence[UUID]) -> Delete:
    """Delete the rows."""
    return delete(Outbox).where(Outbox.c.id.in_(ids), Outbox.c.published_at.is_not(None))


def unused_keys(batch: int, skip_locked: bool) -> Select[Any, Any]:
    """Counters of keys without rows, to be locked. One that a publisher holds is in use, whatever this transaction sees of its rows."""
    query = select(OutboxKey.c.aggregatetype, OutboxKey.c.aggregateid).where(~_used()).limit(batch)
    return query.with_for_update(skip_locked=True, of=OutboxKey) if skip_locked else query


def purge_keys(keys: Sequence[Any]) -> Delete:
    """Delete those of the locked counters that have no rows now. A key that comes back starts anew: nothing of it is left to be ordered.

    It must be a statement of its own after the locks: one that waits for a lock goes on with what it saw before.
    """
    pairs = [(key.aggregatetype, key.aggregateid) for key in keys]
    return delete(OutboxKey).where(tuple_(OutboxKey.c.aggregatetype, OutboxKey.c.aggregateid).in_(pairs), ~_used())


def _used() -> ColumnElement[bool]:
    return exists().where(Outbox.c.aggregatetype == OutboxKey.c.aggregatetype, Outbox.c.aggregateid == OutboxKey.c.aggregateid)


def backoff(attempts: int, first: float, longest: float) -> timedelta:
    """How long to wait after that many attempts."""
    return timedelta(seconds=min(longest, first * 2.0 ** min(max(0, attempts - 1), 30)))
