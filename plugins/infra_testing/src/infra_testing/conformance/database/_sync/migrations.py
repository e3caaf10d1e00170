# Generated from migrations.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""Case 20: migrations. They belong to the blocking door, which an asyncio host has beside its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect, text

from infra.database import DatabaseFeature
from infra.database.migrations import DropRefusedError, Finding, check, current, downgrade, revision, upgrade
from infra_testing.conformance.database._sync.opening import DatabaseCases
from infra_testing.conformance.database.migrator import VERSION_TABLE, clear_shaped, metadata, shaped, source, start_migrator
from infra_testing.harness import Place


class MigrationCases(DatabaseCases):
    """Migrations."""

    @pytest.fixture
    def migrated(self, place: Place) -> Iterator[Any]:
        """A database without the tables of these cases, through its blocking door."""
        database = self.harness.open(self.capability, place)
        self.clear(database)
        yield database
        self.clear(database)
        database.close()

    def clear(self, database: Any) -> None:
        """Drop what these cases made."""
        with database.engine.begin() as connection:
            metadata.drop_all(connection)
            clear_shaped(connection)
            connection.execute(text(f"DROP TABLE IF EXISTS {VERSION_TABLE}"))

    def columns(self, database: Any) -> set[str]:
        """The columns of the migrated table; none when there is no table."""
        with database.engine.connect() as connection:
            inspector = inspect(connection)
            return (
                {column["name"] for column in inspector.get_columns("suite_migrated")} if inspector.has_table("suite_migrated") else set()
            )

    def test_migrations_go_up_and_down(self, migrated: Any, tmp_path: Path) -> None:
        lineage = source(tmp_path / "migrations")
        assert revision(migrated, "first", source=lineage) is not None
        assert {problem.finding for problem in check(migrated, source=lineage).problems} == {Finding.MISSING_HEAD, Finding.DRIFT}
        assert len(upgrade(migrated, source=lineage)) == 1
        assert self.columns(migrated) == {"id", "name", "size", "made_at"}
        assert current(migrated, source=lineage).is_head
        assert upgrade(migrated, source=lineage) == ()
        assert check(migrated, source=lineage).problems == ()
        assert revision(migrated, "nothing new", source=lineage) is None
        with pytest.raises(DropRefusedError):
            downgrade(migrated, "base", source=lineage)
        assert len(downgrade(migrated, "base", allow_drop=True, source=lineage)) == 1
        assert self.columns(migrated) == set()

    def test_check_finds_that_the_schema_differs_from_the_models(self, migrated: Any, tmp_path: Path) -> None:
        lineage = source(tmp_path / "migrations")
        revision(migrated, "first", source=lineage)
        upgrade(migrated, source=lineage)
        with migrated.engine.begin() as connection:
            connection.execute(text("ALTER TABLE suite_migrated DROP COLUMN size"))
            connection.execute(text("ALTER TABLE suite_migrated ADD COLUMN surprise INTEGER"))
        problems = check(migrated, source=lineage).problems
        assert [problem.finding for problem in problems] == [Finding.DRIFT, Finding.DRIFT]
        assert {name for name in ("size", "surprise") for problem in problems if name in problem.message} == {"size", "surprise"}

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            ({}, None),
            ({"default": "6"}, "default of suite_shaped.size"),
            ({"rule": "size > 1"}, "ck_suite_shaped_size"),
            ({"column_rule": "weight < 9"}, "ck_suite_shaped_weight"),
            ({"key": "name"}, "primary key of suite_shaped"),
            ({"ondelete": "CASCADE"}, "foreign key"),
        ],
    )
    def test_check_finds_each_difference_and_a_revision_mends_it(
        self, migrated: Any, tmp_path: Path, change: dict[str, str], expected: str | None
    ) -> None:
        first, second = (shaped(tmp_path, **fields) for fields in ({}, change))
        revision(migrated, "first", source=first)
        upgrade(migrated, source=first)
        assert check(migrated, source=first).problems == ()
        answer = check(migrated, source=second)
        assert answer.ok is (expected is None)
        assert answer.not_compared
        if expected is not None:
            assert any(expected in problem.message for problem in answer.problems)
            if "key" not in change:  # a primary key is changed by hand
                revision(migrated, "second", source=second)
                upgrade(migrated, source=second)
                assert check(migrated, source=second).problems == ()

    def test_enums_are_made_altered_and_dropped(self, migrated: Any, tmp_path: Path) -> None:
        plain = shaped(tmp_path)
        members = [shaped(tmp_path, enum=words) for words in ("OPEN DONE", "OPEN STUCK DONE", "DONE OPEN")]
        for number, lineage in enumerate((plain, *members)):
            revision(migrated, f"step {number}", source=lineage)
            upgrade(migrated, allow_drop=True, source=lineage)
            assert check(migrated, source=lineage).problems == ()
        downgrade(migrated, "base", allow_drop=True, source=members[-1])
        upgrade(migrated, allow_drop=True, source=members[-1])
        assert check(migrated, source=members[-1]).problems == ()
        revision(migrated, "no enum", source=plain)
        upgrade(migrated, allow_drop=True, source=plain)
        assert check(migrated, source=plain).problems == ()
        downgrade(migrated, "base", allow_drop=True, source=plain)

    def test_two_migrators_at_once_migrate_once(self, migrated: Any, place: Place, tmp_path: Path) -> None:
        if not migrated.supports(DatabaseFeature.SHARED):
            assert not migrated.supports(DatabaseFeature.SERVER), "a server is shared by processes"
            return
        assert migrated.supports(DatabaseFeature.LOCKS)
        lineage = source(tmp_path / "migrations")
        revision(migrated, "first", source=lineage)
        with ExitStack() as stack:
            migrators = [stack.enter_context(start_migrator(self.harness, place, lineage.directory)) for _ in range(2)]
            assert [migrator.receive() for migrator in migrators] == ["ready", "ready"]
            for migrator in migrators:
                migrator.send("go")
            counts = sorted(migrator.receive() for migrator in migrators)
            assert [migrator.wait() for migrator in migrators] == [0, 0]
        assert counts == [0, 1]
        assert self.columns(migrated) == {"id", "name", "size", "made_at"}
