# Generated from sessions.py by tools/generate_sync.py: edit that file, then run `make sync`.
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
from infra.runtime.threads import Event, gather, wait_for
from infra_testing.conformance.base.processes import PATIENCE
from infra_testing.conformance.database._sync.opening import DatabaseCases
from infra_testing.conformance.database.tables import Account, Owner, SuiteBase


class Stopped(BaseException):
    """Not an `Exception`: like KeyboardInterrupt."""


class SessionCases(DatabaseCases):
    """Transactions begin and end as they should."""

    def names(self, database: Any) -> list[str]:
        """The names of all owners, in order."""
        return list((database.execute("SELECT name FROM suite_owner ORDER BY name")).scalars())

    def test_it_connects_answers_and_says_what_it_is(self, database: Any) -> None:
        assert database.ping() > 0
        info = database.info()
        assert info.dialect
        assert info.server_version
        assert info.features == database.features
        stats = database.stats()
        assert stats.pool.in_use == 0
        assert stats.pool.open >= 1
        database.optimize()
        database.optimize(["suite_owner"])

    def test_success_commits(self, database: Any) -> None:
        with database.session() as session:
            session.add(Owner(id=1, name="kept"))
        assert self.names(database) == ["kept"]

    def test_the_session_is_sqlalchemys_and_names_its_connection(self, database: Any) -> None:
        with database.session() as session:
            session.execute(text("SELECT 1"))
            assert isinstance(session.info["connection_id"], str)

    def test_an_exception_rolls_back(self, database: Any) -> None:
        with pytest.raises(ZeroDivisionError):
            with database.session() as session:
                session.add(Owner(id=1, name="lost"))
                session.flush()
                raise ZeroDivisionError
        assert self.names(database) == []

    def test_an_exception_that_is_none_of_exception_rolls_back(self, database: Any) -> None:
        with pytest.raises(Stopped):
            with database.session() as session:
                session.add(Owner(id=1, name="lost"))
                session.flush()
                raise Stopped
        assert self.names(database) == []
        assert database.pool.in_use == 0

    def test_a_savepoint_rolls_back_alone(self, database: Any) -> None:
        with database.session() as session:
            session.add(Owner(id=1, name="first"))
            session.flush()
            with pytest.raises(UniqueError):
                with session.begin_nested():
                    session.execute(insert(Owner).values(id=2, name="first"))
            with session.begin_nested():
                session.add(Owner(id=3, name="third"))
        assert self.names(database) == ["first", "third"]

    def test_a_swallowed_error_outside_a_savepoint_fails_the_transaction(self, database: Any) -> None:
        with pytest.raises(TransactionFailedError) as caught:
            with database.session() as session:
                session.execute(insert(Owner).values(id=1, name="one"))
                with pytest.raises(UniqueError):
                    session.execute(insert(Owner).values(id=2, name="one"))
        assert caught.value.remedy
        assert self.names(database) == []
        assert database.pool.in_use == 0

    def test_a_swallowed_flush_error_fails_the_transaction(self, database: Any) -> None:
        with pytest.raises(TransactionFailedError):
            with database.session() as session:
                session.execute(insert(Owner).values(id=1, name="one"))
                session.add(Owner(id=2, name="one"))
                with pytest.raises(UniqueError):
                    session.flush()
        assert self.names(database) == []

    def test_a_swallowed_error_within_a_savepoint_fails_it_all(self, database: Any) -> None:
        with pytest.raises((TransactionFailedError, DatabaseOperationError)):
            with database.session() as session:
                session.execute(insert(Owner).values(id=1, name="one"))
                with session.begin_nested():
                    with pytest.raises(UniqueError):
                        session.execute(insert(Owner).values(id=2, name="one"))
        assert self.names(database) == []

    def test_after_a_rollback_by_hand_the_session_works_on(self, database: Any) -> None:
        with database.session() as session:
            session.execute(insert(Owner).values(id=1, name="one"))
            with pytest.raises(UniqueError):
                session.execute(insert(Owner).values(id=2, name="one"))
            session.rollback()
            session.add(Owner(id=3, name="three"))
        assert self.names(database) == ["three"]

    def test_joining_never_commits(self, database: Any) -> None:
        with pytest.raises(ZeroDivisionError):
            with database.session() as outer:
                with database.session() as inner:
                    assert inner is outer
                    inner.add(Owner(id=1, name="inner"))
                assert outer.in_transaction()
                raise ZeroDivisionError
        assert self.names(database) == []

    def test_an_error_that_leaves_a_joined_session_fails_the_whole(self, database: Any) -> None:
        with pytest.raises(TransactionFailedError):
            with database.session() as outer:
                outer.add(Owner(id=1, name="outer"))
                outer.flush()
                with pytest.raises(ZeroDivisionError):
                    with database.session() as inner:
                        inner.add(Owner(id=2, name="half"))
                        raise ZeroDivisionError
        assert self.names(database) == []

    def test_other_tasks_do_not_join(self, database: Any) -> None:
        found: list[Any] = []

        def other() -> None:
            with database.session() as session:
                found.append(session)

        with database.session() as mine:
            assert gather(other, other) == [None, None]
        assert mine not in found
        assert len(found) == 2

    def test_an_independent_session_has_its_own_transaction(self, opened: Any, database: Any) -> None:
        if not database.supports(DatabaseFeature.MULTIPLE_CONNECTIONS):
            impatient = opened("impatient", pool_timeout=0.05)
            with impatient.session() as outer:
                outer.execute(text("SELECT 1"))
                with pytest.raises(PoolTimeoutError):
                    with impatient.session(independent=True) as inner:
                        inner.execute(text("SELECT 1"))
            return
        with database.session() as outer:
            assert (outer.execute(text("SELECT 1"))).scalar() == 1
            outer.rollback()
            with database.session(independent=True) as inner:
                assert inner is not outer
                inner.add(Owner(id=1, name="inner"))
            assert (outer.execute(select(Owner.name))).scalar() == "inner"

    def test_a_reader_cannot_write_and_a_writer_cannot_join_it(self, database: Any) -> None:
        assert database.supports(DatabaseFeature.READ_ONLY_SESSIONS)
        with pytest.raises(ReadOnlyError):
            with database.session(role="reader") as session:
                session.execute(insert(Owner).values(id=1, name="no"))
        with database.session(role="reader") as session:
            assert (session.execute(select(Owner.id))).all() == []
            with pytest.raises(DatabaseOperationError, match="read-only"):
                with database.session():
                    pass
        with database.session() as session:
            session.add(Owner(id=2, name="a writer again"))
        assert self.names(database) == ["a writer again"]

    def test_autocommit_keeps_each_statement(self, database: Any) -> None:
        with pytest.raises(ZeroDivisionError):
            with database.session(autocommit=True) as session:
                session.execute(insert(Owner).values(id=1, name="kept"))
                with pytest.raises(UniqueError):
                    session.execute(insert(Owner).values(id=1, name="again"))
                assert (session.get(Owner, 1)).name == "kept"
                raise ZeroDivisionError
        with database.session(autocommit=True) as session:
            session.add(Owner(id=2, name="flushed"))
        with pytest.raises(ZeroDivisionError):
            with database.session() as session:
                session.execute(insert(Owner).values(id=3, name="not autocommit any more"))
                raise ZeroDivisionError
        assert self.names(database) == ["flushed", "kept"]

    def test_execute_binds_parameters_and_joins(self, database: Any) -> None:
        name = "x'); DROP TABLE suite_owner; --"
        done = database.execute("INSERT INTO suite_owner (id, name) VALUES (:id, :name)", {"id": 1, "name": name})
        assert done.rowcount == 1
        rows = [{"id": 2, "name": "b"}, {"id": 1, "name": "twice"}]
        with pytest.raises(UniqueError):
            database.execute("INSERT INTO suite_owner (id, name) VALUES (:id, :name)", rows)
        assert (database.execute(select(Owner.name))).scalars().all() == [name]
        with pytest.raises(ZeroDivisionError):
            with database.session():
                database.execute("DELETE FROM suite_owner")
                raise ZeroDivisionError
        assert self.names(database) == [name]

    def test_run_repeats_a_unit_that_is_its_own(self, database: Any) -> None:
        runs: list[int] = []

        def work(session: Any) -> str:
            runs.append(1)
            session.add(Owner(id=len(runs), name=f"run {len(runs)}"))
            session.flush()
            if len(runs) < 3:
                raise SerializationError("as if another one had been faster")
            return "done"

        assert database.run(work, retry=Retry(attempts=3, first=0.001)) == "done"
        assert self.names(database) == ["run 3"]

    def test_run_gives_up_after_its_attempts(self, database: Any) -> None:
        runs: list[int] = []

        def work(session: Any) -> None:
            runs.append(1)
            raise SerializationError("as if another one had been faster")

        with pytest.raises(SerializationError):
            database.run(work, retry=Retry(attempts=2, first=0.001))
        assert len(runs) == 2

    def test_run_within_a_session_joins_and_never_repeats(self, database: Any) -> None:
        runs: list[Any] = []

        def work(session: Any) -> None:
            runs.append(session)
            raise SerializationError("as if another one had been faster")

        joined: list[Any] = []
        with pytest.raises(SerializationError):
            with database.session() as session:
                joined.append(session)
                database.run(work, retry=Retry(attempts=5, first=0.001))
        assert runs == joined

    def test_run_refuses_ddl(self, database: Any) -> None:
        def work(session: Any) -> None:
            session.execute(text("CREATE TABLE suite_other (id INTEGER)"))

        with pytest.raises(UnsupportedError):
            database.run(work)

    def test_run_with_a_witness_leaves_its_row(self, database: Any) -> None:
        def work(session: Any) -> int:
            session.add(Owner(id=1, name="seen"))
            return 7

        assert database.run(work, witness=True) == 7
        assert len((database.execute(select(Unit.c.id))).all()) == 1
        assert database.forget_units(timedelta(hours=1)) == 0
        assert database.forget_units(timedelta(seconds=-1)) == 1

    def test_concurrent_units_lose_no_update(self, database: Any) -> None:
        database.execute(insert(Account), [{"id": 1, "balance": 0, "title": ""}])

        def work(session: Any) -> None:
            account = (session.execute(select(Account).with_for_update())).scalar_one()
            account.balance += 1

        def client() -> None:
            for _ in range(5):
                database.run(work, retry=Retry(attempts=10))

        assert gather(*[client] * 4) == [None] * 4
        assert (database.execute(select(Account.balance))).scalar() == 20

    def test_an_exhausted_pool_is_an_error_then_recovers(self, opened: Any, database: Any) -> None:
        small = opened("main", pool_size=1, max_overflow=0, pool_timeout=0.1)
        with small.session() as session:
            session.execute(text("SELECT 1"))
            with pytest.raises(PoolTimeoutError) as caught:
                with small.session(independent=True) as other:
                    other.execute(text("SELECT 1"))
            assert caught.value.retryable
            health = small.health()
            assert (health.status, (health.message or "").split(":")[0]) == ("degraded", "saturated")
        assert (small.execute(text("SELECT 1"))).scalar() == 1
        assert (small.health()).status == "up"

    def test_more_clients_than_connections_all_succeed(self, opened: Any, database: Any) -> None:
        small = opened("main", pool_size=2, max_overflow=1, pool_timeout=PATIENCE)

        def client() -> int:
            with small.session() as session:
                return (session.execute(text("SELECT 1"))).scalar()

        assert gather(*[client] * 12) == [1] * 12
        assert small.pool.in_use == 0

    def test_named_databases_are_independent(self, opened: Any, database: Any) -> None:
        other = opened("other")
        assert other.engine is not database.engine
        with database.session() as one, other.session() as two:
            assert one is not two
            with database.session() as inner:
                assert inner is one

    def test_use_in_a_forked_child_raises(self, database: Any) -> None:
        database.ping()
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
        database.ping()

    def test_datetimes_are_aware_and_in_utc(self, database: Any) -> None:
        moment = datetime(2024, 2, 29, 23, 59, 59, 123456, timezone(timedelta(hours=5, minutes=30)))
        with database.session() as session:
            session.add(Account(id=1, opened_at=moment))
        found = (database.execute(select(Account.opened_at))).scalar()
        assert found == moment
        assert found.tzinfo is UTC
        with pytest.raises((InfraError, DataError, sqlalchemy.exc.StatementError), match="naive"):
            database.execute(insert(Account).values(id=2, opened_at=datetime(2024, 1, 1), title="", balance=0))

    def test_the_schema_is_compared(self, database: Any) -> None:
        assert (database.validate_schema(SuiteBase.metadata)).is_valid
        wanted = type(SuiteBase.metadata)()
        Table("suite_absent", wanted)
        assert (database.validate_schema(wanted)).missing_tables == ("suite_absent",)

    def test_a_named_lock_has_one_holder(self, database: Any) -> None:
        assert database.supports(DatabaseFeature.LOCKS)
        inside: list[int] = []
        most: list[int] = []

        def worker() -> None:
            with database.lock("suite", timeout=PATIENCE):
                inside.append(1)
                most.append(len(inside))
                database.ping()
                inside.pop()

        assert gather(*[worker] * 3) == [None] * 3
        assert max(most) == 1

    def test_a_held_lock_is_an_error_within_its_timeout(self, database: Any) -> None:
        held, release = Event(), Event()

        def holder() -> None:
            with database.lock("suite"):
                held.set()
                wait_for(release, PATIENCE)

        def rival() -> None:
            wait_for(held, PATIENCE)
            try:
                with pytest.raises(InfraError):
                    with database.lock("suite", timeout=0.05):
                        pass
            finally:
                release.set()

        assert gather(holder, rival) == [None, None]
