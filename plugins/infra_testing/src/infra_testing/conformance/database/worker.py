"""Processes of the suite's own, which end by being killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from infra.database.outbox import Relay
from infra.queue.model import Message
from infra_testing.conformance.base.processes import Child
from infra_testing.conformance.database.tables import Owner
from infra_testing.harness import Harness, Place


class FatalQueue:
    """Writes what it publishes to a file, and takes the process down before it answers."""

    def __init__(self, ledger: Path) -> None:
        self.ledger = ledger

    def publish_many(self, messages: Sequence[Message], *, timeout: float | None = None) -> list[object]:
        """As the portable queue, with a power failure after the work."""
        with self.ledger.open("a") as file:
            for message in messages:
                file.write(message.body.decode() + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.kill(os.getpid(), signal.SIGKILL)
        return []


def start_worker(harness: Harness, place: Place, ledger: Path | None = None) -> Child:
    """A process that writes half a transaction and says ``written``; with a ledger, one whose relay dies after publishing there."""
    return Child(_work, Harness(harness.provider, dict(harness.values()), harness.plugin), place.data_dir, ledger)


def _work(wire: Connection, harness: Harness, data_dir: Path, ledger: Path | None) -> None:
    database = harness.open("database", Place(data_dir))
    if ledger is not None:
        Relay(database, lambda _: FatalQueue(ledger)).step()
        return
    with database.session() as session:
        session.add_all([Owner(id=number, name=f"half {number}") for number in range(100)])
        session.flush()
        wire.send("written")
        wire.recv()
