# Generated from sharing.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""Which sessions join, and that a session has one user at a time."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from infra.database import DatabaseOperationError, TransactionFailedError
from infra.errors import ConfigurationError
from infra_testing.conformance.database._sync.opening import DatabaseCases
from infra_testing.conformance.database.tables import Owner


class HostSession(Session):
    """A host's own, with a method more."""

    def names(self) -> list[str]:
        """The names of all owners."""
        return list(self.scalars(select(Owner.name).order_by(Owner.name)))


HOST_SESSION = f"{__name__}:HostSession"


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


class SharingCases(DatabaseCases):
    """Sessions that others are in."""

    def names(self, database: Any) -> list[str]:
        """The names of all owners, in order."""
        return list((database.execute("SELECT name FROM suite_owner ORDER BY name")).scalars())

    def test_another_thread_of_the_same_context_joins(self, database: Any) -> None:
        def same(session: Any) -> Any:
            return session

        def handler() -> Any:
            with database.session() as session:
                session.add(Owner(id=1, name="of a handler"))
                database.execute("INSERT INTO suite_owner (id, name) VALUES (2, 'by hand')")
                return session

        with pytest.raises(ZeroDivisionError):
            with database.session() as mine:
                assert elsewhere(handler) is mine
                raise ZeroDivisionError
        assert self.names(database) == []
        with database.session() as mine:
            assert elsewhere(handler) is mine
            assert elsewhere(lambda: database.run(same)) is mine
        assert self.names(database) == ["by hand", "of a handler"]

    def test_an_error_in_another_thread_fails_the_whole(self, database: Any) -> None:
        def handler() -> None:
            with database.session() as session:
                session.add(Owner(id=1, name="half"))
                raise ZeroDivisionError

        with pytest.raises(TransactionFailedError):
            with database.session():
                assert isinstance(elsewhere(handler), ZeroDivisionError)
        assert self.names(database) == []

    def test_two_threads_cannot_be_guests_at_once(self, database: Any) -> None:
        def inside() -> Any:
            with database.session() as session:
                session.execute(select(Owner.id))
                return elsewhere(second)

        def second() -> None:
            with database.session():
                pass

        with database.session():
            error = elsewhere(inside)
            assert isinstance(error, DatabaseOperationError)
            assert error.remedy
            assert elsewhere(second) is None

    def test_threads_that_share_a_session_get_an_error(self, database: Any) -> None:
        with database.session() as session:
            session.turns.take()
            error = elsewhere(lambda: session.execute(select(Owner.id)))
            session.turns.give()
            assert isinstance(error, DatabaseOperationError)
            assert error.remedy
            assert elsewhere(lambda: session.execute(select(Owner.id)).all()) == []

    def test_a_session_cannot_be_used_after_its_end(self, database: Any) -> None:
        with database.session() as session:
            pass
        failed: Any = None
        with pytest.raises(ZeroDivisionError):
            with database.session() as failed:
                raise ZeroDivisionError
        with database.session(autocommit=True) as autocommit:
            pass
        for ended in (session, failed, autocommit):
            with pytest.raises(DatabaseOperationError, match="ended"):
                ended.execute(select(Owner.id))
        assert database.pool.in_use == 0

    def test_a_swallowed_error_of_a_helper_within_helpers_fails_the_whole(self, database: Any) -> None:
        def inner() -> None:
            with database.session() as session:
                session.add(Owner(id=2, name="of a helper"))
                raise ZeroDivisionError

        def outer() -> None:
            with database.session() as session:
                session.add(Owner(id=1, name="of another"))
                with pytest.raises(ZeroDivisionError):
                    inner()

        with pytest.raises(TransactionFailedError):
            with database.session():
                outer()
        assert self.names(database) == []
        assert database.pool.in_use == 0

    def test_what_a_failed_helper_added_goes_with_its_savepoint(self, database: Any) -> None:
        def helper() -> None:
            with database.session() as session:
                session.add(Owner(id=2, name="of a helper"))
                raise ZeroDivisionError

        with database.session() as session:
            session.add(Owner(id=1, name="kept"))
            with pytest.raises(ZeroDivisionError):
                with session.begin_nested():
                    helper()
        assert self.names(database) == ["kept"]

    @pytest.mark.parametrize("kind", ["argument", "setting"])
    def test_a_host_gives_its_class_of_sessions(self, opened: Any, database: Any, kind: str) -> None:
        if kind == "setting":
            database.execute(insert(Owner).values(id=1, name="one"))
            chosen = opened("main", session_class=HostSession)
            if not chosen.supports("shared"):
                chosen.create_all(Owner.metadata)
                chosen.execute(insert(Owner).values(id=1, name="one"))
            options: dict[str, Any] = {}
        else:
            chosen, options = database, {"session_class": HostSession}
            database.execute(insert(Owner).values(id=1, name="one"))
        for more in ({}, {"autocommit": True}, {"role": "reader"}):
            with chosen.session(**options, **more) as session:
                assert isinstance(session, HostSession)
                assert session.names() == ["one"]
        with chosen.session(**options) as outer, chosen.session(**options) as inner:
            assert outer is inner

    def test_a_session_of_another_class_cannot_be_joined(self, database: Any) -> None:
        with database.session():
            with pytest.raises(DatabaseOperationError, match="class"):
                with database.session(session_class=HostSession):
                    pass

    @pytest.mark.parametrize("wrong", ["nowhere:Session", "infra.database:Nothing", "nothing", "builtins:dict"])
    def test_a_class_that_is_none_of_sessions_is_told_at_open(self, opened: Any, wrong: str) -> None:
        with pytest.raises(ConfigurationError, match="session_class"):
            opened("main", session_class=wrong)
