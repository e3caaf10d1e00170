"""Cases 8 to 11: servers and processes that die, and callers that go away."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytest
from sqlalchemy import insert, select, text

from infra.database import CommitUnknownError, DatabaseConnectionError, DatabaseFeature, Retry
from infra.errors import DatabaseError
from infra.runtime.aio import Event, wait_for
from infra.runtime.deadline import Deadline
from infra_testing.conformance.base.processes import PATIENCE
from infra_testing.conformance.database._async.opening import AsyncDatabaseCases
from infra_testing.conformance.database.harness import SLOW_STATEMENTS
from infra_testing.conformance.database.tables import Owner
from infra_testing.conformance.database.worker import start_worker
from infra_testing.harness import Place


class AsyncFaultCases(AsyncDatabaseCases):
    """Nothing acknowledged is lost, nothing is half done, and the next use works."""

    async def count(self, database: Any) -> int:
        """How many owners there are."""
        return len((await database.execute(select(Owner.id))).all())

    async def test_a_server_killed_while_idle_is_not_noticed_by_the_next_use(self, database: Any) -> None:
        await database.ping()
        control = self.server_control(database)
        if control is not None:
            control.kill()
            assert (await database.health()).status == "down"
            control.start()
        await database.execute(insert(Owner).values(id=1, name="after"))
        assert await self.count(database) == 1

    async def test_a_server_killed_in_a_transaction_leaves_no_half(self, database: Any) -> None:
        control = self.server_control(database)
        if control is None:
            return
        with pytest.raises(DatabaseConnectionError):
            async with database.session() as session:
                await session.execute(insert(Owner).values(id=1, name="half"))
                control.kill()
                await session.execute(insert(Owner).values(id=2, name="other half"))
        control.start()
        assert await self.count(database) == 0
        assert database.pool.in_use == 0

    async def test_a_connection_cut_during_commit_is_an_unknown_commit(self, database: Any) -> None:
        control = self.server_control(database)
        if control is None:
            return
        with pytest.raises(CommitUnknownError) as caught, control.cut_at_commit():
            async with database.session() as session:
                session.add(Owner(id=1, name="perhaps"))
        assert not caught.value.retryable
        assert await self.count(database) in (0, 1)

    async def test_a_witness_finds_out_what_became_of_a_commit(self, database: Any) -> None:
        control = self.server_control(database)
        runs: list[int] = []

        async def work(session: Any) -> str:
            runs.append(1)
            session.add(Owner(id=len(runs), name=f"run {len(runs)}"))
            await session.flush()
            if control is not None and len(runs) == 1:
                faults.enter_context(control.cut_at_commit())
            return f"run {len(runs)}"

        with ExitStack() as faults:
            assert await database.run(work, witness=True, retry=Retry(attempts=3)) == f"run {len(runs)}"
        assert await self.count(database) == 1

    async def test_a_process_killed_in_a_transaction_leaves_no_half(self, place: Place, database: Any) -> None:
        if not database.supports(DatabaseFeature.SHARED):
            assert not database.supports(DatabaseFeature.SERVER)
            return
        with start_worker(self.harness, place) as worker:
            assert worker.receive() == "written"
            worker.kill()
        assert await self.count(database) == 0
        await database.execute(insert(Owner).values(id=1, name="after"))

    async def test_an_error_of_begin_gives_the_connection_back(self, opened: Any, database: Any) -> None:
        impatient = await opened("main", lock_timeout=0.05)
        if not database.supports(DatabaseFeature.CONCURRENT_WRITERS) and database.supports(DatabaseFeature.LOCK_TIMEOUT):
            async with database.session() as session:
                await session.execute(insert(Owner).values(id=1, name="holds the lock"))
                for _ in range(3):
                    with pytest.raises(DatabaseError):
                        async with impatient.session() as other:
                            await other.execute(text("SELECT 1"))
        assert impatient.pool.in_use == 0
        assert (await impatient.execute(text("SELECT 1"))).scalar() == 1

    # async-only: begin
    async def test_cancelling_a_statement_stops_it_and_frees_the_connection(self, database: Any) -> None:
        import asyncio

        assert database.supports(DatabaseFeature.KILL_QUERY)
        slow = text(SLOW_STATEMENTS[(await database.info()).dialect])
        control = self.server_control(database)
        for _ in range(3):
            begun = Event()

            async def work(begun: Event = begun) -> None:
                async with database.session() as session:
                    await session.execute(insert(Owner).values(id=1, name="never"))
                    begun.set()
                    await session.execute(slow)

            task = asyncio.create_task(work())
            assert await wait_for(begun, PATIENCE)
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(task, PATIENCE)
            assert database.pool.in_use == 0
        assert await self.count(database) == 0
        deadline = Deadline(PATIENCE)  # what ends a statement on the server may run beside this task
        while control is not None and control.running() and not deadline.passed:  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.02)
        assert control is None or control.running() == 0

    async def test_cancelling_while_waiting_for_a_connection_takes_none(self, opened: Any, database: Any) -> None:
        import asyncio

        small = await opened("main", pool_size=1, max_overflow=0, pool_timeout=PATIENCE)

        async def work() -> None:
            async with small.session() as session:
                await session.execute(text("SELECT 1"))

        async with small.session() as session:
            await session.execute(text("SELECT 1"))
            waiting = [asyncio.create_task(work()) for _ in range(3)]
            await asyncio.sleep(0.02)
            waiting[0].cancel()
            await asyncio.gather(waiting[0], return_exceptions=True)
        assert await asyncio.gather(*waiting[1:]) == [None, None]
        assert small.pool.in_use == 0

    async def test_cancelling_anywhere_in_a_transaction_leaves_all_or_nothing(self, database: Any) -> None:
        import asyncio

        async def work(number: int) -> None:
            async with database.session() as session:
                await session.execute(insert(Owner).values(id=2 * number, name=f"first {number}"))
                await session.execute(insert(Owner).values(id=2 * number + 1, name=f"second {number}"))
                (await session.execute(select(Owner))).all()

        acknowledged: set[int] = set()
        kept: list[Any] = []  # with their tracebacks, which keep cursors alive
        for number in range(40):
            task = asyncio.create_task(work(number))
            for _ in range(number):
                await asyncio.sleep(0)
                if number % 3 == 0:
                    await asyncio.sleep(0.0002)
            task.cancel()
            result = (await asyncio.gather(task, return_exceptions=True))[0]
            kept.append(result)
            if result is None:
                acknowledged.add(number)
            else:
                assert isinstance(result, asyncio.CancelledError)
            assert database.pool.in_use == 0
        found = {key for (key,) in await database.execute(select(Owner.id))}
        for number in range(40):
            assert (2 * number in found) == (2 * number + 1 in found)
            assert number not in acknowledged or 2 * number in found

    # async-only: end
