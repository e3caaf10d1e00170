# Generated from test_batching_async.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""Gets that are asked for at the same time travel together."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from infra.cache import Cache
from infra.runtime.threads import Event, gather, sleep, wait_for
from infra_testing.harness import Harness, Place

MINIMAL = Harness("minimal", plugin="infra_testing.conformance.cache.minimal")


class SlowReads:
    """Stands before a driver's ``get_many``, holds it until the gate is open and remembers what was asked."""

    def __init__(self, cache: Cache) -> None:
        self.asked: list[Sequence[str]] = []
        self.gate = Event()
        self._get_many = cache.driver.get_many
        cache.driver.get_many = self.get_many  # type: ignore[method-assign]

    def get_many(self, keys: Sequence[str], timeout: float) -> list[bytes | None]:
        self.asked.append(keys)
        wait_for(self.gate, 60)
        return self._get_many(keys, timeout)


def at_once(cache: Cache, reads: SlowReads, keys: list[str]) -> list[object]:
    """Get each key; the gate opens once all have been asked for."""
    coming: list[str] = []

    def get(key: str) -> object:
        coming.append(key)
        return cache.get(key)

    def open_gate() -> None:
        until = time.monotonic() + 60
        while len(coming) < len(keys) and time.monotonic() < until:
            sleep(0.005)
        sleep(0.05)
        reads.gate.set()

    return (gather(*[partial(get, key) for key in keys], open_gate))[:-1]


@pytest.mark.parametrize(("batch", "most"), [(100, 10), (1, 60)])
def test_concurrent_gets_travel_as_one_where_batching_is_on(tmp_path: Path, batch: int, most: int) -> None:
    cache: Cache = MINIMAL.open("cache", Place(tmp_path), batch=batch)
    cache.set_many({f"key-{number}": number for number in range(50)})
    reads = SlowReads(cache)
    if batch == 1:
        cache._link._get_many = reads.get_many  # bound when the cache was opened
    values = at_once(cache, reads, [f"key-{number}" for number in range(50)])
    assert values == list(range(50))
    assert len(reads.asked) <= most
    assert (len(reads.asked) >= 50) is (batch == 1)
    assert all(len(set(keys)) == len(keys) for keys in reads.asked)
    cache.close()


def test_the_same_key_asked_for_twice_travels_once(tmp_path: Path) -> None:
    cache: Cache = MINIMAL.open("cache", Place(tmp_path))
    cache.set("key", [1])
    reads = SlowReads(cache)
    values = at_once(cache, reads, ["key"] * 20)
    assert values == [[1]] * 20
    assert len({id(value) for value in values}) == 20
    assert all(len(keys) == 2 for keys in reads.asked)
    cache.close()
