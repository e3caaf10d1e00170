from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect, text

from infra.database import StatementError, inbox, migrations, outbox
from infra.database.migrations import DropRefusedError, Finding, MigrationError, Source
from infra.errors import ConfigurationError, ErrorCode
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
from infra.database import StatementError, inbox, migrations, outbox
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


def test_a_statement_that_no_file_shows_is_refused_when_it_comes(opened: Any, host: Host) -> None:
    database = opened()
    with database.engine.begin() as connection:
        connection.execute(text("CREATE TABLE note (id INTEGER)"))
    written = migrations.revision(database, "hidden", autogenerate=False, source=host.source)
    assert written is not None
    hidden = 'op.execute("CREATE TABLE made (id INTEGER)"); op.execute(" ".join(["DROP", "TABLE", "note"]))'
    written.write_text(written.read_text().replace("pass", hidden, 1))
    with pytest.raises(DropRefusedError, match="DROP TABLE note") as refused:
        migrations.upgrade(database, source=host.source)
    assert "allow-drop" in str(refused.value.remedy)
    assert (tables(database), migrations.current(database, source=host.source).revisions) == ({"note"}, ())
    assert len(migrations.upgrade(database, allow_drop=True, source=host.source)) == 1
    assert tables(database) == {"alembic_version", "made"}


FAMILY = """
CREATE TABLE parent (id INTEGER PRIMARY KEY, name VARCHAR(20), size INTEGER NOT NULL,
  boss INTEGER REFERENCES parent (id) ON DELETE CASCADE);
CREATE TABLE cascades (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parent (id) ON DELETE CASCADE);
CREATE TABLE nulls (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parent (id) ON DELETE SET NULL);
CREATE TABLE presets (id INTEGER PRIMARY KEY, parent INTEGER DEFAULT 2 REFERENCES parent (id) ON DELETE SET DEFAULT);
INSERT INTO parent VALUES (1, 'Ada', 1, NULL); INSERT INTO parent VALUES (2, 'Bob', 2, 1);
INSERT INTO cascades VALUES (1, 1); INSERT INTO nulls VALUES (1, 1); INSERT INTO presets VALUES (1, 1)
"""


@pytest.mark.parametrize(
    ("move", "allow_drop"),
    [
        ("alter_column('name', existing_type=sa.String(20), type_=sa.String(40))", False),
        ("alter_column('name', new_column_name='title')", False),
        ("alter_column('size', existing_type=sa.Integer(), nullable=True)", False),
        ("alter_column('size', existing_type=sa.Integer(), server_default='1')", False),
        ("create_check_constraint('positive', 'size > 0')", False),
        ("create_unique_constraint('one_name', ['name'])", False),
        ("drop_column('name')", True),
    ],
)
@pytest.mark.parametrize("direction", ["upgrade", "downgrade"])
@pytest.mark.parametrize("path", [None, ":memory:"])
def test_a_batch_move_keeps_the_rows_that_refer_to_the_table(
    opened: Any, host: Host, move: str, allow_drop: bool, direction: str, path: str | None
) -> None:
    database = opened(**({"path": path} if path else {}))
    with database.engine.begin() as connection:
        for statement in FAMILY.split(";"):
            connection.execute(text(statement))
    written = migrations.revision(database, "move", autogenerate=False, source=host.source)
    assert written is not None
    body = f"with op.batch_alter_table('parent') as batch_op: batch_op.{move}"
    head, middle, tail = written.read_text().partition(f"def {direction}")
    written.write_text(head + middle + tail.replace("pass", body, 1))
    migrations.upgrade(database, allow_drop=allow_drop, source=host.source)
    if direction == "downgrade":
        migrations.downgrade(database, allow_drop=allow_drop, source=host.source)
    with database.engine.connect() as connection:
        assert connection.execute(text("SELECT boss FROM parent ORDER BY id")).scalars().all() == [None, 1]
        for table in ("cascades", "nulls", "presets"):
            assert connection.execute(text(f"SELECT parent FROM {table}")).scalars().all() == [1]
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_a_revision_that_leaves_rows_without_what_they_refer_to_is_taken_back(opened: Any, host: Host) -> None:
    database = opened()
    with database.engine.begin() as connection:
        for statement in FAMILY.split(";"):
            connection.execute(text(statement))
    written = migrations.revision(database, "orphans", autogenerate=False, source=host.source)
    assert written is not None
    written.write_text(written.read_text().replace("pass", 'op.execute("DELETE FROM parent WHERE id = 1")', 1))
    with pytest.raises(MigrationError, match="1 of cascades to parent") as caught:
        migrations.upgrade(database, allow_drop=True, source=host.source)
    assert "refer" in str(caught.value.remedy)
    with database.engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM parent")).scalar() == 2
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    assert not migrations.current(database, source=host.source).revisions


