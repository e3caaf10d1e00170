"""The models of the migration cases, and a migrator as a process of its own."""

from __future__ import annotations

from multiprocessing.connection import Connection
from pathlib import Path

from sqlalchemy import Column, Integer, MetaData, String, Table, Uuid

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


def source(directory: Path) -> Source:
    """The lineage of the suite."""
    return Source(directory=directory, models=["infra_testing.conformance.database.migrator:metadata"], version_table=VERSION_TABLE)


def start_migrator(harness: Harness, place: Place, directory: Path) -> Child:
    """A process that says that it is ready, waits for a word, upgrades, and says how many revisions it applied."""
    return Child(_migrate, Harness(harness.provider, dict(harness.values()), harness.plugin), place.data_dir, directory)


def _migrate(wire: Connection, harness: Harness, data_dir: Path, directory: Path) -> None:
    database = harness.open("database", Place(data_dir))
    wire.send("ready")
    wire.recv()
    wire.send(len(upgrade(database, source=source(directory))))
    database.close()
