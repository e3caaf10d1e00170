"""Cases 1 to 3, 7, 12 to 14: sessions, units, the pool, and who may use them."""

from __future__ import annotations

import os
import warnings
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import sqlalchemy.exc
from sqlalchemy import Table, insert, select, text

from infra.database import (
    DatabaseFeature,
    DatabaseOperationError,
    DataError,
    PoolTimeoutError,
    ReadOnlyError,
    Retry,
    SerializationError,
    TransactionFailedError,
    UniqueError,
)
from infra.database.units import Unit
from infra.errors import ClosedError, InfraError, UnsupportedError
from infra.runtime.aio import Event, gather, wait_for
from infra_testing.conformance.base.processes import PATIENCE
from infra_testing.conformance.database._async.opening import AsyncDatabaseCases
from infra_testing.conformance.database.tables import Account, Owner, SuiteBase


class Stopped(BaseException):
    """Not an `Exception`: like KeyboardInterrupt."""


class AsyncSessionCases(AsyncDatabaseCases):
    """Transactions begin and end as they should."""

    async def names(self, database: Any) -> list[str]:
        """The names of all owners, in order."""
        return list((await database.execute("SELECT name FROM suite_owner ORDER BY name")).scalars())

    async def test_it_connects_answers_and_says_what_it_is(self, database: Any) -> None:
        assert await database.ping() > 0
        info = await database.info()
        assert info.dialect
        assert info.server_version
        assert info.features == database.features
        stats = await database.stats()
        assert stats.pool.in_use == 0
        assert stats.pool.open >= 1
        await database.optimize()
        await database.optimize(["suite_owner"])

    async def test_success_commits(self, database: Any) -> None:
        async with database.session() as session:
            session.add(Owner(id=1, name="kept"))
        assert await self.names(database) == ["kept"]

    async def test_the_session_is_sqlalchemys_and_names_its_connection(self, database: Any) -> None:
        async with database.session() as session:
            await session.execute(text("SELECT 1"))
            assert isinstance(session.info["connection_id"], str)

    async def test_an_exception_rolls_back(self, database: Any) -> None:
        with pytest.raises(ZeroDivisionError):
            async with database.session() as session:
                session.add(Owner(id=1, name="lost"))
                await session.flush()
                raise ZeroDivisionError
        assert await self.names(database) == []

    async def test_an_exception_that_is_none_of_exception_rolls_back(self, database: Any) -> None:
        with pytest.raises(Stopped):
            async with database.session() as session:
                session.add(Owner(id=1, name="lost"))
                await session.flush()
                raise Stopped
        assert await self.names(database) == []
        assert database.pool.in_use == 0

    async def test_a_savepoint_rolls_back_alone(self, database: Any) -> None:
        async with database.session() as session:
            session.add(Owner(id=1, name="first"))
            await session.flush()
            with pytest.raises(UniqueError):
                async with session.begin_nested():
                    await session.execute(insert(Owner).values(id=2, name="first"))
            async with session.begin_nested():
                session.add(Owner(id=3, name="third"))
        assert await self.names(database) == ["first", "third"]

    async def test_a_swallowed_error_outside_a_savepoint_fails_the_transaction(self, database: Any) -> None:
        with pytest.raises(TransactionFailedError) as caught:
            async with database.session() as session:
                await session.execute(insert(Owner).values(id=1, name="one"))
                with pytest.raises(UniqueError):
                    await session.execute(insert(Owner).values(id=2, name="one"))
        assert caught.value.remedy
        assert await self.names(database) == []
        assert database.pool.in_use == 0

    async def test_a_swallowed_flush_error_fails_the_transaction(self, database: Any) -> None:
        with pytest.raises(TransactionFailedError):
            async with database.session() as session:
                await session.execute(insert(Owner).values(id=1, name="one"))
                session.add(Owner(id=2, name="one"))
                with pytest.raises(UniqueError):
                    await session.flush()
        assert await self.names(database) == []

    async def test_a_swallowed_error_within_a_savepoint_fails_it_all(self, database: Any) -> None:
        with pytest.raises((TransactionFailedError, DatabaseOperationError)):
            async with database.session() as session:
                await session.execute(insert(Owner).values(id=1, name="one"))
                async with session.begin_nested():
                    with pytest.raises(UniqueError):
                        await session.execute(insert(Owner).values(id=2, name="one"))
        assert await self.names(database) == []

    async def test_after_a_rollback_by_hand_the_session_works_on(self, database: Any) -> None:
        async with database.session() as session:
            await session.execute(insert(Owner).values(id=1, name="one"))
            with pytest.raises(UniqueError):
                await session.execute(insert(Owner).values(id=2, name="one"))
            await session.rollback()
            session.add(Owner(id=3, name="three"))
        assert await self.names(database) == ["three"]

    async def test_joining_never_commits(self, database: Any) -> None:
        with pytest.raises(ZeroDivisionError):
            async with database.session() as outer:
                async with database.session() as inner:
                    assert inner is outer
                    inner.add(Owner(id=1, name="inner"))
                assert outer.in_transaction()
                raise ZeroDivisionError
        assert await self.names(database) == []

    async def test_an_error_that_leaves_a_joined_session_fails_the_whole(self, database: Any) -> None:
        with pytest.raises(TransactionFailedError):
            async with database.session() as outer:
                outer.add(Owner(id=1, name="outer"))
                await outer.flush()
                with pytest.raises(ZeroDivisionError):
                    async with database.session() as inner:
                        inner.add(Owner(id=2, name="half"))
                        raise ZeroDivisionError
        assert await self.names(database) == []

    async def test_other_tasks_do_not_join(self, database: Any) -> None:
        found: list[Any] = []

        async def other() -> None:
            async with database.session() as session:
                found.append(session)

        async with database.session() as mine:
            assert await gather(other, other) == [None, None]
        assert mine not in found
        assert len(found) == 2

    async def test_an_independent_session_has_its_own_transaction(self, opened: Any, database: Any) -> None:
        if not database.supports(DatabaseFeature.MULTIPLE_CONNECTIONS):
            impatient = await opened("impatient", pool_timeout=0.05)
            async with impatient.session() as outer:
                await outer.execute(text("SELECT 1"))
                with pytest.raises(PoolTimeoutError):
                    async with impatient.session(independent=True) as inner:
                        await inner.execute(text("SELECT 1"))
            return
        async with database.session() as outer:
            assert (await outer.execute(text("SELECT 1"))).scalar() == 1
            await outer.rollback()
            async with database.session(independent=True) as inner:
                assert inner is not outer
                inner.add(Owner(id=1, name="inner"))
            assert (await outer.execute(select(Owner.name))).scalar() == "inner"

    async def test_a_reader_cannot_write_and_a_writer_cannot_join_it(self, database: Any) -> None:
        assert database.supports(DatabaseFeature.READ_ONLY_SESSIONS)
        with pytest.raises(ReadOnlyError):
            async with database.session(role="reader") as session:
                await session.execute(insert(Owner).values(id=1, name="no"))
        async with database.session(role="reader") as session:
            assert (await session.execute(select(Owner.id))).all() == []
            with pytest.raises(DatabaseOperationError, match="read-only"):
                async with database.session():
                    pass
        async with database.session() as session:
            session.add(Owner(id=2, name="a writer again"))
        assert await self.names(database) == ["a writer again"]

    async def test_autocommit_keeps_each_statement(self, database: Any) -> None:
        with pytest.raises(ZeroDivisionError):
            async with database.session(autocommit=True) as session:
                await session.execute(insert(Owner).values(id=1, name="kept"))
                with pytest.raises(UniqueError):
                    await session.execute(insert(Owner).values(id=1, name="again"))
                assert (await session.get(Owner, 1)).name == "kept"
                raise ZeroDivisionError
        async with database.session(autocommit=True) as session:
            session.add(Owner(id=2, name="flushed"))
        with pytest.raises(ZeroDivisionError):
            async with database.session() as session:
                await session.execute(insert(Owner).values(id=3, name="not autocommit any more"))
                raise ZeroDivisionError
        assert await self.names(database) == ["flushed", "kept"]

    async def test_execute_binds_parameters_and_joins(self, database: Any) -> None:
        name = "x'); DROP TABLE suite_owner; --"
        done = await database.execute("INSERT INTO suite_owner (id, name) VALUES (:id, :name)", {"id": 1, "name": name})
        assert done.rowcount == 1
        rows = [{"id": 2, "name": "b"}, {"id": 1, "name": "twice"}]
        with pytest.raises(UniqueError):
            await database.execute("INSERT INTO suite_owner (id, name) VALUES (:id, :name)", rows)
        assert (await database.execute(select(Owner.name))).scalars().all() == [name]
        with pytest.raises(ZeroDivisionError):
            async with database.session():
                await database.execute("DELETE FROM suite_owner")
                raise ZeroDivisionError
        assert await self.names(database) == [name]

    async def test_run_repeats_a_unit_that_is_its_own(self, database: Any) -> None:
        runs: list[int] = []

        async def work(session: Any) -> str:
            runs.append(1)
            session.add(Owner(id=len(runs), name=f"run {len(runs)}"))
            await session.flush()
            if len(runs) < 3:
                raise SerializationError("as if another one had been faster")
            return "done"

        assert await database.run(work, retry=Retry(attempts=3, first=0.001)) == "done"
        assert await self.names(database) == ["run 3"]

    async def test_run_gives_up_after_its_attempts(self, database: Any) -> None:
        runs: list[int] = []

        async def work(session: Any) -> None:
            runs.append(1)
            raise SerializationError("as if another one had been faster")

        with pytest.raises(SerializationError):
            await database.run(work, retry=Retry(attempts=2, first=0.001))
        assert len(runs) == 2

    async def test_run_within_a_session_joins_and_never_repeats(self, database: Any) -> None:
        runs: list[Any] = []

        async def work(session: Any) -> None:
            runs.append(session)
            raise SerializationError("as if another one had been faster")

        joined: list[Any] = []
        with pytest.raises(SerializationError):
            async with database.session() as session:
                joined.append(session)
                await database.run(work, retry=Retry(attempts=5, first=0.001))
        assert runs == joined

    async def test_run_refuses_ddl(self, database: Any) -> None:
        async def work(session: Any) -> None:
            await session.execute(text("CREATE TABLE suite_other (id INTEGER)"))

        with pytest.raises(UnsupportedError):
            await database.run(work)

    async def test_run_with_a_witness_leaves_its_row(self, database: Any) -> None:
        async def work(session: Any) -> int:
            session.add(Owner(id=1, name="seen"))
            return 7

        assert await database.run(work, witness=True) == 7
        assert len((await database.execute(select(Unit.c.id))).all()) == 1
        assert await database.forget_units(timedelta(hours=1)) == 0
        assert await database.forget_units(timedelta(seconds=-1)) == 1

    async def test_concurrent_units_lose_no_update(self, database: Any) -> None:
        await database.execute(insert(Account), [{"id": 1, "balance": 0, "title": ""}])

        async def work(session: Any) -> None:
            account = (await session.execute(select(Account).with_for_update())).scalar_one()
            account.balance += 1

        async def client() -> None:
            for _ in range(5):
                await database.run(work, retry=Retry(attempts=10))

        assert await gather(*[client] * 4) == [None] * 4
        assert (await database.execute(select(Account.balance))).scalar() == 20

    async def test_an_exhausted_pool_is_an_error_then_recovers(self, opened: Any, database: Any) -> None:
        small = await opened("main", pool_size=1, max_overflow=0, pool_timeout=0.1)
        async with small.session() as session:
            await session.execute(text("SELECT 1"))
            with pytest.raises(PoolTimeoutError) as caught:
                async with small.session(independent=True) as other:
                    await other.execute(text("SELECT 1"))
            assert caught.value.retryable
            health = await small.health()
            assert (health.status, (health.message or "").split(":")[0]) == ("degraded", "saturated")
        assert (await small.execute(text("SELECT 1"))).scalar() == 1
        assert (await small.health()).status == "up"

    async def test_more_clients_than_connections_all_succeed(self, opened: Any, database: Any) -> None:
        small = await opened("main", pool_size=2, max_overflow=1, pool_timeout=PATIENCE)

        async def client() -> int:
            async with small.session() as session:
                return (await session.execute(text("SELECT 1"))).scalar()

        assert await gather(*[client] * 12) == [1] * 12
        assert small.pool.in_use == 0

    async def test_named_databases_are_independent(self, opened: Any, database: Any) -> None:
        other = await opened("other")
        assert other.engine is not database.engine
        async with database.session() as one, other.session() as two:
            assert one is not two
            async with database.session() as inner:
                assert inner is one

    async def test_use_in_a_forked_child_raises(self, database: Any) -> None:
        await database.ping()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that there are threads is the case at hand
            child = os.fork()
        if child == 0:
            status = 1
            try:
                database.session()
                database.engine  # noqa: B018 - it raises
            except ClosedError:
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        await database.ping()

    # async-only: begin
    async def test_use_from_another_loop_raises(self, database: Any) -> None:
        import asyncio

        async def use() -> None:
            async with database.session():
                pass

        with pytest.raises(ClosedError):
            await asyncio.to_thread(asyncio.run, use())

    # async-only: end
    async def test_datetimes_are_aware_and_in_utc(self, database: Any) -> None:
        moment = datetime(2024, 2, 29, 23, 59, 59, 123456, timezone(timedelta(hours=5, minutes=30)))
        async with database.session() as session:
            session.add(Account(id=1, opened_at=moment))
        found = (await database.execute(select(Account.opened_at))).scalar()
        assert found == moment
        assert found.tzinfo is UTC
        with pytest.raises((InfraError, DataError, sqlalchemy.exc.StatementError), match="naive"):
            await database.execute(insert(Account).values(id=2, opened_at=datetime(2024, 1, 1), title="", balance=0))

    async def test_the_schema_is_compared(self, database: Any) -> None:
        assert (await database.validate_schema(SuiteBase.metadata)).is_valid
        wanted = type(SuiteBase.metadata)()
        Table("suite_absent", wanted)
        assert (await database.validate_schema(wanted)).missing_tables == ("suite_absent",)

    async def test_a_named_lock_has_one_holder(self, database: Any) -> None:
        assert database.supports(DatabaseFeature.LOCKS)
        inside: list[int] = []
        most: list[int] = []

        async def worker() -> None:
            async with database.lock("suite", timeout=PATIENCE):
                inside.append(1)
                most.append(len(inside))
                await database.ping()
                inside.pop()

        assert await gather(*[worker] * 3) == [None] * 3
        assert max(most) == 1

    async def test_a_held_lock_is_an_error_within_its_timeout(self, database: Any) -> None:
        held, release = Event(), Event()

        async def holder() -> None:
            async with database.lock("suite"):
                held.set()
                await wait_for(release, PATIENCE)

        async def rival() -> None:
            await wait_for(held, PATIENCE)
            try:
                with pytest.raises(InfraError):
                    async with database.lock("suite", timeout=0.05):
                        pass
            finally:
                release.set()

        assert await gather(holder, rival) == [None, None]
