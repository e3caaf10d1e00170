"""Which session the code that runs now is in."""

from __future__ import annotations

from contextlib import suppress
from contextvars import ContextVar, Token
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, event
from sqlalchemy.orm import Session, SessionTransaction

from infra.database.model import Role


class CoreSession(Session):
    """SQLAlchemy's session, which notes the id of the connection that it works on."""


def _began(session: Session, _: SessionTransaction, connection: Connection) -> None:
    session.info["connection_id"] = connection.info["connection_id"]


event.listen(CoreSession, "after_begin", _began)


@dataclass(slots=True)
class Running:
    """A session that has begun and not ended.

    Args:
        database: The portable object that it belongs to.
        session: The session of that door.
        role: Where it works.
        place: The task or thread that opened it. A child task inherits the context variable, but must not share the session.
        outer: The session around it, or None.
        ended: True once its scope was left; a context that outlives the scope still has it.
    """

    database: object
    session: Any
    role: Role
    place: object
    outer: Running | None
    ended: bool = False


running: Final[ContextVar[Running | None]] = ContextVar("infra_database_running", default=None)


def find(database: object, place: object) -> Running | None:
    """The session of `database` that this task or thread is in."""
    found = running.get()
    while found is not None:
        if found.database is database and not found.ended:
            return found if found.place is place else None
        found = found.outer
    return None


def enter(scope: Running) -> Token[Running | None]:
    """The code that runs now is in `scope`."""
    return running.set(scope)


def leave(scope: Running, token: Token[Running | None]) -> None:
    """It is in `scope` no more. A generator may be closed in another context than the one that it was started in."""
    scope.ended = True
    with suppress(ValueError):
        running.reset(token)
