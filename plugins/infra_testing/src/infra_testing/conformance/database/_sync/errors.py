# Generated from errors.py by tools/generate_sync.py: edit that file, then run `make sync`.
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
from infra.runtime.threads import Event, gather, wait_for
from infra_testing.conformance.base.processes import PATIENCE
from infra_testing.conformance.database._sync.opening import DatabaseCases
from infra_testing.conformance.database.harness import SLOW_STATEMENTS
from infra_testing.conformance.database.tables import Account, Owner, SuiteBase


class ErrorCases(DatabaseCases):
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
    def test_each_constraint_has_its_error(self, database: Any, model: Any, values: dict[str, Any], expected: type[DatabaseError]) -> None:
        with database.session() as session:
            session.add(Owner(id=1, name="taken"))
        with pytest.raises(expected) as orm:
            with database.session() as session:
                session.add(model(**values))
        with pytest.raises(expected) as core:
            database.execute(insert(model).values(**values))
        for caught in (orm.value, core.value):
            assert type(caught) is expected
            assert caught.__cause__ is not None
            assert caught.resource == database.name
            assert caught.provider == database.provider

    def test_a_wrong_statement_is_no_integrity_error(self, database: Any) -> None:
        for statement in ("SELEC 1", "SELECT 1 FROM suite_does_not_exist", "SELECT nothing FROM suite_owner"):
            with pytest.raises(StatementError):
                database.execute(text(statement))

    def test_a_slow_statement_ends(self, opened: Any, database: Any) -> None:
        assert database.supports(DatabaseFeature.STATEMENT_TIMEOUT)
        impatient = opened("main", statement_timeout=0.2)
        with pytest.raises(StatementTimeoutError):
            impatient.execute(text(SLOW_STATEMENTS[(database.info()).dialect]))
        for _ in range(20):  # a machine that stands still makes any statement slow
            try:
                one = (impatient.execute(text("SELECT 1"))).scalar()
            except StatementTimeoutError:
                continue
            assert one == 1
            return
        raise AssertionError("the connection does not recover")

    def test_a_lock_that_is_not_free_is_an_error(self, opened: Any, database: Any) -> None:
        database.execute(insert(Owner).values(id=1, name="one"))
        if not database.supports(DatabaseFeature.LOCK_TIMEOUT):
            assert not database.supports(DatabaseFeature.MULTIPLE_CONNECTIONS), "one connection has nobody to wait for"
            return
        impatient = opened("main", lock_timeout=0.1)
        with database.session() as session:
            session.execute(update(Owner).values(name="held"))
            with pytest.raises(LockTimeoutError):
                impatient.execute(update(Owner).values(name="wanted"))
        assert (impatient.execute(update(Owner).values(name="free"))).rowcount == 1

    def test_a_deadlock_is_mapped_and_the_unit_runs_again(self, opened: Any, database: Any) -> None:
        database.execute(insert(Account), [{"id": 1, "balance": 0, "title": ""}, {"id": 2, "balance": 0, "title": ""}])
        if not database.supports(DatabaseFeature.CONCURRENT_WRITERS):
            self.check_that_writers_take_turns(opened, database)
            return
        arrived = {1: Event(), 2: Event()}
        runs: list[int] = []
        errors: list[DatabaseError] = []

        def unit(first: int, second: int) -> None:
            def work(session: Any) -> None:
                runs.append(first)
                session.execute(update(Account).where(Account.id == first).values(balance=Account.balance + 1))
                arrived[first].set()
                wait_for(arrived[second], PATIENCE)
                try:
                    session.execute(update(Account).where(Account.id == second).values(balance=Account.balance + 1))
                except DatabaseError as error:
                    errors.append(error)
                    raise

            database.run(work, retry=Retry(attempts=5))

        def forwards() -> None:
            unit(1, 2)

        def backwards() -> None:
            unit(2, 1)

        assert gather(forwards, backwards) == [None, None]
        assert [type(error) for error in errors] == [DeadlockError] * len(errors)
        assert len(errors) >= 1
        assert len(runs) == 2 + len(errors)
        assert set((database.execute(select(Account.balance))).scalars()) == {2}

    def check_that_writers_take_turns(self, opened: Any, database: Any) -> None:
        """Without concurrent writers there is no deadlock: the second one waits at its start."""
        impatient = opened("main", lock_timeout=0.1, pool_timeout=0.1)
        if not database.supports(DatabaseFeature.MULTIPLE_CONNECTIONS):
            with impatient.session() as session:
                session.execute(text("SELECT 1"))
                with pytest.raises(PoolTimeoutError):
                    with impatient.session(independent=True) as other:
                        other.execute(text("SELECT 1"))
            return
        with database.session() as session:
            session.execute(update(Account).where(Account.id == 1).values(balance=1))
            with pytest.raises(LockTimeoutError):
                with impatient.session() as other:
                    other.execute(update(Account).where(Account.id == 2).values(balance=1))

    def test_bound_values_stay_out_of_public_errors(self, database: Any) -> None:
        canary = "canary-4711"
        database.execute(insert(Owner).values(id=1, name=canary))
        with pytest.raises(UniqueError) as caught:
            database.execute(insert(Owner).values(id=2, name=canary))
        assert canary not in str(caught.value.to_dict())

    def test_in_production_values_stay_out_of_all_text(self, database: Any) -> None:
        canary = "canary-4711"
        database.execute(insert(Owner).values(id=1, name=canary))
        context = replace(database.context, environment="production")
        production = type(database)(database.policy, database.settings, context, owned=False)
        try:
            with pytest.raises(UniqueError) as caught:
                production.execute(insert(Owner).values(id=2, name=canary))
            with pytest.raises(ConfigurationError):
                production.create_all(SuiteBase.metadata)
        finally:
            production.engine.dispose()
        assert canary not in str(caught.value)
        assert canary not in str(caught.value.to_dict(public=False))
