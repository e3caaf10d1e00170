"""The memory cache keeps to its bounds, and its doors share one store."""

from __future__ import annotations

from pathlib import Path

from infra.cache import MISS, AsyncCache, Cache
from infra_local.cache.memory import MemoryCacheDriver
from infra_testing.harness import Harness, Place

MEMORY = Harness("memory", plugin="infra_local")


def test_bytes_are_bounded_whatever_is_written_and_deleted(tmp_path: Path) -> None:
    cache: Cache = MEMORY.open("cache", Place(tmp_path), max_bytes=100_000)
    driver = cache.unwrap(MemoryCacheDriver)
    for number in range(500):
        cache.set(f"key-{number % 70}", b"x" * (number * 37 % 3000))
        cache.incr("count")
        cache.delete(f"key-{number * 7 % 70}")
        assert driver.bytes <= 100_000
    for key in list(driver._entries):
        driver.delete_many([key], 1.0)
    assert (driver.bytes, len(driver)) == (0, 0)
    cache.close()


def test_an_entry_larger_than_the_bound_is_not_kept(tmp_path: Path) -> None:
    cache: Cache = MEMORY.open("cache", Place(tmp_path), max_bytes=10_000)
    cache.set("small", 1)
    cache.set("huge", "old")
    assert not cache.set("huge", b"x" * 20_000)
    assert cache.get("huge", MISS) is MISS
    assert cache.get("small") == 1
    cache.close()


async def test_both_doors_of_a_kernel_see_the_same_entries(tmp_path: Path) -> None:
    place = Place(tmp_path)
    blocking: Cache = MEMORY.open("cache", place)
    tasks: AsyncCache = await MEMORY.open_async("cache", place)
    blocking.set("key", 1)
    assert await tasks.get("key") == 1
    await tasks.clear()
    assert blocking.get("key", MISS) is MISS
    blocking.close()
    blocking = MEMORY.open("cache", place)
    await tasks.set("key", 2)
    assert blocking.get("key") == 2
    blocking.close()
    await tasks.close()


def test_resources_of_other_names_and_kernels_keep_their_own(tmp_path: Path) -> None:
    place = Place(tmp_path)
    caches: list[Cache] = [MEMORY.open("cache", place), MEMORY.open("cache", place, "other"), MEMORY.open("cache", Place(tmp_path))]
    caches[0].set("key", 1)
    assert [cache.get("key", MISS) for cache in caches] == [1, MISS, MISS]
    for cache in caches:
        cache.close()
