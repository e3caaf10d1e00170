"""Cases 4 to 6 and 22: each failure is its own error, and no error says what it must not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import insert, select, text, update

from infra.database import (
    CheckError,
    DatabaseFeature,
    DeadlockError,
    ForeignKeyError,
    LockTimeoutError,
    NotNullError,
    PoolTimeoutError,
    Retry,
    StatementError,
    StatementTimeoutError,
    UniqueError,
)
from infra.errors import ConfigurationError, DatabaseError
from infra.runtime.aio import Event, gather, wait_for
from infra_testing.conformance.base.processes import PATIENCE
from infra_testing.conformance.database._async.opening import AsyncDatabaseCases
from infra_testing.conformance.database.harness import SLOW_STATEMENTS
from infra_testing.conformance.database.tables import Account, Owner, SuiteBase


class AsyncErrorCases(AsyncDatabaseCases):
    """The tree of errors."""

    @pytest.mark.parametrize(
        ("model", "values", "expected"),
        [
            (Owner, {"id": 2, "name": "taken"}, UniqueError),
            (Owner, {"id": 1, "name": "same key"}, UniqueError),
            (Account, {"id": 1, "owner_id": 99}, ForeignKeyError),
            (Owner, {"id": 3, "name": None}, NotNullError),
            (Account, {"id": 2, "balance": -1}, CheckError),
        ],
        ids=["unique", "primary key", "foreign key", "not null", "check"],
    )
    async def test_each_constraint_has_its_error(
        self, database: Any, model: Any, values: dict[str, Any], expected: type[DatabaseError]
    ) -> None:
        async with database.session() as session:
            session.add(Owner(id=1, name="taken"))
        with pytest.raises(expected) as orm:
            async with database.session() as session:
                session.add(model(**values))
        with pytest.raises(expected) as core:
            await database.execute(insert(model).values(**values))
        for caught in (orm.value, core.value):
            assert type(caught) is expected
            assert caught.__cause__ is not None
            assert caught.resource == database.name
            assert caught.provider == database.provider

    async def test_a_wrong_statement_is_no_integrity_error(self, database: Any) -> None:
        for statement in ("SELEC 1", "SELECT 1 FROM suite_does_not_exist", "SELECT nothing FROM suite_owner"):
            with pytest.raises(StatementError):
                await database.execute(text(statement))

    async def test_a_slow_statement_ends(self, opened: Any, database: Any) -> None:
        assert database.supports(DatabaseFeature.STATEMENT_TIMEOUT)
        impatient = await opened("main", statement_timeout=0.2)
        with pytest.raises(StatementTimeoutError):
            await impatient.execute(text(SLOW_STATEMENTS[(await database.info()).dialect]))
        for _ in range(20):  # a machine that stands still makes any statement slow
            try:
                one = (await impatient.execute(text("SELECT 1"))).scalar()
            except StatementTimeoutError:
                continue
            assert one == 1
            return
        raise AssertionError("the connection does not recover")

    async def test_a_lock_that_is_not_free_is_an_error(self, opened: Any, database: Any) -> None:
        await database.execute(insert(Owner).values(id=1, name="one"))
        if not database.supports(DatabaseFeature.LOCK_TIMEOUT):
            assert not database.supports(DatabaseFeature.MULTIPLE_CONNECTIONS), "one connection has nobody to wait for"
            return
        impatient = await opened("main", lock_timeout=0.1)
        async with database.session() as session:
            await session.execute(update(Owner).values(name="held"))
            with pytest.raises(LockTimeoutError):
                await impatient.execute(update(Owner).values(name="wanted"))
        assert (await impatient.execute(update(Owner).values(name="free"))).rowcount == 1

    async def test_a_deadlock_is_mapped_and_the_unit_runs_again(self, opened: Any, database: Any) -> None:
        await database.execute(insert(Account), [{"id": 1, "balance": 0, "title": ""}, {"id": 2, "balance": 0, "title": ""}])
        if not database.supports(DatabaseFeature.CONCURRENT_WRITERS):
            await self.check_that_writers_take_turns(opened, database)
            return
        arrived = {1: Event(), 2: Event()}
        runs: list[int] = []
        errors: list[DatabaseError] = []

        async def unit(first: int, second: int) -> None:
            async def work(session: Any) -> None:
                runs.append(first)
                await session.execute(update(Account).where(Account.id == first).values(balance=Account.balance + 1))
                arrived[first].set()
                await wait_for(arrived[second], PATIENCE)
                try:
                    await session.execute(update(Account).where(Account.id == second).values(balance=Account.balance + 1))
                except DatabaseError as error:
                    errors.append(error)
                    raise

            await database.run(work, retry=Retry(attempts=5))

        async def forwards() -> None:
            await unit(1, 2)

        async def backwards() -> None:
            await unit(2, 1)

        assert await gather(forwards, backwards) == [None, None]
        assert [type(error) for error in errors] == [DeadlockError] * len(errors)
        assert len(errors) >= 1
        assert len(runs) == 2 + len(errors)
        assert set((await database.execute(select(Account.balance))).scalars()) == {2}

    async def check_that_writers_take_turns(self, opened: Any, database: Any) -> None:
        """Without concurrent writers there is no deadlock: the second one waits at its start."""
        impatient = await opened("main", lock_timeout=0.1, pool_timeout=0.1)
        if not database.supports(DatabaseFeature.MULTIPLE_CONNECTIONS):
            async with impatient.session() as session:
                await session.execute(text("SELECT 1"))
                with pytest.raises(PoolTimeoutError):
                    async with impatient.session(independent=True) as other:
                        await other.execute(text("SELECT 1"))
            return
        async with database.session() as session:
            await session.execute(update(Account).where(Account.id == 1).values(balance=1))
            with pytest.raises(LockTimeoutError):
                async with impatient.session() as other:
                    await other.execute(update(Account).where(Account.id == 2).values(balance=1))

    async def test_bound_values_stay_out_of_public_errors(self, database: Any) -> None:
        canary = "canary-4711"
        await database.execute(insert(Owner).values(id=1, name=canary))
        with pytest.raises(UniqueError) as caught:
            await database.execute(insert(Owner).values(id=2, name=canary))
        assert canary not in str(caught.value.to_dict())

    async def test_in_production_values_stay_out_of_all_text(self, database: Any) -> None:
        canary = "canary-4711"
        await database.execute(insert(Owner).values(id=1, name=canary))
        context = replace(database.context, environment="production")
        production = type(database)(database.policy, database.settings, context, owned=False)
        try:
            with pytest.raises(UniqueError) as caught:
                await production.execute(insert(Owner).values(id=2, name=canary))
            with pytest.raises(ConfigurationError):
                await production.create_all(SuiteBase.metadata)
        finally:
            await production.engine.dispose()
        assert canary not in str(caught.value)
        assert canary not in str(caught.value.to_dict(public=False))
