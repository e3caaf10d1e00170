# Generated from test_outage_async.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""While the provider is down the host works on, and nothing that was to go comes back afterwards."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.cache import MISS, Cache, CacheUnavailableError
from infra.runtime.threads import sleep
from infra_testing.conformance.cache.minimal import MinimalCacheDriver
from infra_testing.harness import Harness, Place

PATIENCE = 60.0
MINIMAL = Harness("minimal", plugin="infra_testing.conformance.cache.minimal", settings={"probe_interval": 0.02, "tombstones": 5})


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Cache]:
    opened: Cache = MINIMAL.open("cache", Place(tmp_path))
    yield opened
    opened.close()


@pytest.fixture
def server(cache: Cache) -> MinimalCacheDriver:
    return cache.unwrap(MinimalCacheDriver)


def recovered(cache: Cache) -> None:
    until = time.monotonic() + PATIENCE
    while cache.stats().degraded:
        assert time.monotonic() < until, "the breaker did not close"
        sleep(0.005)


def test_reads_miss_and_writes_return_false(cache: Cache, server: MinimalCacheDriver) -> None:
    cache.set("key", 1)
    server.down = True
    assert cache.get("key", MISS) is MISS
    assert cache.get_many(["key"]) == {}
    assert not cache.exists("key")
    assert not cache.set("key", 2)
    assert not cache.set_many({"key": 2})
    assert not cache.add("other", 2)
    assert not cache.replace("key", 2)
    assert not cache.delete("key")
    assert not cache.touch("key")
    assert not cache.clear()
    assert not cache.invalidate_tags(["tag"])
    assert cache.stats().degraded


def test_what_must_be_right_raises(cache: Cache, server: MinimalCacheDriver) -> None:
    server.down = True
    with pytest.raises(CacheUnavailableError) as caught:
        cache.incr("count")
    assert isinstance(caught.value.__cause__, ConnectionError)
    assert caught.value.resource == "cache.main"
    assert caught.value.retryable
    assert caught.value.remedy
    with pytest.raises(CacheUnavailableError):
        cache.cas("key", MISS, 1)
    with pytest.raises(CacheUnavailableError):
        cache.lock("door").acquire()


def test_the_first_failure_spares_the_server_all_further_calls_but_probes(tmp_path: Path) -> None:
    cache: Cache = MINIMAL.open("cache", Place(tmp_path), probe_interval=3600.0)
    server = cache.unwrap(MinimalCacheDriver)
    server.down = True
    cache.get("key")
    calls = server.calls
    for _ in range(50):
        cache.get("key")
        cache.set("key", 1)
        cache.delete("key")
    assert server.calls == calls
    assert cache.stats().failures > 100
    cache.close()


def test_values_are_computed_without_the_cache(cache: Cache, server: MinimalCacheDriver) -> None:
    server.down = True
    calls: list[int] = []

    def factory() -> int:
        calls.append(1)
        return len(calls)

    assert [cache.get_or_set("key", factory), cache.get_or_set("key", factory)] == [1, 2]


def test_a_value_computed_while_the_server_went_down_still_reaches_its_caller(cache: Cache, server: MinimalCacheDriver) -> None:
    def factory() -> str:
        server.down = True
        return "computed"

    assert cache.get_or_set("key", factory) == "computed"
    server.down = False
    recovered(cache)
    assert cache.get("key", MISS) is MISS


@pytest.mark.parametrize(("policy", "allowed"), [("allow", True), ("deny", False)])
def test_a_limiter_follows_its_policy(tmp_path: Path, policy: str, allowed: bool) -> None:
    cache: Cache = MINIMAL.open("cache", Place(tmp_path), limiter_policy=policy)
    cache.unwrap(MinimalCacheDriver).down = True
    assert (cache.limiter("calls", 1, 5).acquire()).allowed is allowed
    cache.close()


def test_a_limiter_may_raise(tmp_path: Path) -> None:
    cache: Cache = MINIMAL.open("cache", Place(tmp_path), limiter_policy="raise")
    cache.unwrap(MinimalCacheDriver).down = True
    with pytest.raises(CacheUnavailableError):
        cache.limiter("calls", 1, 5).acquire()
    cache.close()


def test_deletes_and_writes_that_failed_are_made_up_for_before_anything_is_read(cache: Cache, server: MinimalCacheDriver) -> None:
    cache.set_many({"deleted": 1, "written": 1, "untouched": 1})
    server.down = True
    cache.delete("deleted")
    cache.set("written", 2)
    assert cache.stats().tombstones == 2
    server.down = False
    recovered(cache)
    assert cache.get_many(["deleted", "written", "untouched"]) == {"untouched": 1}
    assert cache.stats().tombstones == 0
    assert cache.set("written", 3)
    assert cache.get("written") == 3


def test_too_many_tombstones_invalidate_the_namespace_and_no_other(cache: Cache, server: MinimalCacheDriver) -> None:
    crowded, other = cache.namespace("crowded"), cache.namespace("other")
    crowded.set("survivor", 1)
    other.set("survivor", 1)
    server.down = True
    for number in range(10):
        crowded.delete(f"key-{number}")
    assert cache.stats().tombstones == 1
    server.down = False
    recovered(cache)
    assert crowded.get("survivor", MISS) is MISS
    assert other.get("survivor") == 1


def test_a_clear_and_an_invalidation_that_failed_are_made_up_for(cache: Cache, server: MinimalCacheDriver) -> None:
    cleared = cache.namespace("cleared")
    cleared.set("key", 1)
    cache.set("tagged", 1, tags=["tag"])
    cache.set("key", 1)
    server.down = True
    cleared.clear()
    cache.invalidate_tags(["tag"])
    server.down = False
    recovered(cache)
    assert cleared.get("key", MISS) is MISS
    assert cache.get_many(["tagged", "key"]) == {"key": 1}


def test_a_delete_of_what_was_never_seen_invalidates_everything(tmp_path: Path) -> None:
    place = Place(tmp_path)
    writer: Cache = MINIMAL.open("cache", place)
    writer.set("key", 1)
    late: Cache = MINIMAL.open("cache", place)
    late.unwrap(MinimalCacheDriver).down = True
    assert not late.delete("key")
    late.unwrap(MinimalCacheDriver).down = False
    recovered(late)
    assert late.get("key", MISS) is MISS
    late.close()
    writer.close()
