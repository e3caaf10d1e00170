"""Which sessions join, and that a session has one user at a time."""

from __future__ import annotations

# async-only: begin
import asyncio

# async-only: end
import contextvars
import threading
from collections.abc import Callable
from typing import Any, cast

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from infra.database import AsyncRepository, DatabaseOperationError, TransactionFailedError
from infra.errors import ConfigurationError
from infra.runtime.aio import Event, wait_for
from infra_testing.conformance.base.processes import PATIENCE
from infra_testing.conformance.database._async.opening import AsyncDatabaseCases
from infra_testing.conformance.database.harness import SHORT_WAITS
from infra_testing.conformance.database.tables import Owner


class HostSession(Session):
    """A host's own, with a method more."""

    def names(self) -> list[str]:
        """The names of all owners."""
        return list(self.scalars(select(Owner.name).order_by(Owner.name)))


# async-only: begin
class AsyncHostSession(AsyncSession):
    """A host's own over `HostSession`."""

    sync_session_class = HostSession

    async def names(self) -> list[str]:
        """The names of all owners."""
        return await self.run_sync(lambda session: HostSession.names(cast(HostSession, session)))


# async-only: end
HOST_SESSION = f"{__name__}:AsyncHostSession"


def elsewhere(function: Callable[[], Any]) -> Any:
    """Run it in a thread that has this one's context, as thread pools of web servers do."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(function())
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,))
    thread.start()
    thread.join()
    return found[0]


class AsyncSharingCases(AsyncDatabaseCases):
    """Sessions that others are in."""

    async def names(self, database: Any) -> list[str]:
        """The names of all owners, in order."""
        return list((await database.execute("SELECT name FROM suite_owner ORDER BY name")).scalars())

    # async-only: begin
    async def test_what_wait_for_runs_is_in_the_session_of_its_caller(self, database: Any) -> None:
        async def helper() -> Any:
            async with database.session() as session:
                session.add(Owner(id=1, name="of a helper"))
                return session

        async def caller() -> Any:
            return await asyncio.wait_for(helper(), PATIENCE)

        with pytest.raises(ZeroDivisionError):
            async with database.session() as mine:
                assert await asyncio.wait_for(caller(), PATIENCE) is mine
                assert await caller() is mine
                raise ZeroDivisionError
        assert await self.names(database) == []

    async def test_tasks_that_share_a_session_get_an_error_and_leave_nothing(self, database: Any) -> None:
        for start in (asyncio.gather, self.in_a_group):
            ran: list[Any] = []
            with pytest.raises((DatabaseOperationError, ExceptionGroup)) as caught:
                async with database.session() as session:
                    owners = AsyncRepository[Owner](session)

                    async def slow(session: Any = session, ran: list[Any] = ran) -> None:
                        dialect = session.get_bind().dialect.name
                        ran.append((await session.execute(text(SHORT_WAITS[dialect]))).all())

                    await start(slow(), owners.add(Owner(id=1, name="shared")), owners.count())
            error: Any = caught.value
            error = getattr(error, "exceptions", [error])[0]
            assert "session" in error.message
            assert error.remedy
            assert not error.retryable
            assert database.pool.in_use == 0
        await database.execute(insert(Owner).values(id=7, name="free"))
        assert await self.names(database) == ["free"]

    @staticmethod
    async def in_a_group(*work: Any) -> None:
        """As `asyncio.gather`, which leaves the others running."""
        async with asyncio.TaskGroup() as group:
            for one in work:
                group.create_task(one)

    async def test_a_cancelled_gather_gives_the_connection_back(self, database: Any) -> None:
        async def request() -> None:
            async with database.session() as session:
                await session.execute(insert(Owner).values(id=1, name="half"))
                owners = AsyncRepository[Owner](session)
                await asyncio.gather(owners.list(), asyncio.sleep(PATIENCE))

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(request(), 0.2)
        assert database.pool.in_use == 0
        assert await self.names(database) == []

    async def test_a_task_that_outlives_its_session_cannot_use_it(self, database: Any) -> None:
        entered, left = Event(), Event()

        async def late(session: Any) -> None:
            entered.set()
            await wait_for(left, PATIENCE)
            await session.execute(insert(Owner).values(id=1, name="late"))

        async with database.session() as session:
            task = asyncio.create_task(late(session))
            await wait_for(entered, PATIENCE)
        left.set()
        with pytest.raises(DatabaseOperationError, match="ended"):
            await task
        assert database.pool.in_use == 0
        assert await self.names(database) == []

    # async-only: end
    # sync-only: def test_another_thread_of_the_same_context_joins(self, database: Any) -> None:
    # sync-only:     def same(session: Any) -> Any:
    # sync-only:         return session
    # sync-only:
    # sync-only:     def handler() -> Any:
    # sync-only:         with database.session() as session:
    # sync-only:             session.add(Owner(id=1, name="of a handler"))
    # sync-only:             database.execute("INSERT INTO suite_owner (id, name) VALUES (2, 'by hand')")
    # sync-only:             return session
    # sync-only:
    # sync-only:     with pytest.raises(ZeroDivisionError):
    # sync-only:         with database.session() as mine:
    # sync-only:             assert elsewhere(handler) is mine
    # sync-only:             raise ZeroDivisionError
    # sync-only:     assert self.names(database) == []
    # sync-only:     with database.session() as mine:
    # sync-only:         assert elsewhere(handler) is mine
    # sync-only:         assert elsewhere(lambda: database.run(same)) is mine
    # sync-only:     assert self.names(database) == ["by hand", "of a handler"]
    # sync-only:
    # sync-only: def test_an_error_in_another_thread_fails_the_whole(self, database: Any) -> None:
    # sync-only:     def handler() -> None:
    # sync-only:         with database.session() as session:
    # sync-only:             session.add(Owner(id=1, name="half"))
    # sync-only:             raise ZeroDivisionError
    # sync-only:
    # sync-only:     with pytest.raises(TransactionFailedError):
    # sync-only:         with database.session():
    # sync-only:             assert isinstance(elsewhere(handler), ZeroDivisionError)
    # sync-only:     assert self.names(database) == []
    # sync-only:
    # sync-only: def test_two_threads_cannot_be_guests_at_once(self, database: Any) -> None:
    # sync-only:     def inside() -> Any:
    # sync-only:         with database.session() as session:
    # sync-only:             session.execute(select(Owner.id))
    # sync-only:             return elsewhere(second)
    # sync-only:
    # sync-only:     def second() -> None:
    # sync-only:         with database.session():
    # sync-only:             pass
    # sync-only:
    # sync-only:     with database.session():
    # sync-only:         error = elsewhere(inside)
    # sync-only:         assert isinstance(error, DatabaseOperationError)
    # sync-only:         assert error.remedy
    # sync-only:         assert elsewhere(second) is None
    # sync-only:
    # sync-only: def test_threads_that_share_a_session_get_an_error(self, database: Any) -> None:
    # sync-only:     with database.session() as session:
    # sync-only:         session.turns.take()
    # sync-only:         error = elsewhere(lambda: session.execute(select(Owner.id)))
    # sync-only:         session.turns.give()
    # sync-only:         assert isinstance(error, DatabaseOperationError)
    # sync-only:         assert error.remedy
    # sync-only:         assert elsewhere(lambda: session.execute(select(Owner.id)).all()) == []

    async def test_a_session_cannot_be_used_after_its_end(self, database: Any) -> None:
        async with database.session() as session:
            pass
        failed: Any = None
        with pytest.raises(ZeroDivisionError):
            async with database.session() as failed:
                raise ZeroDivisionError
        async with database.session(autocommit=True) as autocommit:
            pass
        for ended in (session, failed, autocommit):
            with pytest.raises(DatabaseOperationError, match="ended"):
                await ended.execute(select(Owner.id))
        assert database.pool.in_use == 0

    async def test_a_swallowed_error_of_a_helper_within_helpers_fails_the_whole(self, database: Any) -> None:
        async def inner() -> None:
            async with database.session() as session:
                session.add(Owner(id=2, name="of a helper"))
                raise ZeroDivisionError

        async def outer() -> None:
            async with database.session() as session:
                session.add(Owner(id=1, name="of another"))
                with pytest.raises(ZeroDivisionError):
                    await inner()

        with pytest.raises(TransactionFailedError):
            async with database.session():
                await outer()
        assert await self.names(database) == []
        assert database.pool.in_use == 0

    async def test_what_a_failed_helper_added_goes_with_its_savepoint(self, database: Any) -> None:
        async def helper() -> None:
            async with database.session() as session:
                session.add(Owner(id=2, name="of a helper"))
                raise ZeroDivisionError

        async with database.session() as session:
            session.add(Owner(id=1, name="kept"))
            with pytest.raises(ZeroDivisionError):
                async with session.begin_nested():
                    await helper()
        assert await self.names(database) == ["kept"]

    @pytest.mark.parametrize("kind", ["argument", "setting"])
    async def test_a_host_gives_its_class_of_sessions(self, opened: Any, database: Any, kind: str) -> None:
        if kind == "setting":
            await database.execute(insert(Owner).values(id=1, name="one"))
            chosen = await opened("main", session_class=AsyncHostSession)
            if not chosen.supports("shared"):
                await chosen.create_all(Owner.metadata)
                await chosen.execute(insert(Owner).values(id=1, name="one"))
            options: dict[str, Any] = {}
        else:
            chosen, options = database, {"session_class": AsyncHostSession}
            await database.execute(insert(Owner).values(id=1, name="one"))
        for more in ({}, {"autocommit": True}, {"role": "reader"}):
            async with chosen.session(**options, **more) as session:
                assert isinstance(session, AsyncHostSession)
                assert await session.names() == ["one"]
        async with chosen.session(**options) as outer, chosen.session(**options) as inner:
            assert outer is inner

    async def test_a_session_of_another_class_cannot_be_joined(self, database: Any) -> None:
        async with database.session():
            with pytest.raises(DatabaseOperationError, match="class"):
                async with database.session(session_class=AsyncHostSession):
                    pass

    @pytest.mark.parametrize("wrong", ["nowhere:Session", "infra.database:Nothing", "nothing", "builtins:dict"])
    async def test_a_class_that_is_none_of_sessions_is_told_at_open(self, opened: Any, wrong: str) -> None:
        with pytest.raises(ConfigurationError, match="session_class"):
            await opened("main", session_class=wrong)
