"""What the suite runs in processes of their own. Each function opens the provider anew, through the blocking door.

A provider that serves asyncio only has that door over an event loop in a thread, so that its asyncio suite suffices.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from infra.cache import MISS, Cache
from infra_testing.conformance.base.processes import PATIENCE, fork_server
from infra_testing.harness import Harness, Place


def run_in_processes(count: int, task: Callable[..., Any], harness: Harness, place: Place, *args: object) -> list[Any]:
    """The results of ``task(cache, place, number, *args)`` in `count` new processes at once."""
    portable = harness.portable()
    with ProcessPoolExecutor(count, mp_context=fork_server()) as pool:
        futures = [pool.submit(_run, task, portable, place.data_dir, number, *args) for number in range(count)]
        return [future.result(PATIENCE) for future in futures]


def _run(task: Callable[..., Any], harness: Harness, data_dir: Path, number: int, *args: object) -> Any:
    cache: Cache = harness.open("cache", Place(data_dir))
    try:
        return task(cache, Place(data_dir), number, *args)
    finally:
        cache.close()


def compute(cache: Cache, place: Place, number: int, count: int, callers: int) -> list[Any]:
    """Meet the other processes, then ask for one value from many threads. Each computation leaves a byte in ``computed``."""
    meeting = place.data_dir / "meeting"
    meeting.mkdir(parents=True, exist_ok=True)
    (meeting / str(number)).touch()
    until = time.monotonic() + PATIENCE
    while len(list(meeting.iterdir())) < count and time.monotonic() < until:
        time.sleep(0.005)

    def caller(_: int) -> Any:
        return cache.get_or_set("expensive", factory)

    def factory() -> str:
        with (place.data_dir / "computed").open("ab") as file:
            file.write(b"x")
        time.sleep(0.2)
        return "value"

    with ThreadPoolExecutor(callers) as pool:
        return list(pool.map(caller, range(callers)))


def read(cache: Cache, _place: Place, _number: int, key: str) -> Any:
    """The value of `key`, ``"absent"`` when there is none."""
    value = cache.get(key, MISS)
    return "absent" if value is MISS else value


def invalidate(cache: Cache, _place: Place, _number: int, tag: str) -> bool:
    """Invalidate a tag."""
    return cache.invalidate_tags([tag])


def admit(cache: Cache, _place: Place, _number: int, rate: float, burst: int, attempts: int) -> int:
    """How many of `attempts` a limiter admits."""
    limiter = cache.limiter("shared", rate, burst)
    return sum(limiter.acquire().allowed for _ in range(attempts))
