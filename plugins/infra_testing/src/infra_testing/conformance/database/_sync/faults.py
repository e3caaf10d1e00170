# Generated from faults.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""Cases 8 to 11: servers and processes that die, and callers that go away."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytest
from sqlalchemy import insert, select, text

from infra.database import CommitUnknownError, DatabaseConnectionError, DatabaseFeature, Retry
from infra.errors import DatabaseError
from infra_testing.conformance.database._sync.opening import DatabaseCases
from infra_testing.conformance.database.tables import Owner
from infra_testing.conformance.database.worker import start_worker
from infra_testing.harness import Place


class FaultCases(DatabaseCases):
    """Nothing acknowledged is lost, nothing is half done, and the next use works."""

    def count(self, database: Any) -> int:
        """How many owners there are."""
        return len((database.execute(select(Owner.id))).all())

    def test_a_server_killed_while_idle_is_not_noticed_by_the_next_use(self, database: Any) -> None:
        database.ping()
        control = self.server_control(database)
        if control is not None:
            control.kill()
            assert (database.health()).status == "down"
            control.start()
        database.execute(insert(Owner).values(id=1, name="after"))
        assert self.count(database) == 1

    def test_a_server_killed_in_a_transaction_leaves_no_half(self, database: Any) -> None:
        control = self.server_control(database)
        if control is None:
            return
        with pytest.raises(DatabaseConnectionError):
            with database.session() as session:
                session.execute(insert(Owner).values(id=1, name="half"))
                control.kill()
                session.execute(insert(Owner).values(id=2, name="other half"))
        control.start()
        assert self.count(database) == 0
        assert database.pool.in_use == 0

    def test_a_connection_cut_during_commit_is_an_unknown_commit(self, database: Any) -> None:
        control = self.server_control(database)
        if control is None:
            return
        with pytest.raises(CommitUnknownError) as caught, control.cut_at_commit():
            with database.session() as session:
                session.add(Owner(id=1, name="perhaps"))
        assert not caught.value.retryable
        assert self.count(database) in (0, 1)

    def test_a_witness_finds_out_what_became_of_a_commit(self, database: Any) -> None:
        control = self.server_control(database)
        runs: list[int] = []

        def work(session: Any) -> str:
            runs.append(1)
            session.add(Owner(id=len(runs), name=f"run {len(runs)}"))
            session.flush()
            if control is not None and len(runs) == 1:
                faults.enter_context(control.cut_at_commit())
            return f"run {len(runs)}"

        with ExitStack() as faults:
            assert database.run(work, witness=True, retry=Retry(attempts=3)) == f"run {len(runs)}"
        assert self.count(database) == 1

    def test_a_process_killed_in_a_transaction_leaves_no_half(self, place: Place, database: Any) -> None:
        if not database.supports(DatabaseFeature.SHARED):
            assert not database.supports(DatabaseFeature.SERVER)
            return
        with start_worker(self.harness, place) as worker:
            assert worker.receive() == "written"
            worker.kill()
        assert self.count(database) == 0
        database.execute(insert(Owner).values(id=1, name="after"))

    def test_an_error_of_begin_gives_the_connection_back(self, opened: Any, database: Any) -> None:
        impatient = opened("main", lock_timeout=0.05)
        if not database.supports(DatabaseFeature.CONCURRENT_WRITERS) and database.supports(DatabaseFeature.LOCK_TIMEOUT):
            with database.session() as session:
                session.execute(insert(Owner).values(id=1, name="holds the lock"))
                for _ in range(3):
                    with pytest.raises(DatabaseError):
                        with impatient.session() as other:
                            other.execute(text("SELECT 1"))
        assert impatient.pool.in_use == 0
        assert (impatient.execute(text("SELECT 1"))).scalar() == 1
