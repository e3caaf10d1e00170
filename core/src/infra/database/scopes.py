"""Which session the code that runs now is in."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar, Token
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from operator import attrgetter, is_
from typing import Any, Final, cast

from sqlalchemy import Connection, event
from sqlalchemy.orm import Session, SessionTransaction

from infra.database.errors import DatabaseOperationError
from infra.database.model import Role
from infra.database.models import SoftDelete
from infra.errors import ConfigurationError, ErrorCode


class OneUser(Session):
    """What every session of ours has besides SQLAlchemy's: one user at a time, and none once its scope was left."""

    turns: Any = None
    over: bool = False

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        """As SQLAlchemy's."""
        self._take("execute")
        try:
            return super().execute(*args, **kwargs)
        finally:
            self.turns.give()

    def scalar(self, *args: Any, **kwargs: Any) -> Any:
        """As SQLAlchemy's."""
        self._take("scalar")
        try:
            return super().scalar(*args, **kwargs)
        finally:
            self.turns.give()

    def scalars(self, *args: Any, **kwargs: Any) -> Any:
        """As SQLAlchemy's."""
        self._take("scalars")
        try:
            return super().scalars(*args, **kwargs)
        finally:
            self.turns.give()

    def connection(self, *args: Any, **kwargs: Any) -> Connection:
        """As SQLAlchemy's."""
        self._take("connection")
        try:
            return super().connection(*args, **kwargs)
        finally:
            self.turns.give()

    def flush(self, objects: Any = None) -> None:
        """As SQLAlchemy's."""
        self._take("flush")
        try:
            super().flush(objects)
        finally:
            self.turns.give()

    def begin_nested(self) -> SessionTransaction:
        """As SQLAlchemy's."""
        self._take("begin_nested")
        try:
            return super().begin_nested()
        finally:
            self.turns.give()

    def commit(self) -> None:
        """As SQLAlchemy's."""
        self._take("commit")
        try:
            super().commit()
        finally:
            self.turns.give()

    def rollback(self) -> None:
        """As SQLAlchemy's."""
        self._take("rollback")
        try:
            super().rollback()
        finally:
            self.turns.give()

    def _identity_lookup(self, *args: Any, **kwargs: Any) -> Any:
        # A row that was marked as deleted in this session: `get` and lazy loads ask the server, which does not show it.
        found: Any = super()._identity_lookup(*args, **kwargs)  # pyright: ignore[reportPrivateUsage]
        return None if isinstance(found, SoftDelete) and found.deleted_at is not None else found

    def _take(self, operation: str) -> None:
        if self.over:
            raise used_wrongly(
                self, operation, "the session has ended", "use it within the `with` block that opened it, and await there what uses it"
            )
        if not self.turns.take():
            raise used_wrongly(self, operation, "another task or thread is using this session", _ALONE)


#: What to do instead of sharing a session.
_ALONE: Final = "give each concurrent task or thread a session of its own, or await one after the other"


def used_wrongly(session: Session, operation: str, message: str, remedy: str = _ALONE) -> DatabaseOperationError:
    """The error for a session that two use at once, or that has ended."""
    database = session.info.get("database")
    return DatabaseOperationError(
        message,
        code=ErrorCode.PRECONDITION_FAILED,
        resource=getattr(database, "name", None),
        provider=getattr(database, "provider", None),
        operation=operation,
        remedy=remedy,
    )


def _began(session: Session, _: SessionTransaction, connection: Connection) -> None:
    session.info["connection_id"] = connection.info["connection_id"]


event.listen(OneUser, "after_begin", _began, propagate=True)


class CoreSession(OneUser):
    """SQLAlchemy's session, of one user at a time, which notes the id of the connection that it works on."""


@cache
def with_one_user(chosen: type[Any]) -> type[OneUser]:
    """The blocking sessions of a host's own class, with what ours have. Of an asyncio class it is the one beneath it.

    Raises:
        ConfigurationError: It is no class of SQLAlchemy's sessions.
    """
    base: Any = getattr(chosen, "sync_session_class", chosen)
    bases: tuple[Any, ...] = (base, OneUser)
    if base is Session:
        return CoreSession
    if not (isinstance(base, type) and issubclass(base, Session)):
        raise ConfigurationError(
            f"{chosen!r} is no class of sessions",
            remedy="give a subclass of SQLAlchemy's Session or AsyncSession",
        )
    # The host's class first: what it calls of its own base is ours then.
    return cast("type[OneUser]", type(base.__name__, bases, {"__module__": base.__module__, "__doc__": base.__doc__}))


def class_named(reference: str | None, resource: str) -> type[Any] | None:
    """The class that the setting `session_class` names.

    Raises:
        ConfigurationError: There is none, or it is no class of sessions.
    """
    if reference is None:
        return None
    module, _, path = reference.partition(":")
    try:
        found = attrgetter(path)(import_module(module))
        with_one_user(found)
    except (ImportError, AttributeError, ValueError, ConfigurationError) as error:
        raise ConfigurationError(
            f"session_class {reference!r} is no class of sessions",
            resource=resource,
            remedy="name it as module:Class, a subclass of sqlalchemy.orm.Session or sqlalchemy.ext.asyncio.AsyncSession",
        ) from error
    return found


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
        guest: The other thread that has joined; there is one at a time.
    """

    database: object
    session: Any
    role: Role
    place: object
    outer: Running | None
    ended: bool = False
    guest: object = None


running: Final[ContextVar[Running | None]] = ContextVar("infra_database_running", default=None)


def find(database: object, place: object, continues: Callable[[Any, Any], bool] = is_) -> Running | None:
    """The session of `database` that this task or thread is in.

    Args:
        database: The portable object.
        place: This task or thread.
        continues: Whether it goes on for another one, whose context it has inherited; only the same one does, when not given.
    """
    found = running.get()
    while found is not None:
        if found.database is database and not found.ended:
            return found if continues(found.place, place) else None
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
