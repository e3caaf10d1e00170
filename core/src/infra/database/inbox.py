"""Handling a message once, although it may be delivered several times."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import timedelta
from typing import Protocol, overload

from sqlalchemy import delete, insert
from sqlalchemy import exc as sa
from sqlalchemy.engine import CursorResult
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from infra.database.errors import UniqueError
from infra.database.models import utcnow
from infra.database.outbox.tables import Inbox as Inbox


class Identified(Protocol):
    """An envelope or a delivery: whatever carries the message's id."""

    @property
    def id(self) -> str:
        """The id, kept by retry and redrive."""
        ...


@overload
def once(session: AsyncSession, message: Identified | str, *, consumer: str = "default") -> Awaitable[bool]: ...
@overload
def once(session: Session, message: Identified | str, *, consumer: str = "default") -> bool: ...
def once(session: AsyncSession | Session, message: Identified | str, *, consumer: str = "default") -> Awaitable[bool] | bool:
    """Whether this is the first time; call it first, in the handler's own transaction. Await it with an `AsyncSession`.

    Effects in this database then happen once; other effects do not. A second delivery at the same time waits for the first one to end.

        async with db.session() as session:
            if await inbox.once(session, delivery.message):
                ...

    Args:
        session: The session of the handler's transaction.
        message: The message, or its id.
        consumer: Who handles it; every consumer handles it once.
    """
    identity = message if isinstance(message, str) else message.id
    if isinstance(session, AsyncSession):
        return session.run_sync(_once, identity, consumer)
    return _once(session, identity, consumer)


def _once(session: Session, identity: str, consumer: str) -> bool:
    try:
        with session.begin_nested():
            session.execute(insert(Inbox).values(consumer=consumer, message_id=identity, handled_at=utcnow()))
    except (UniqueError, sa.IntegrityError):
        return False
    return True


@overload
def purge(session: AsyncSession, older_than: timedelta = ...) -> Awaitable[int]: ...
@overload
def purge(session: Session, older_than: timedelta = ...) -> int: ...
def purge(session: AsyncSession | Session, older_than: timedelta = timedelta(days=30)) -> Awaitable[int] | int:
    """Forget messages handled longer ago than that, which must exceed the time in which a queue may deliver again; how many it was."""
    if isinstance(session, AsyncSession):
        return session.run_sync(_purge, older_than)
    return _purge(session, older_than)


def _purge(session: Session, older_than: timedelta) -> int:
    done = session.execute(delete(Inbox).where(Inbox.c.handled_at < utcnow() - older_than))
    return done.rowcount if isinstance(done, CursorResult) else 0
