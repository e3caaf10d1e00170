"""While the provider is down the host works on, and nothing that was to go comes back afterwards."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from infra.cache import MISS, AsyncCache, CacheUnavailableError
from infra.runtime.aio import sleep
from infra_testing.conformance.cache.minimal import MinimalCacheDriver
from infra_testing.harness import Harness, Place

PATIENCE = 60.0
MINIMAL = Harness("minimal", plugin="infra_testing.conformance.cache.minimal", settings={"probe_interval": 0.02, "tombstones": 5})


@pytest_asyncio.fixture
async def cache(tmp_path: Path) -> AsyncIterator[AsyncCache]:
    opened: AsyncCache = await MINIMAL.open_async("cache", Place(tmp_path))
    yield opened
    await opened.close()


@pytest.fixture
def server(cache: AsyncCache) -> MinimalCacheDriver:
    return cache.unwrap(MinimalCacheDriver)


async def recovered(cache: AsyncCache) -> None:
    until = time.monotonic() + PATIENCE
    while cache.stats().degraded:
        assert time.monotonic() < until, "the breaker did not close"
        await sleep(0.005)


async def test_reads_miss_and_writes_return_false(cache: AsyncCache, server: MinimalCacheDriver) -> None:
    await cache.set("key", 1)
    server.down = True
    assert await cache.get("key", MISS) is MISS
    assert await cache.get_many(["key"]) == {}
    assert not await cache.exists("key")
    assert not await cache.set("key", 2)
    assert not await cache.set_many({"key": 2})
    assert not await cache.add("other", 2)
    assert not await cache.replace("key", 2)
    assert not await cache.delete("key")
    assert not await cache.touch("key")
    assert not await cache.clear()
    assert not await cache.invalidate_tags(["tag"])
    assert cache.stats().degraded


async def test_what_must_be_right_raises(cache: AsyncCache, server: MinimalCacheDriver) -> None:
    server.down = True
    with pytest.raises(CacheUnavailableError) as caught:
        await cache.incr("count")
    assert isinstance(caught.value.__cause__, ConnectionError)
    assert caught.value.resource == "cache.main"
    assert caught.value.retryable
    assert caught.value.remedy
    with pytest.raises(CacheUnavailableError):
        await cache.cas("key", MISS, 1)
    with pytest.raises(CacheUnavailableError):
        await cache.lock("door").acquire()


async def test_the_first_failure_spares_the_server_all_further_calls_but_probes(tmp_path: Path) -> None:
    cache: AsyncCache = await MINIMAL.open_async("cache", Place(tmp_path), probe_interval=3600.0)
    server = cache.unwrap(MinimalCacheDriver)
    server.down = True
    await cache.get("key")
    calls = server.calls
    for _ in range(50):
        await cache.get("key")
        await cache.set("key", 1)
        await cache.delete("key")
    assert server.calls == calls
    assert cache.stats().failures > 100
    await cache.close()


async def test_values_are_computed_without_the_cache(cache: AsyncCache, server: MinimalCacheDriver) -> None:
    server.down = True
    calls: list[int] = []

    async def factory() -> int:
        calls.append(1)
        return len(calls)

    assert [await cache.get_or_set("key", factory), await cache.get_or_set("key", factory)] == [1, 2]


async def test_a_value_computed_while_the_server_went_down_still_reaches_its_caller(cache: AsyncCache, server: MinimalCacheDriver) -> None:
    async def factory() -> str:
        server.down = True
        return "computed"

    assert await cache.get_or_set("key", factory) == "computed"
    server.down = False
    await recovered(cache)
    assert await cache.get("key", MISS) is MISS


@pytest.mark.parametrize(("policy", "allowed"), [("allow", True), ("deny", False)])
async def test_a_limiter_follows_its_policy(tmp_path: Path, policy: str, allowed: bool) -> None:
    cache: AsyncCache = await MINIMAL.open_async("cache", Place(tmp_path), limiter_policy=policy)
    cache.unwrap(MinimalCacheDriver).down = True
    assert (await cache.limiter("calls", 1, 5).acquire()).allowed is allowed
    await cache.close()


async def test_a_limiter_may_raise(tmp_path: Path) -> None:
    cache: AsyncCache = await MINIMAL.open_async("cache", Place(tmp_path), limiter_policy="raise")
    cache.unwrap(MinimalCacheDriver).down = True
    with pytest.raises(CacheUnavailableError):
        await cache.limiter("calls", 1, 5).acquire()
    await cache.close()


async def test_deletes_and_writes_that_failed_are_made_up_for_before_anything_is_read(
    cache: AsyncCache, server: MinimalCacheDriver
) -> None:
    await cache.set_many({"deleted": 1, "written": 1, "untouched": 1})
    server.down = True
    await cache.delete("deleted")
    await cache.set("written", 2)
    assert cache.stats().tombstones == 2
    server.down = False
    await recovered(cache)
    assert await cache.get_many(["deleted", "written", "untouched"]) == {"untouched": 1}
    assert cache.stats().tombstones == 0
    assert await cache.set("written", 3)
    assert await cache.get("written") == 3


async def test_too_many_tombstones_invalidate_the_namespace_and_no_other(cache: AsyncCache, server: MinimalCacheDriver) -> None:
    crowded, other = cache.namespace("crowded"), cache.namespace("other")
    await crowded.set("survivor", 1)
    await other.set("survivor", 1)
    server.down = True
    for number in range(10):
        await crowded.delete(f"key-{number}")
    assert cache.stats().tombstones == 1
    server.down = False
    await recovered(cache)
    assert await crowded.get("survivor", MISS) is MISS
    assert await other.get("survivor") == 1


async def test_a_clear_and_an_invalidation_that_failed_are_made_up_for(cache: AsyncCache, server: MinimalCacheDriver) -> None:
    cleared = cache.namespace("cleared")
    await cleared.set("key", 1)
    await cache.set("tagged", 1, tags=["tag"])
    await cache.set("key", 1)
    server.down = True
    await cleared.clear()
    await cache.invalidate_tags(["tag"])
    server.down = False
    await recovered(cache)
    assert await cleared.get("key", MISS) is MISS
    assert await cache.get_many(["tagged", "key"]) == {"key": 1}


async def test_a_delete_of_what_was_never_seen_invalidates_everything(tmp_path: Path) -> None:
    place = Place(tmp_path)
    writer: AsyncCache = await MINIMAL.open_async("cache", place)
    await writer.set("key", 1)
    late: AsyncCache = await MINIMAL.open_async("cache", place)
    late.unwrap(MinimalCacheDriver).down = True
    assert not await late.delete("key")
    late.unwrap(MinimalCacheDriver).down = False
    await recovered(late)
    assert await late.get("key", MISS) is MISS
    await late.close()
    await writer.close()