CUSTOM = """
from typing import Any
import sqlalchemy as sa
from infra.database import new_metadata

class Money(sa.TypeDecorator):
    impl, cache_ok = sa.Numeric(12, 2), True

class AutoString(sa.TypeDecorator):
    impl, cache_ok = sa.String, True

class Outer:
    class Tag(sa.TypeDecorator):
        impl, cache_ok = sa.String(9), True
        def __init__(self, owner: str) -> None:
            super().__init__()

class Vector(sa.types.UserDefinedType):
    cache_ok = True
    def __init__(self, dim: int) -> None:
        self.dim = dim
    def get_col_spec(self, **kw: Any) -> str:
        return f"VECTOR({self.dim})"

def local() -> type:
    class Hidden(sa.TypeDecorator):
        impl, cache_ok = sa.String(7), True
    return Hidden

def lost() -> Any:
    class Nowhere(Vector):
        pass
    return Nowhere(3)

metadata = new_metadata()
TYPE = sa.Integer()
"""


@pytest.mark.parametrize(
    ("kind", "text_"),
    [
        ("Money", "{module}.Money(precision=12, scale=2)"),
        ("AutoString(length=50)", "{module}.AutoString(length=50)"),
        ("Outer.Tag('x')", "sa.String(length=9)"),
        ("Vector(3)", "{module}.Vector(3)"),
        ("local()", "sa.String(length=7)"),
        (
            "sa.String(5).with_variant(Money(), 'oracle')",
            "sa.String(length=5).with_variant({module}.Money(precision=12, scale=2), 'oracle')",
        ),
        ("Money().with_variant(sa.Float(), 'oracle')", "{module}.Money(precision=12, scale=2).with_variant(sa.Float(), 'oracle')"),
    ],
)
def test_types_of_a_hosts_own_come_with_their_import(opened: Any, host: Host, kind: str, text_: str) -> None:
    host.write("modules/shop/models.py", CUSTOM + f"sa.Table('bill', metadata, sa.Column('total', {kind}))\n")
    database, module = opened(), f"{host.name}.modules.shop.models"
    written = migrations.revision(database, "bill", source=host.source)
    assert written is not None
    content = written.read_text()
    assert text_.format(module=module) in content
    assert (f"import {module}" in content) is ("{module}" in text_)
    migrations.upgrade(database, source=host.source)
    assert "bill" in tables(database)
    if kind != "Vector(3)":  # SQLite cannot tell such a type
        assert migrations.check(database, source=host.source).ok


def test_a_type_that_cannot_be_made_again_is_an_error_that_names_it(opened: Any, host: Host) -> None:
    host.write("modules/shop/models.py", CUSTOM + "sa.Table('bill', metadata, sa.Column('total', lost()))\n")
    with pytest.raises(MigrationError, match="Nowhere") as caught:
        migrations.revision(opened(), "bill", source=host.source)
    assert "top of a module" in str(caught.value.remedy)


@pytest.mark.parametrize(
    "act", [lambda session: outbox.publish(session, queue="q", body=b"x", key="k"), lambda session: inbox.once(session, "id")]
)
def test_missing_tables_of_the_outbox_name_how_to_get_them(opened: Any, act: Callable[[Any], object]) -> None:
    with pytest.raises(StatementError, match=r"outbox\.include") as caught, opened().session() as session:
        act(session)
    assert caught.value.code == ErrorCode.CONFIGURATION
