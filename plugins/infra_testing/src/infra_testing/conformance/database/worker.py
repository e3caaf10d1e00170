"""A process of its own for the suite: ``python -m infra_testing.conformance.database.worker JSON``. It ends by being killed."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from infra.database.outbox import Relay
from infra.queue.model import Message
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


def main(order: dict[str, Any]) -> None:
    """Do what the suite asks for."""
    harness = Harness(order["provider"], order["settings"], plugin=order["plugin"])
    database = harness.open("database", Place(Path(order["data_dir"])))
    if order["work"] == "half a transaction":
        with database.session() as session:
            session.add_all([Owner(id=number, name=f"half {number}") for number in range(100)])
            session.flush()
            print("written", flush=True)  # noqa: T201 - the suite waits for it
            sys.stdin.read()
    else:
        Relay(database, lambda _: FatalQueue(Path(order["ledger"]))).step()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
