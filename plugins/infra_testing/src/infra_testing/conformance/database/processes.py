"""Starting the worker."""

from __future__ import annotations

import json
import subprocess
import sys

from infra_testing.harness import Harness, Place


def start_worker(harness: Harness, place: Place, work: str, **order: str) -> subprocess.Popen[str]:
    """The worker's process, with pipes to and from it."""
    place.data_dir.mkdir(parents=True, exist_ok=True)
    full = {
        "work": work,
        "provider": harness.provider,
        "settings": dict(harness.values()),
        "plugin": harness.plugin,
        "data_dir": str(place.data_dir),
        **order,
    }
    command = [sys.executable, "-m", "infra_testing.conformance.database.worker", json.dumps(full)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603  (our own worker)
