from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect, text

from infra.database import migrations
from infra.database.migrations import DropRefusedError, Finding, MigrationError, Source
from infra.errors import ConfigurationError
from infra_testing.harness import Harness, Place

SQLITE = Harness("sqlite")
AGENTS = """
from sqlalchemy.orm import Mapped, mapped_column
from infra.database import Base, Timestamps, UUIDPrimaryKey, new_metadata

class HostBase(Base):
    __abstract__ = True
    metadata = new_metadata()

class Agent(UUIDPrimaryKey, Timestamps, HostBase):
    __tablename__ = "agents"
    name: Mapped[str] = mapped_column(unique=True)
"""
ORDERS = """
from sqlalchemy.orm import Mapped
from infra.database import UUIDPrimaryKey
from {host}.modules.agents.models import HostBase

class Order(UUIDPrimaryKey, HostBase):
    __tablename__ = "orders"
    title: Mapped[str]
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "data")


@pytest.fixture
def opened(place: Place) -> Iterator[Callable[..., Any]]:
    resources: list[Any] = []

    def open_one(name: str = "main", **settings: object) -> Any:
        resources.append(SQLITE.open("database", place, name, **settings))
        return resources[-1]

    yield open_one
    for resource in resources:
        resource.close()


class Host:
    """A host application on disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.name
        self.source = Source(directory=folder.parent / "migrations", packages=[f"{self.name}.modules"])
        self.write("__init__.py", "")
        self.write("modules/__init__.py", "")

    def write(self, path: str, content: str) -> None:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content.replace("{host}", self.name))


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    name = f"host_{abs(hash(tmp_path))}"
    monkeypatch.syspath_prepend(str(tmp_path))
    host = Host(tmp_path / name)
    host.write("modules/agents/models.py", AGENTS)
    yield host
    for module in [module for module in sys.modules if module == name or module.startswith(name + ".")]:
        del sys.modules[module]


def tables(database: Any) -> set[str]:
    with database.engine.connect() as connection:
        return set(inspect(connection).get_table_names())


def test_models_become_a_revision_that_makes_their_tables(opened: Any, host: Host) -> None:
    database = opened()
    written = migrations.revision(database, "agents", source=host.source)
    assert written is not None
    assert written.parent == host.source.directory / "main"
    assert tables(database) <= {"alembic_version"}
    before = migrations.current(database, source=host.source)
    assert (before.revisions, before.pending, before.is_head) == ((), before.heads, False)

    assert migrations.upgrade(database, source=host.source) == before.heads
    assert tables(database) == {"agents", "alembic_version"}
    assert migrations.current(database, source=host.source).is_head
    assert migrations.check(database, source=host.source).ok
    assert migrations.revision(database, "nothing new", source=host.source) is None


def test_upgrading_again_does_nothing(opened: Any, host: Host) -> None:
    database = opened()
    migrations.revision(database, "agents", source=host.source)
    assert len(migrations.upgrade(database, source=host.source)) == 1
    assert migrations.upgrade(database, source=host.source) == ()


def test_downgrade_takes_back_what_upgrade_did_and_asks_before_it_drops(opened: Any, host: Host) -> None:
    database = opened()
    migrations.revision(database, "agents", source=host.source)
    migrations.upgrade(database, source=host.source)
    with pytest.raises(DropRefusedError, match="drop_table") as refused:
        migrations.downgrade(database, "base", source=host.source)
    assert "allow-drop" in str(refused.value.remedy)
    assert "agents" in tables(database)
    assert len(migrations.downgrade(database, "base", allow_drop=True, source=host.source)) == 1
    assert tables(database) == {"alembic_version"}


