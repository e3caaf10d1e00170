"""The models of the migration cases, and a migrator as a process of its own: ``python -m ...database.migrator JSON``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Integer, MetaData, String, Table, Uuid

from infra.database.migrations import Source, upgrade
from infra.database.models import UTCDateTime, new_metadata
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


def start_migrator(harness: Harness, place: Place, directory: Path) -> subprocess.Popen[str]:
    """A process that says that it is ready, waits for a line, upgrades, and prints how many revisions it applied."""
    order = {
        "provider": harness.provider,
        "settings": dict(harness.values()),
        "plugin": harness.plugin,
        "data_dir": str(place.data_dir),
        "directory": str(directory),
    }
    command = [sys.executable, "-m", "infra_testing.conformance.database.migrator", json.dumps(order)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own program


def main(order: dict[str, Any]) -> None:
    """Upgrade when told to."""
    database = Harness(order["provider"], order["settings"], plugin=order["plugin"]).open("database", Place(Path(order["data_dir"])))
    print("ready", flush=True)  # noqa: T201 - the suite waits for it
    sys.stdin.readline()
    print(len(upgrade(database, source=source(Path(order["directory"])))))  # noqa: T201 - the suite reads it
    database.close()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
