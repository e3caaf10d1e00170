"""Processes and threads that write the same key at the same time: ``python -m infra_testing.conformance.storage.contenders '{...}'``."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.storage import Bucket, ObjectExistsError, ObjectNotFoundError, PreconditionFailedError
from infra_testing.harness import Harness, Place


@dataclass(frozen=True)
class Contest:
    """What the contenders do.

    Args:
        harness: The provider under test.
        place: Where its resources live.
        action: ``create``, ``increment`` or ``exists``.
        key: The key that they share.
        processes: How many processes.
        threads: How many threads in each.
        rounds: How often each thread acts.
    """

    harness: Harness
    place: Place
    action: str
    key: str
    processes: int = 4
    threads: int = 8
    rounds: int = 1

    def run(self) -> list[int]:
        """Start all processes, let them go at the same moment, and return how often each had success."""
        order = json.dumps(
            {
                "provider": self.harness.provider,
                "plugin": self.harness.plugin,
                "settings": dict(self.harness.values()),
                "data_dir": str(self.place.data_dir),
                "action": self.action,
                "key": self.key,
                "threads": self.threads,
                "rounds": self.rounds,
            }
        )
        command = [sys.executable, "-m", __name__, order]
        running = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603
            for _ in range(self.processes)
        ]
        try:
            for process in running:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
            for process in running:
                assert process.stdin is not None
                process.stdin.write("go\n")
                process.stdin.flush()
            return [int(process.communicate(timeout=60)[0]) for process in running]
        finally:
            for process in running:
                process.kill()
                process.communicate()


def _create(bucket: Any, key: str) -> bool:
    try:
        bucket.put(key, b"mine", mode="create")
    except ObjectExistsError:
        return False
    return True


def _increment(bucket: Any, key: str) -> bool:
    info = bucket.head(key)
    try:
        value = int(bucket.get(key, if_match=info.etag))
        bucket.put(key, b"%d" % (value + 1), mode=info.etag)
    except PreconditionFailedError:
        return False
    return True


def _exists(bucket: Any, key: str) -> bool:
    try:
        return bucket.get(key) is not None
    except ObjectNotFoundError:
        return False


_ACTIONS: Mapping[str, Callable[[Any, str], bool]] = {"create": _create, "increment": _increment, "exists": _exists}


class _OverLoop:
    """The blocking calls of this module over an asyncio bucket, for providers that have no blocking driver."""

    def __init__(self, harness: Harness, place: Place) -> None:
        self._loop = asyncio.new_event_loop()
        ThreadPoolExecutor(1, thread_name_prefix="loop").submit(self._loop.run_forever)
        self._bucket = self._run(harness.open_async("storage", place))

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *args, **options: self._run(getattr(self._bucket, name)(*args, **options))

    def close(self) -> None:
        self._run(self._bucket.close())
        self._loop.call_soon_threadsafe(self._loop.stop)


def main() -> None:
    """One process: prints ``ready``, waits for a line, acts, prints how often it had success."""
    order = json.loads(sys.argv[1])
    harness = Harness(order["provider"], order["settings"], order["plugin"])
    place = Place(Path(order["data_dir"]))
    has_blocking = harness.descriptor("storage").open is not None
    bucket: Bucket | _OverLoop = harness.open("storage", place) if has_blocking else _OverLoop(harness, place)
    act = _ACTIONS[order["action"]]
    with ThreadPoolExecutor(order["threads"]) as pool:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        acts = [pool.submit(act, bucket, order["key"]) for _ in range(order["threads"] * order["rounds"])]
        wins = [done.result() for done in acts]
    bucket.close()
    sys.stdout.write(f"{sum(wins)}\n")


if __name__ == "__main__":
    main()