def test_an_upgrade_that_drops_is_refused_as_a_whole(opened: Any, host: Host) -> None:
    database = opened()
    migrations.revision(database, "agents", source=host.source)
    migrations.upgrade(database, source=host.source)
    harmless = migrations.revision(database, "note", autogenerate=False, source=host.source)
    assert harmless is not None
    harmless.write_text(harmless.read_text().replace("pass", 'op.execute("CREATE TABLE note (id INTEGER)")', 1))
    # autogenerate demands the head, so the next one follows by hand
    later = harmless.with_name("29990101_0000_drop.py")
    later.write_text(
        harmless.read_text()
        .replace('op.execute("CREATE TABLE note (id INTEGER)")', 'op.execute("drop  table note")')
        .replace(f"revision: str = {harmless_id(harmless)!r}", "revision: str = 'later'")
        .replace(
            "down_revision: str | Sequence[str] | None = ", f"down_revision: str | Sequence[str] | None = {harmless_id(harmless)!r}  # "
        )
    )
    with pytest.raises(DropRefusedError, match="drop table note"):
        migrations.upgrade(database, source=host.source)
    assert "note" not in tables(database)
    assert migrations.upgrade(database, allow_drop=True, source=host.source) == (harmless_id(harmless), "later")


def harmless_id(path: Path) -> str:
    return next(line for line in path.read_text().splitlines() if line.startswith("revision: str")).split("'")[1]


def test_a_removed_model_drops_its_own_table_and_never_a_stranger(opened: Any, host: Host) -> None:
    database = opened()
    host.write("modules/orders/models.py", ORDERS)
    migrations.revision(database, "both", source=host.source)
    migrations.upgrade(database, source=host.source)
    with database.engine.begin() as connection:
        connection.execute(text("CREATE TABLE stranger (id INTEGER)"))
    assert migrations.check(database, source=host.source).ok

    orders = sys.modules[f"{host.name}.modules.orders.models"]
    orders.HostBase.metadata.remove(orders.Order.__table__)
    drift = migrations.check(database, source=host.source)
    assert [problem.finding for problem in drift.problems] == [Finding.DRIFT]
    assert "orders" in drift.problems[0].message
    written = migrations.revision(database, "no orders", source=host.source)
    assert written is not None
    assert "stranger" not in written.read_text()
    with pytest.raises(DropRefusedError, match="orders"):
        migrations.upgrade(database, source=host.source)


def test_check_finds_drift_of_the_schema(opened: Any, host: Host) -> None:
    database = opened()
    migrations.revision(database, "agents", source=host.source)
    migrations.upgrade(database, source=host.source)
    with database.engine.begin() as connection:
        connection.execute(text("ALTER TABLE agents ADD COLUMN surprise TEXT"))
        connection.execute(text("ALTER TABLE agents DROP COLUMN updated_at"))
    problems = migrations.check(database, source=host.source).problems
    assert {problem.finding for problem in problems} == {Finding.DRIFT}
    assert any("agents.surprise" in problem.message for problem in problems)
    assert any("agents.updated_at is missing" in problem.message for problem in problems)
    assert all(problem.remedy for problem in problems)


def test_check_finds_a_revision_that_is_not_applied_and_two_heads(opened: Any, host: Host) -> None:
    database = opened()
    first = migrations.revision(database, "agents", source=host.source)
    assert first is not None
    findings = {problem.finding for problem in migrations.check(database, source=host.source).problems}
    assert findings == {Finding.MISSING_HEAD, Finding.DRIFT}
    migrations.upgrade(database, source=host.source)
    one = migrations.revision(database, "one", autogenerate=False, source=host.source)
    assert one is not None
    rival = one.with_name("rival.py")
    rival.write_text(one.read_text().replace(harmless_id(one), "rival"))
    assert Finding.MULTIPLE_HEADS in {problem.finding for problem in migrations.check(database, source=host.source).problems}
    with pytest.raises(MigrationError, match="head") as caught:
        migrations.upgrade(database, source=host.source)
    assert caught.value.remedy


def test_check_finds_a_models_module_that_nobody_registered(opened: Any, host: Host) -> None:
    database = opened()
    migrations.revision(database, "agents", source=host.source)
    migrations.upgrade(database, source=host.source)
    host.write("legacy/billing/models.py", "")  # not below the declared package, and its folders have no __init__.py
    problems = migrations.check(database, source=host.source).problems
    assert [problem.finding for problem in problems] == [Finding.UNREGISTERED_MODELS]
    assert f"{host.name}.legacy.billing.models" in problems[0].message


