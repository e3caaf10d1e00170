"""Wrong values and arguments: each ends in our error, of one class on every provider, and costs nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import insert, select

from infra.database import (
    AsyncRepository,
    DatabaseOperationError,
    DataError,
    InvalidCursorError,
    InvalidFilterError,
    StatementError,
)
from infra.errors import DatabaseError, ErrorCode
from infra.runtime.identifiers import uuid7
from infra_testing.conformance.database._async.opening import AsyncDatabaseCases
from infra_testing.conformance.database.records import Entry, Value
from infra_testing.conformance.database.tables import Owner


class Nothing:
    """A value that no server knows."""


#: Values that their columns cannot hold.
VALUES: dict[str, dict[str, Any]] = {
    "object for text": {"text": Nothing()},
    "set for text": {"text": {1}},
    "half a pair for text": {"text": "\ud800"},
    "object for number": {"number": Nothing()},
    "list for number": {"number": [1]},
    "more than 64 bits": {"number": 2**63},
    "far more": {"number": -(2**100)},
    "object for decimal": {"exact": Nothing()},
    "words for decimal": {"exact": "abc"},
    "object in JSON": {"document": {"a": Nothing()}},
    "set as JSON": {"document": {1}},
    "NaN in JSON": {"document": {"a": float("nan")}},
    "text for bytes": {"raw": "text"},
    "words for truth": {"flag": "yes"},
    "naive time": {"at": datetime(2024, 1, 1)},
    "text for time": {"at": "2024-01-01"},
    "day for time": {"at": date(2024, 1, 1)},
    "object for enum": {"colour": Nothing()},
    "text for UUID": {"id": "nope"},
    "number for UUID": {"id": 5},
}
#: Statements and parameters of `execute` that do not fit.
STATEMENTS: dict[str, tuple[Any, Any]] = {
    "no statement": (5, None),
    "nothing": (None, None),
    "bytes": (b"SELECT 1", None),
    "a model": (Owner, None),
    "no SQL": ("garbage", None),
    "missing parameter": ("SELECT :a", {}),
    "no parameters": ("SELECT :a", None),
    "other parameter": ("SELECT :a", {"b": 1}),
    "parameters without names": ("SELECT :a", (1,)),
    "text as parameters": ("SELECT :a", "abc"),
    "number as parameters": ("SELECT :a", 5),
    "one row without a value": ("INSERT INTO suite_owner (id, name) VALUES (:id, :name)", [{"id": 1, "name": "a"}, {"id": 2}]),
    "unknown column": (insert(Owner).values(id=1, nothing=1), None),
}
PARAMETERS = {"object": Nothing(), "set": {1, 2}, "range": range(3), "function": len, "imaginary": 1j}
Act = Callable[[AsyncRepository[Entry]], Awaitable[Any]]
#: Arguments of a repository.
ARGUMENTS: dict[str, tuple[Act, type[DatabaseError]]] = {
    "negative limit": (lambda rows: rows.list(limit=-1), InvalidFilterError),
    "half a limit": (lambda rows: rows.list(limit=1.5), InvalidFilterError),  # type: ignore[arg-type]
    "text as limit": (lambda rows: rows.list(limit="a"), InvalidFilterError),  # type: ignore[arg-type]
    "limit of 70 bits": (lambda rows: rows.list(limit=2**70), InvalidFilterError),
    "negative offset": (lambda rows: rows.list(offset=-1), InvalidFilterError),
    "empty page": (lambda rows: rows.page(0), InvalidFilterError),
    "text as page": (lambda rows: rows.page("5"), InvalidFilterError),  # type: ignore[arg-type]
    "no page": (lambda rows: rows.page(None), InvalidFilterError),  # type: ignore[arg-type]
    "page of 64 bits": (lambda rows: rows.page(2**64), InvalidFilterError),
    "bad cursor": (lambda rows: rows.page(5, after="zzz"), InvalidCursorError),
    "empty cursor": (lambda rows: rows.page(5, after=""), InvalidCursorError),
    "number as cursor": (lambda rows: rows.page(5, after=5), InvalidCursorError),  # type: ignore[arg-type]
    "number as sort": (lambda rows: rows.page(5, sort=5), InvalidFilterError),  # type: ignore[arg-type]
    "number in sort": (lambda rows: rows.list(sort=[5]), InvalidFilterError),  # type: ignore[list-item]
    "text as condition": (lambda rows: rows.list("id = 1"), InvalidFilterError),  # type: ignore[arg-type]
    "object as value": (lambda rows: rows.list(rank=Nothing()), DataError),
    "set as value": (lambda rows: rows.list(rank={1}), DataError),
    "object among values": (lambda rows: rows.count(rank__in=[Nothing()]), DataError),
    "object to delete": (lambda rows: rows.delete_where(rank__gt=Nothing()), DataError),
    "words for a number": (lambda rows: rows.list(rank="abc"), InvalidFilterError),
    "words among numbers": (lambda rows: rows.list(rank__in=[1, "abc"]), InvalidFilterError),
    "80 bits": (lambda rows: rows.list(rank=2**80), InvalidFilterError),
    "between one": (lambda rows: rows.list(rank__between=5), InvalidFilterError),
    "between three": (lambda rows: rows.list(rank__between=(1, 2, 3)), InvalidFilterError),
    "number as text": (lambda rows: rows.list(rank__contains=5), InvalidFilterError),
    "number as exact text": (lambda rows: rows.list(rank__iexact=5), InvalidFilterError),
    "70,000 values": (lambda rows: rows.list(id__in=list(range(70_000))), InvalidFilterError),
    "not 70,000 values": (lambda rows: rows.count(id__not_in=list(range(70_000))), InvalidFilterError),
    "words as key": (lambda rows: rows.get("abc"), InvalidFilterError),
    "two values as key": (lambda rows: rows.get((1, 2)), InvalidFilterError),
    "other names as key": (lambda rows: rows.get({"x": 1}), InvalidFilterError),
    "object as key": (lambda rows: rows.get(Nothing()), DataError),
    "80 bits as key": (lambda rows: rows.get(2**80), InvalidFilterError),
    "another model": (lambda rows: rows.add(Owner(id=1, name="a")), InvalidFilterError),  # type: ignore[arg-type]
    "no row": (lambda rows: rows.add(None), InvalidFilterError),  # type: ignore[arg-type]
    "mapping as row": (lambda rows: rows.add({"id": 1}), InvalidFilterError),  # type: ignore[arg-type]
    "object in a row": (lambda rows: rows.add(Entry(id=1, rank=Nothing())), DataError),
    "object in many rows": (lambda rows: rows.add_many([{"id": n, "rank": Nothing()} for n in range(3)]), DataError),
    "object in a load": (lambda rows: rows.add_many([{"id": n, "rank": Nothing(), "score": 1} for n in range(600)]), DataError),
    "80 bits in a load": (lambda rows: rows.add_many([{"id": n, "rank": 2**80, "score": 1} for n in range(600)]), DataError),
    "object in an upsert": (lambda rows: rows.upsert_many([{"id": 1, "rank": Nothing()}]), DataError),
}


class AsyncMisuseCases(AsyncDatabaseCases):
    """What a caller does wrong."""

    def check(self, error: DatabaseError, expected: type[DatabaseError], database: Any) -> None:
        """One class, one code, nothing to repeat, and no word of the network."""
        assert type(error) is expected
        assert error.code is ErrorCode.INVALID_ARGUMENT
        assert not error.retryable
        assert error.remedy
        assert not {"host", "port"} & set(str(error).replace("`", " ").split())
        assert database.pool.in_use == 0

    @pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
    async def test_a_value_that_its_column_cannot_hold(self, database: Any, values: dict[str, Any]) -> None:
        runs: list[int] = []

        async def work(session: Any) -> None:
            runs.append(1)
            await session.execute(insert(Value).values(**{"id": uuid7(), **values}))

        with pytest.raises(DataError) as core:
            await database.run(work)
        assert runs == [1]
        self.check(core.value, DataError, database)
        with pytest.raises(DataError) as orm:
            async with database.session() as session:
                session.add(Value(**values))
        self.check(orm.value, DataError, database)
        assert (await database.execute(select(Value.id))).all() == []

    @pytest.mark.parametrize("value", PARAMETERS.values(), ids=PARAMETERS)
    async def test_a_parameter_that_cannot_be_sent(self, database: Any, value: Any) -> None:
        with pytest.raises(DataError) as caught:
            await database.execute("SELECT :a", {"a": value})
        self.check(caught.value, DataError, database)

    @pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS)
    async def test_a_statement_and_parameters_that_do_not_fit(self, database: Any, statement: tuple[Any, Any]) -> None:
        with pytest.raises(StatementError) as alone:
            await database.execute(*statement)
        self.check(alone.value, StatementError, database)
        with pytest.raises(StatementError) as joined:
            async with database.session():
                await database.execute(*statement)
        self.check(joined.value, StatementError, database)

    @pytest.mark.parametrize(("act", "expected"), ARGUMENTS.values(), ids=ARGUMENTS)
    async def test_an_argument_of_a_repository(self, database: Any, act: Act, expected: type[DatabaseError]) -> None:
        runs: list[int] = []

        async def work(session: Any) -> None:
            runs.append(1)
            await act(AsyncRepository[Entry](session))

        with pytest.raises(expected) as caught:
            await database.run(work)
        assert runs == [1]
        self.check(caught.value, expected, database)

    async def test_more_parameters_than_a_server_takes_are_no_lost_connection(self, database: Any) -> None:
        runs: list[int] = []

        async def work(session: Any) -> int:
            runs.append(1)
            return len((await session.execute(select(Owner.id).where(Owner.id.in_(list(range(300_000)))))).all())

        refused: list[DatabaseError] = []
        try:
            await database.run(work)
        except DatabaseError as error:
            refused.append(error)
        for error in refused:
            self.check(error, StatementError, database)
        assert runs == [1]
        assert await database.ping() > 0

    async def test_arguments_of_the_database_itself(self, database: Any) -> None:
        async def lock(*given: Any, **options: Any) -> None:
            async with database.lock(*given, **options):
                pass

        async def session() -> None:
            async with database.session(role="boss"):
                pass

        wrong: list[Callable[[], Awaitable[Any]]] = [
            session,
            lambda: database.execute("SELECT 1", role="boss"),
            lambda: database.run(None),
            lambda: database.run(session, retry=5),
            lambda: database.optimize("suite_owner"),
            lambda: database.optimize([5]),
            *(lambda name=name: lock(name) for name in (None, "", 5, "\ud800", "a\x00")),
            *(lambda timeout=timeout: lock("a", timeout) for timeout in (-1, float("nan"), float("inf"), "soon", None)),
        ]
        for act in wrong:
            with pytest.raises(DatabaseOperationError) as caught:
                await act()
            self.check(caught.value, DatabaseOperationError, database)

    async def test_numbers_come_back_as_they_went(self, database: Any) -> None:
        for number in (2**63 - 1, -(2**63)):
            await database.execute(insert(Value).values(id=uuid7(), number=number, exact=Decimal(1)))
        async with database.session() as session:
            assert [row.number for row in await AsyncRepository[Value](session).list(number__lt=0)] == [-(2**63)]
            assert await AsyncRepository[Entry](session).list(rank="7", id__in=["1", 2]) == []
