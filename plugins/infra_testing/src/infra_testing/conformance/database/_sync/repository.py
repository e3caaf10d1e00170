# Generated from repository.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""Cases 15, 16, 18 and 19: values, repositories, upserts and streams."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import insert, select, true, update

from infra.database import (
    UNSET,
    DatabaseFeature,
    InvalidFilterError,
    Repository,
    RowNotFoundError,
    StaleVersionError,
    UniqueError,
    UniqueKeyError,
    UnknownFieldError,
)
from infra.database.models import INCLUDE_DELETED
from infra.errors import DatabaseError
from infra.runtime.identifiers import uuid7
from infra.runtime.threads import gather
from infra_testing.conformance.database._sync.opening import DatabaseCases
from infra_testing.conformance.database.records import Agent, Colour, Counter, Entry, Note, Team, Value

WRITERS = 8


class AgentRepository(Repository[Agent]):
    """As a host writes one."""

    def get_by_kind(self, kind: str) -> list[Agent]:
        """All of a kind, by name."""
        return self.list(kind=kind, sort="name")

    def search_by_name(self, text: str) -> list[Agent]:
        """All whose name contains `text`."""
        return self.list(name__icontains=text, sort="name")


def names(rows: Any) -> list[str]:
    """The names of agents."""
    return [row.name for row in rows]


