"""The scope of a session: who opens it commits or rolls back; who joins does neither."""

from __future__ import annotations

# async-only: begin
from asyncio import current_task as place

# async-only: end
# sync-only: from threading import current_thread as place
from contextvars import Token
from types import TracebackType
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import PendingRollbackError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from infra.database.errors import DatabaseOperationError
from infra.database.model import Role
from infra.database.scopes import CoreSession, Running, enter, find, leave, running
from infra.runtime.aio import shielded

if TYPE_CHECKING:
    from infra.database._async.database import AsyncDatabase


class AsyncSessionScope:
    """``async with db.session() as s``. It joins the session that this task is in, if there is one.

    Args:
        database: Whose session.
        engine: The engine of its kind.
        role: Where it works.
        joins: Whether it may join.
    """

    __slots__ = ("_database", "_engine", "_joined", "_joins", "_role", "_running", "_session", "_token")

    def __init__(self, database: AsyncDatabase, engine: AsyncEngine, role: Role, joins: bool) -> None:
        self._database = database
        self._engine = engine
        self._role: Role = role
        self._joins = joins
        self._joined = False
        self._session: AsyncSession | None = None
        self._running: Running | None = None
        self._token: Token[Running | None] | None = None

    async def __aenter__(self) -> AsyncSession:
        database = self._database
        database.check()
        here = place()
        if self._joins and (found := find(database, here)) is not None:
            if found.role == "reader" and self._role == "writer":
                raise DatabaseOperationError(
                    "a writer cannot join a read-only session",
                    resource=database.name,
                    provider=database.provider,
                    operation="session",
                    remedy="open the outer session as a writer, or this one with independent=True",
                )
            self._joined = True
            self._session = found.session
            return found.session
        session = self._session = new_session(database, self._engine)
        self._running = Running(database, session, self._role, here, running.get())
        self._token = enter(self._running)
        return session

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        session = self._session
        if session is None:
            return
        if self._joined:
            if error is not None:
                await self._fail(session, error)
            return
        if self._running is not None and self._token is not None:
            leave(self._running, self._token)
        if error is not None:
            # Also on cancellation: the connection must come back clean, or not at all.
            await shielded(session.close)
            return
        if session.in_transaction():
            try:
                await session.commit()
            except PendingRollbackError as rolled_back:
                await shielded(session.close)
                raise self._database.engines.translator.transaction_failed(rolled_back.__cause__ or rolled_back) from rolled_back
            except BaseException:
                await shielded(session.close)
                raise
        # The commit has given the connection back: nothing here waits.
        core_session(session).close()

    async def _fail(self, session: AsyncSession, error: BaseException) -> None:
        # Half of a joined unit must not be committed by an owner that swallows its error.
        if session.in_transaction() and session.is_active:
            connection = await session.connection()
            # async-only: begin
            self._database.engines.translator.fail(connection.sync_connection, error)  # type: ignore[arg-type]
            # async-only: end
            # sync-only: self._database.engines.translator.fail(connection, error)


class AsyncAutocommitScope:
    """``async with db.session(autocommit=True) as s``: each statement commits by itself. It never joins and is never joined.

    Args:
        database: Whose session.
        engine: An engine in autocommit mode.
    """

    __slots__ = ("_database", "_engine", "_session")

    def __init__(self, database: AsyncDatabase, engine: AsyncEngine) -> None:
        self._database = database
        self._engine = engine
        self._session: AsyncSession | None = None

    async def __aenter__(self) -> AsyncSession:
        self._database.check()
        session = self._session = new_session(self._database, self._engine)
        return session

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        session = self._session
        if session is None:
            return
        try:
            if error is None and not core_session(session)._is_clean():
                await session.flush()
        finally:
            await shielded(session.close)


def new_session(database: AsyncDatabase, engine: AsyncEngine) -> AsyncSession:
    """A session on `engine` that nobody has begun."""
    info: dict[Any, Any] = {"connection_id": None, "database": database}
    # async-only: begin
    return AsyncSession(
        engine, sync_session_class=CoreSession, expire_on_commit=database.settings.expire_on_commit, info=info, close_resets_only=True
    )
    # async-only: end
    # sync-only: return CoreSession(engine, expire_on_commit=database.settings.expire_on_commit, info=info, close_resets_only=True)


def core_session(session: AsyncSession) -> Any:
    """The blocking session beneath."""
    # async-only: begin
    return session.sync_session
    # async-only: end
    # sync-only: return session
