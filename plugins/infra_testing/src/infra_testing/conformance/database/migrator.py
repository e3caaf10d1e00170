"""The models of the migration cases, and a migrator as a process of its own."""

from __future__ import annotations

from multiprocessing.connection import Connection as Wire
from pathlib import Path

from sqlalchemy import CheckConstraint, Column, Connection, Enum, ForeignKeyConstraint, Integer, MetaData, String, Table, Uuid

from infra.database.migrations import Source, upgrade
from infra.database.models import UTCDateTime, new_metadata
from infra_testing.conformance.base.processes import Child
from infra_testing.harness import Harness, Place

metadata: MetaData = new_metadata()
Table(
    "suite_migrated",
    metadata,
    Column("id", Uuid(), primary_key=True),
    Column("name", String(50), nullable=False, unique=True),
    Column("size", Integer()),
    Column("made_at", UTCDateTime(), nullable=False),
)
VERSION_TABLE = "suite_alembic_version"
shapes: dict[str, MetaData] = {}


def source(directory: Path) -> Source:
    """The lineage of the suite."""
    return Source(directory=directory, models=["infra_testing.conformance.database.migrator:metadata"], version_table=VERSION_TABLE)


def shaped(
    directory: Path,
    *,
    default: str = "5",
    rule: str = "size > 0",
    column_rule: str = "weight < 7",
    key: str = "id",
    ondelete: str | None = None,
    enum: str | None = None,
) -> Source:
    """A lineage in `directory` for two tables that differ in what is given; `enum` holds the members of one that both tables have."""
    name = f"shape_{len(shapes)}"
    shapes[name] = models = new_metadata()
    members = [] if enum is None else enum.split()
    state = Enum(*members, name="suite_state")
    states = [[Column("state", state)] if members else [] for _ in range(2)]
    Table(
        "suite_shaped",
        models,
        Column("id", Integer(), primary_key=key == "id", autoincrement=False, nullable=False, unique=key != "id"),
        Column("name", String(50), primary_key=key == "name", nullable=False),
        Column("size", Integer(), server_default=default, nullable=False),
        Column("weight", Integer(), CheckConstraint(column_rule, name="weight")),
        *states[0],
        CheckConstraint(rule, name="size"),
    )
    Table("suite_shaped_part", models, Column("id", Integer(), primary_key=True), Column("whole", Integer()), *states[1]).append_constraint(
        ForeignKeyConstraint(["whole"], ["suite_shaped.id"], ondelete=ondelete)
    )
    reference = f"infra_testing.conformance.database.migrator:{name}"
    globals()[name] = models
    return Source(directory=directory / "migrations", models=[reference], version_table=VERSION_TABLE)


def clear_shaped(connection: Connection) -> None:
    """Drop the tables of `shaped`, and their enum."""
    for table in ("suite_shaped_part", "suite_shaped"):
        connection.exec_driver_sql(f"DROP TABLE IF EXISTS {table}")
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("DROP TYPE IF EXISTS suite_state")


def start_migrator(harness: Harness, place: Place, directory: Path) -> Child:
    """A process that says that it is ready, waits for a word, upgrades, and says how many revisions it applied."""
    return Child(_migrate, Harness(harness.provider, dict(harness.values()), harness.plugin), place.data_dir, directory)


def _migrate(wire: Wire, harness: Harness, data_dir: Path, directory: Path) -> None:
    database = harness.open("database", Place(data_dir))
    wire.send("ready")
    wire.recv()
    wire.send(len(upgrade(database, source=source(directory))))
    database.close()