class RepositoryCases(DatabaseCases):
    """Repositories, and what they keep."""

    @pytest.mark.parametrize(
        "values",
        [
            {"text": "Zoë 🦉 \u4e2d\u6587 \\ % _ ' \" \n"},
            {"text": ""},
            {"number": 2**63 - 1},
            {"number": -(2**63)},
            {"exact": Decimal("123456789012.345678")},
            {"document": {"a": [1, None, {"ü": "🦉"}], "b": 1.5, "empty": {}}},
            {"raw": bytes(range(256))},
            {"raw": b""},
            {"flag": False},
            {"at": datetime(2024, 2, 29, 23, 59, 59, 123456, UTC)},
            {"at": datetime(2024, 7, 1, 1, 2, 3, 4, timezone(timedelta(hours=5, minutes=30)))},
            {"colour": Colour.BLUE},
            {"text": None, "number": None, "document": None, "raw": None},
        ],
        ids=lambda values: "-".join(values),
    )
    def test_values_come_back_as_they_went_in(self, database: Any, values: dict[str, Any]) -> None:
        with database.session() as session:
            one = Repository[Value](session).add(Value(**values))
            Repository[Value](session).add_many([{"id": (other := uuid7()), **values}])
        with database.session() as session:
            for key in (one.id, other):
                row = Repository[Value](session).get(key)
                for name, value in values.items():
                    found = getattr(row, name)
                    assert found == value
                if row.at is not None:
                    assert row.at.utcoffset() == timedelta(0)

    def test_a_naive_datetime_is_refused(self, database: Any) -> None:
        with pytest.raises(Exception, match="naive datetime"):
            with database.session() as session:
                Repository[Value](session).add(Value(at=datetime(2024, 1, 1)))

    def test_get_finds_by_key_and_says_when_there_is_none(self, database: Any) -> None:
        with database.session() as session:
            agent = Repository[Agent](session).add(Agent(name="Ada"))
            assert isinstance(agent.id, UUID)
            assert agent.created_at.tzinfo is not None
        with database.session() as session:
            agents = Repository[Agent](session)
            assert (agents.get(agent.id)).name == "Ada"
            assert (agents.get(agent.id, for_update=database.supports(DatabaseFeature.SKIP_LOCKED))).name == "Ada"
            assert agents.get_or_none(uuid7()) is None
            with pytest.raises(RowNotFoundError, match="Agent") as caught:
                agents.get(uuid7())
            assert caught.value.remedy

    def test_it_flushes_and_never_commits(self, database: Any) -> None:
        class Undo(Exception):
            pass

        with pytest.raises(Undo):
            with database.session() as session:
                agents = Repository[Agent](session)
                agent = agents.add(Agent(name="Ada"))
                agents.add_many([{"name": "Bob"}])
                agents.update(agent, name="Eve")
                agents.upsert_many([{"name": "Mallory", "email": "m"}], keys=["email"])
                assert agents.count() == 3
                raise Undo
        with database.session() as session:
            assert Repository[Agent](session).count() == 0

    def test_a_host_extends_it(self, database: Any) -> None:
        with database.session() as session:
            agents = AgentRepository(session)
            agents.add_many([{"name": "Bob", "kind": "spy"}, {"name": "Ada", "kind": "spy"}, {"name": "Eve"}])
            assert names(agents.get_by_kind("spy")) == ["Ada", "Bob"]
            assert names(agents.search_by_name("AD")) == ["Ada"]
            assert Repository(session, Agent).count() == 3

    @pytest.mark.parametrize(
        ("filters", "expected"),
        [
            ({}, "a%b Ada axb Bob C_D"),
            ({"name": "Ada"}, "Ada"),
            ({"age": None}, "C_D"),
            ({"age": UNSET, "name": "Bob"}, "Bob"),
            ({"age__ne": None}, "a%b Ada axb Bob"),
            ({"age__gte": 30}, "Ada Bob"),
            ({"age__gt": 30, "age__lte": 40}, "Bob"),
            ({"age__lt": 20}, "a%b"),
            ({"age__between": (20, 30)}, "Ada axb"),
            ({"age__in": [10, 40]}, "a%b Bob"),
            ({"age__in": [10, None]}, "a%b C_D"),
            ({"age__in": []}, ""),
            ({"age__not_in": []}, "a%b Ada axb Bob C_D"),
            ({"age__not_in": [10, None]}, "Ada axb Bob"),
            ({"age__is_null": True}, "C_D"),
            ({"age__is_null": False, "name__startswith": "Bo"}, "Bob"),
            ({"name__contains": "%"}, "a%b"),
            ({"name__icontains": "c_d"}, "C_D"),
            ({"name__icontains": "A%"}, "a%b"),
            ({"name__endswith": "_D"}, "C_D"),
            ({"name__istartswith": "a%"}, "a%b"),
            ({"name__iexact": "ADA"}, "Ada"),
            ({"name__iexact": "a%"}, ""),
        ],
        ids=str,
    )
    def test_filters_mean_what_they_say(self, database: Any, filters: dict[str, Any], expected: str) -> None:
        with database.session() as session:
            agents = Repository[Agent](session)
            ages = {"Ada": 30, "Bob": 40, "a%b": 10, "axb": 20, "C_D": None}
            agents.add_many([{"name": name, "age": age} for name, age in ages.items()])
            found = sorted(names(agents.list(**filters)), key=str.lower)
            assert found == expected.split()
            assert agents.count(**filters) == len(found)
            assert agents.exists(**filters) is bool(found)

    def test_expressions_stand_beside_keywords(self, database: Any) -> None:
        with database.session() as session:
            agents = Repository[Agent](session)
            agents.add_many([{"name": f"n{number}", "age": number} for number in range(10)])
            assert names(agents.list(Agent.age > 3, Agent.name != "n5", age__lt=7, sort="-age")) == ["n6", "n4"]
            assert names(agents.list(sort="age", limit=2, offset=3)) == ["n3", "n4"]

    def test_an_unknown_field_is_refused_with_the_nearest_one(self, database: Any) -> None:
        with database.session() as session:
            agents = Repository[Agent](session)
            agent = agents.add(Agent(name="Ada"))
            calls = [
                partial(agents.list, nmae="x"),
                partial(agents.list, nmae__icontains="x"),
                partial(agents.list, sort="-nmae"),
                partial(agents.page, 10, nmae="x"),
                partial(agents.count, nmae="x"),
                partial(agents.exists, nmae="x"),
                partial(agents.update, agent, nmae="x"),
                partial(agents.delete_where, nmae="x"),
                partial(agents.add_many, [{"nmae": "x"}]),
                partial(agents.upsert_many, [{"nmae": "x"}]),
            ]
            for call in calls:
                with pytest.raises(UnknownFieldError, match="did you mean name"):
                    call()
            assert agents.count() == 1

    def test_a_filter_that_cannot_match_is_refused(self, database: Any) -> None:
        with database.session() as session:
            agents = Repository[Agent](session)
            refused: list[dict[str, Any]] = [{"age__gt": None}, {"age__gtt": 1}, {"age__in": "12"}]
            for filters in refused:
                with pytest.raises(InvalidFilterError) as caught:
                    agents.list(**filters)
                assert caught.value.remedy

    def test_update_changes_what_it_is_told(self, database: Any) -> None:
        with database.session() as session:
            agents = Repository[Agent](session)
            agent = agents.add(Agent(name="Ada", age=30))
            before = agent.updated_at
            changed = agents.update(agent.id, name="Eve", age=UNSET)
            assert changed is agent
            assert (changed.name, changed.age, changed.version) == ("Eve", 30, 2)
            assert (agents.update(agent, {"age": None})).age is None
            with pytest.raises(RowNotFoundError):
                agents.update(uuid7(), name="nobody")
        with database.session() as session:
            row = Repository[Agent](session).get(agent.id)
            assert (row.name, row.age, row.version) == ("Eve", None, 3)
            assert row.updated_at > before

    def test_a_change_by_someone_else_is_never_overwritten(self, database: Any) -> None:
        with database.session() as session:
            agent = Repository[Agent](session).add(Agent(name="Ada"))
        with pytest.raises(StaleVersionError, match="someone else") as caught:
            with database.session() as session:
                agents = Repository[Agent](session)
                row = agents.get(agent.id)
                table: Any = Agent.__table__
                connection = session.connection()
                connection.execute(update(table).values(name="theirs", version=2))
                agents.update(row, name="mine")
        assert caught.value.remedy
        with pytest.raises(StaleVersionError):
            with database.session() as session:
                Repository[Agent](session).update(agent.id, name="mine", expected_version=7)
        with database.session() as session:
            assert (Repository[Agent](session).get(agent.id)).name == "Ada"

    def test_delete_removes_one_and_delete_where_many(self, database: Any) -> None:
        with database.session() as session:
            agents = Repository[Agent](session)
            agent = agents.add(Agent(name="Ada"))
            agents.add_many([{"name": f"n{number}", "age": number} for number in range(10)])
            agents.delete(agent.id)
            with pytest.raises(RowNotFoundError):
                agents.delete(agent.id)
            assert agents.delete_where(age__lt=4) == 4
            assert agents.delete_where(age__in=[]) == 0
            for nothing in ({}, {"age": UNSET}):
                with pytest.raises(InvalidFilterError, match="delete all rows") as caught:
                    agents.delete_where(**nothing)
                assert caught.value.remedy
            assert agents.delete_where(true()) == 6
            assert agents.count() == 0

    def test_add_many_takes_models_and_mappings(self, database: Any) -> None:
        with database.session() as session:
            agents = Repository[Agent](session)
            models = [Agent(name=f"m{number}", age=number) for number in range(600)]
            assert agents.add_many(models) == 600
            assert agents.add_many([{"name": "x", "age": UNSET}, {"name": "y", "email": "y"}]) == 2
            assert agents.add_many([]) == 0
            assert (agents.get(models[7].id)).name == "m7"
            assert {(row.kind, row.version) for row in agents.list()} == {("plain", 1)}
            team = Team(name="t")
            with pytest.raises(InvalidFilterError, match="team"):
                agents.add_many([Agent(name="z", team=team)])
            session.expunge_all()

    def test_add_many_refers_to_what_was_added_before(self, database: Any) -> None:
        with database.session() as session:
            team = Team(id=uuid7(), name="t")
            session.add(team)
            Repository[Agent](session).add_many([{"name": "a", "team_id": team.id}])
            with pytest.raises(UniqueError):
                with session.begin_nested():
                    Repository[Agent](session).add_many([{"name": "a", "email": "e"}, {"name": "b", "email": "e"}])

    def test_upsert_inserts_or_updates_by_a_proven_key(self, database: Any) -> None:
        with database.session() as session:
            agents = Repository[Agent](session)
            first = agents.add(Agent(name="Ada", email="ada", age=30, kind="spy"))
            rows = [{"name": "Eve", "email": "ada"}, {"name": "Bob", "email": "bob", "age": 4}, {"name": "Bobby", "email": "bob", "age": 5}]
            assert agents.upsert_many(rows, keys=["email"]) == 2
            for wrong in (["name"], ["name", "email"], ["age"]):
                with pytest.raises(UniqueKeyError, match="no unique key") as caught:
                    agents.upsert_many(rows, keys=wrong)
                assert caught.value.remedy
            with pytest.raises(UniqueKeyError, match="no value for email"):
                agents.upsert_many([{"name": "x"}], keys=["email"])
            assert agents.upsert_many([{"name": "ignored", "email": "bob"}], keys=["email"], update=[]) == 1
            assert agents.upsert_many([{"name": "ignored", "email": "bob", "age": 6}], keys=["email"], update=["age"]) == 1
        with database.session() as session:
            agents = Repository[Agent](session)
            ada = agents.get(first.id)
            assert (ada.name, ada.age, ada.kind, ada.version) == ("Eve", 30, "spy", 2)
            assert ada.created_at == first.created_at
            assert ada.updated_at > first.updated_at
            assert [(row.name, row.age) for row in agents.list(email="bob")] == [("Bobby", 6)]

    def test_upsert_of_many_rows_goes_in_batches(self, database: Any) -> None:
        with database.session() as session:
            counters = Repository[Counter](session)
            for writer in (1, 2):
                rows = [{"name": f"c{number}", "writer": writer} for number in range(10_001)]
                assert counters.upsert_many(rows) == 10_001
            assert counters.count(writer=2) == 10_001
            assert counters.count() == 10_001

    def test_writers_that_race_for_the_same_rows_all_succeed(self, database: Any) -> None:
        def write(writer: int) -> None:
            rows = [{"name": f"c{number}", "writer": writer} for number in range(50)]

            def unit(session: Any) -> None:
                Repository[Counter](session).upsert_many(rows)

            database.run(unit)

        results = gather(*(partial(write, writer) for writer in range(WRITERS)))
        assert [result for result in results if result is not None] == []
        with database.session() as session:
            counters = Repository[Counter](session).list()
            assert len(counters) == 50
            assert len({counter.writer for counter in counters}) == 1

    def test_deleted_rows_are_marked_and_seen_by_nobody(self, database: Any) -> None:
        with database.session() as session:
            notes = Repository[Note](session)
            note, other = notes.add(Note(title="a")), notes.add(Note(title="b"))
            notes.add_many([{"title": "c"}, {"title": "d"}])
            notes.delete(note)
            assert notes.delete_where(title="c") == 1
            assert notes.get_or_none(note.id) is None
            with pytest.raises(RowNotFoundError):
                notes.delete(note.id)
        with database.session() as session:
            notes = Repository[Note](session)
            assert notes.get_or_none(note.id) is None
            assert [row.title for row in notes.list(sort="title")] == ["b", "d"]
            assert notes.count() == 2
            assert not notes.exists(title="a")
            assert len((notes.page(10)).items) == 2
            assert [row.title for row in notes.stream(sort="title")] == ["b", "d"]
            assert len((session.execute(select(Note))).all()) == 2
            everything = session.execute(select(Note), execution_options={INCLUDE_DELETED: True})
            assert len(everything.all()) == 4
            assert (notes.get(other.id)).deleted_at is None
            notes.upsert_many([{"title": "a"}], keys=["title"])  # comes back to life
            assert notes.count() == 3

    def test_a_stream_of_100000_rows_stays_in_flat_memory(self, database: Any) -> None:
        many = 100_000
        columns = Entry.__table__.columns
        with database.session() as session:
            there = many // 16
            Repository[Entry](session).add_many({"id": number, "score": number % 7} for number in range(there))
            while there < many:  # the server copies faster than we send
                copies = select(*[column + there if column.name == "id" else column for column in columns])
                session.execute(insert(Entry).from_select([column.name for column in columns], copies))
                there *= 2
        with database.session() as session:
            entries = Repository[Entry](session)
            seen, most, before = 0, 0, sys.getallocatedblocks()
            for entry in entries.stream(sort="id", batch_size=500):
                assert entry.id == seen
                if seen % 5_000 == 0:
                    most = max(most, sys.getallocatedblocks() - before)
                seen += 1
            assert seen == many
            assert most < many, "it holds on to the rows"  # a row as a tuple is several blocks, as an object a dozen

    def test_errors_of_a_repository_belong_to_the_tree(self, database: Any) -> None:
        with database.session() as session:
            with pytest.raises(DatabaseError) as caught:
                Repository[Agent](session).get(uuid7())
            assert caught.value.code == "NOT_FOUND"
            assert "Agent" not in str(caught.value.to_dict()["message"])
