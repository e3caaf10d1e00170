# Generated from session.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""The scope of a session: who opens it commits or rolls back; who joins does neither."""

from __future__ import annotations

from contextvars import Token
from threading import current_thread as place
from types import TracebackType
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine
from sqlalchemy.exc import PendingRollbackError
from sqlalchemy.orm import Session

from infra.database.errors import DatabaseOperationError
from infra.database.model import Role
from infra.database.scopes import CoreSession, Running, enter, find, leave, running, used_wrongly, with_one_user
from infra.runtime.threads import Turns, continues, shielded

if TYPE_CHECKING:
    from infra.database._sync.database import Database


class SessionScope:
    """``with db.session() as s``. It joins the session that this task is in, if there is one.

    Args:
        database: Whose session.
        engine: The engine of its kind.
        role: Where it works.
        joins: Whether it may join.
        session_class: The host's own class of sessions; else that of the settings.
    """

    __slots__ = ("_class", "_database", "_engine", "_guest", "_joined", "_joins", "_role", "_running", "_session", "_token")

    def __init__(self, database: Database, engine: Engine, role: Role, joins: bool, session_class: type[Any] | None = None) -> None:
        self._database = database
        self._engine = engine
        self._role: Role = role
        self._joins = joins
        self._class = session_class
        self._joined: Running | None = None
        self._guest = False
        self._session: Session | None = None
        self._running: Running | None = None
        self._token: Token[Running | None] | None = None

    def __enter__(self) -> Session:
        database = self._database
        database.check()
        here = place()
        if self._joins and (found := find(database, here, continues)) is not None:
            self._join(found, here)
            return found.session
        session = self._session = new_session(database, self._engine, self._class)
        self._running = Running(database, session, self._role, here, running.get())
        self._token = enter(self._running)
        return session

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        session = self._session
        if session is None:
            return
        if self._joined is not None:
            try:
                if error is not None:
                    self._fail(session, error)
            finally:
                if self._guest:
                    self._joined.guest = None
            return
        if self._running is not None and self._token is not None:
            leave(self._running, self._token)
        if error is not None:
            # Also on cancellation: the connection must come back clean, or not at all.
            shielded(_end, session)
            return
        if session.in_transaction():
            try:
                session.commit()
            except PendingRollbackError as rolled_back:
                shielded(_end, session)
                raise self._database.engines.translator.transaction_failed(rolled_back.__cause__ or rolled_back) from rolled_back
            except BaseException:
                shielded(_end, session)
                raise
        # The commit has given the connection back: nothing here waits.
        core = core_session(session)
        core.over = True
        core.close()

    def _join(self, found: Running, here: object) -> None:  # noqa: ARG002 - only threads look at it
        database, session = self._database, found.session
        refusal = None
        if found.role == "reader" and self._role == "writer":
            refusal = "a writer cannot join a read-only session", "open the outer session as a writer, or this one with independent=True"
        elif self._class is not None and not isinstance(session, self._class):
            refusal = (
                f"a {self._class.__name__} cannot join a session of another class",
                "open the outer session with that `session_class` too, or this one with independent=True",
            )
        if refusal is not None:
            message, remedy = refusal
            raise DatabaseOperationError(message, resource=database.name, provider=database.provider, operation="session", remedy=remedy)
        if found.place is not here and found.guest is not here:
            if found.guest is not None:
                raise used_wrongly(session, "session", "another thread is using the session that this one would join")
            found.guest = here
            self._guest = True
        self._joined = found
        self._session = session

    def _fail(self, session: Session, error: BaseException) -> None:
        # Half of a joined unit must not be committed by an owner that swallows its error.
        core_session(session).turns.settled()
        if session.in_transaction() and session.is_active:
            connection = session.connection()
            self._database.engines.translator.fail(connection, error)


class AutocommitScope:
    """``with db.session(autocommit=True) as s``: each statement commits by itself. It never joins and is never joined.

    Args:
        database: Whose session.
        engine: An engine in autocommit mode.
        session_class: The host's own class of sessions; else that of the settings.
    """

    __slots__ = ("_class", "_database", "_engine", "_session")

    def __init__(self, database: Database, engine: Engine, session_class: type[Any] | None = None) -> None:
        self._database = database
        self._engine = engine
        self._class = session_class
        self._session: Session | None = None

    def __enter__(self) -> Session:
        self._database.check()
        session = self._session = new_session(self._database, self._engine, self._class)
        return session

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        session = self._session
        if session is None:
            return
        try:
            if error is None and not core_session(session)._is_clean():
                session.flush()
        finally:
            shielded(_end, session)


def _end(session: Session) -> None:
    """Give the connection back, once what another task or thread does on it has ended."""
    core = core_session(session)
    core.over = True
    core.turns.settled()
    session.close()


def new_session(database: Database, engine: Engine, session_class: type[Any] | None = None) -> Session:
    """A session on `engine` that nobody has begun."""
    info: dict[Any, Any] = {"connection_id": None, "database": database}
    chosen = session_class or database.session_class
    core = CoreSession if chosen is None else with_one_user(chosen)
    options: dict[str, Any] = {"expire_on_commit": database.settings.expire_on_commit, "info": info, "close_resets_only": True}
    session = core(engine, **options)
    session.turns = Turns()
    return session


def core_session(session: Session) -> Any:
    """The blocking session beneath."""
    return session