def test_every_models_module_below_a_declared_package_is_seen(opened: Any, host: Host) -> None:
    host.write("modules/orders/models/deep.py", ORDERS)  # a package without __init__.py, which imports nothing
    written = migrations.revision(opened(), "all", source=host.source)
    assert written is not None
    assert "create_table('orders'" in written.read_text().replace('"', "'")


def test_models_that_cannot_be_imported_are_an_error_with_a_remedy(opened: Any, host: Host) -> None:
    host.write("modules/broken/models.py", "import does_not_exist_anywhere")
    with pytest.raises(ConfigurationError, match=r"broken\.models") as caught:
        migrations.revision(opened(), "broken", source=host.source)
    assert caught.value.remedy
    with pytest.raises(ConfigurationError, match="no package nowhere_at_all"):
        migrations.check(opened(), source=Source(packages=["nowhere_at_all"]))


def test_models_are_taken_from_references_too(opened: Any, host: Host) -> None:
    source = Source(directory=host.source.directory, models=[f"{host.name}.modules.agents.models:HostBase"])
    assert migrations.revision(opened(), "agents", source=source) is not None
    with pytest.raises(ConfigurationError, match="Nothing"):
        migrations.check(opened(), source=Source(models=[f"{host.name}.modules.agents.models:Nothing"]))


def test_each_named_database_has_its_own_lineage_models_and_version_table(opened: Any, host: Host) -> None:
    host.write("modules/garmin/models.py", AGENTS.replace("new_metadata()", 'new_metadata("garmin")').replace("agents", "rides"))
    main, garmin = opened(), opened("garmin")
    for database in (main, garmin):
        migrations.revision(database, "first", source=host.source)
        migrations.upgrade(database, source=host.source)
    assert tables(main) == {"agents", "alembic_version"}
    assert tables(garmin) == {"rides", "alembic_version_garmin"}
    assert sorted(path.name for path in host.source.directory.iterdir()) == ["garmin", "main"]


def test_an_external_database_is_compared_and_never_changed(opened: Any, host: Host) -> None:
    database = opened(migrations="external")
    for change in (migrations.upgrade, migrations.downgrade, lambda *a, **k: migrations.revision(*a, "x", **k)):
        with pytest.raises(ConfigurationError, match="external") as caught:
            change(database, source=host.source)
        assert caught.value.remedy
    assert [problem.finding for problem in migrations.check(database, source=host.source).problems] == [Finding.DRIFT]
    assert tables(database) == set()


def test_without_a_lineage_upgrade_says_what_to_do(opened: Any, tmp_path: Path) -> None:
    with pytest.raises(MigrationError, match="no lineage") as caught:
        migrations.upgrade(opened(), source=Source(directory=tmp_path / "none"))
    assert caught.value.remedy


MIGRATOR = """
import sys
from pathlib import Path
from infra.database import migrations
from infra_testing.harness import Harness, Place

database = Harness("sqlite").open("database", Place(Path(sys.argv[1])))
print("ready", flush=True)
sys.stdin.readline()
print(len(migrations.upgrade(database, source=migrations.Source(directory=Path(sys.argv[2])))))
database.close()
"""


def test_two_migrators_at_once_migrate_once(opened: Any, host: Host, place: Place) -> None:
    database = opened()
    written = migrations.revision(database, "agents", source=host.source)
    assert written is not None
    # long enough that the second one comes while the first is at work
    slow = "op.execute('WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) SELECT count(*) FROM n')"
    written.write_text(written.read_text().replace("def upgrade() -> None:\n", f"def upgrade() -> None:\n    {slow}\n"))
    command = [sys.executable, "-c", MIGRATOR, str(place.data_dir), str(host.source.directory)]
    migrators = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for migrator in migrators:
        assert migrator.stdout is not None
        assert migrator.stdout.readline() == "ready\n"
    for migrator in migrators:
        assert migrator.stdin is not None
        migrator.stdin.write("\n")
        migrator.stdin.flush()
    counts = sorted(int(migrator.communicate(timeout=150)[0]) for migrator in migrators)
    assert [migrator.returncode for migrator in migrators] == [0, 0]
    assert counts == [0, 1]
    assert tables(database) == {"agents", "alembic_version"}
