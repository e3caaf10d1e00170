"""Processes and threads that write the same key at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from infra.storage import Bucket, ObjectExistsError, ObjectNotFoundError, PreconditionFailedError
from infra_testing.conformance.base.processes import Child
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
        harness = Harness(self.harness.provider, dict(self.harness.values()), self.harness.plugin)
        with ExitStack() as stack:
            order = (harness, self.place.data_dir, self.action, self.key, self.threads, self.rounds)
            running = [stack.enter_context(Child(_contend, *order)) for _ in range(self.processes)]
            assert [process.receive() for process in running] == ["ready"] * self.processes
            for process in running:
                process.send("go")
            return [process.receive() for process in running]


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


def _contend(wire: Connection, harness: Harness, data_dir: Path, action: str, key: str, threads: int, rounds: int) -> None:
    """One process: says ``ready``, waits for a word, acts, says how often it had success."""
    place = Place(data_dir)
    has_blocking = harness.descriptor("storage").open is not None
    bucket: Bucket | _OverLoop = harness.open("storage", place) if has_blocking else _OverLoop(harness, place)
    act = _ACTIONS[action]
    with ThreadPoolExecutor(threads) as pool:
        wire.send("ready")
        wire.recv()
        acts = [pool.submit(act, bucket, key) for _ in range(threads * rounds)]
        wins = [done.result() for done in acts]
    bucket.close()
    wire.send(sum(wins))
