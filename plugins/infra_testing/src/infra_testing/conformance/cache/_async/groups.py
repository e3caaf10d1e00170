"""Namespaces, tags and clear."""

from __future__ import annotations

from typing import Any

import pytest

from infra.cache import MISS, AsyncCache, CacheFeature, CacheItem, SetMode
from infra.errors import ClosedError
from infra_testing.conformance.cache._async.case import PATIENCE, AsyncCacheCase
from infra_testing.conformance.cache.processes import invalidate, read, run_in_processes
from infra_testing.harness import Place


class AsyncGroupCases(AsyncCacheCase):
    """Cases 19, 20 and 25 of the cache's page."""

    async def test_namespaces_keep_their_keys_apart(self, cache: AsyncCache) -> None:
        a, b, deep = cache.namespace("a"), cache.namespace("b"), cache.namespace("a").namespace("b")
        spaces = [cache, a, b, deep, cache.namespace("a/b"), cache.namespace("a:b"), cache.namespace("ü" * 300)]
        for number, space in enumerate(spaces):
            assert await space.set("key", number)
        assert [await space.get("key") for space in spaces] == list(range(len(spaces)))
        assert cache.namespace("a") is a

    async def test_clearing_a_namespace_spares_the_others(self, cache: AsyncCache) -> None:
        a, b, deep = cache.namespace("a"), cache.namespace("b"), cache.namespace("a").namespace("deep")
        for space in (cache, a, b, deep):
            await space.set("key", 1)
        assert await a.clear()
        assert [await space.get("key", MISS) for space in (cache, a, b, deep)] == [1, MISS, 1, MISS]
        await a.set("key", 2)
        assert await a.get("key") == 2

    async def test_clearing_a_cache_clears_all_namespaces(self, cache: AsyncCache) -> None:
        a, deep = cache.namespace("a"), cache.namespace("a").namespace("deep")
        for space in (cache, a, deep):
            await space.set("key", 1)
        assert await cache.clear()
        assert [await space.get("key", MISS) for space in (cache, a, deep)] == [MISS] * 3

    async def test_a_clear_is_seen_at_once_by_others_who_write_and_delete(self, opened: Any) -> None:
        one, two = await opened(), await opened()
        await one.set("key", "old")
        assert await two.get("key") == "old"
        await two.clear()
        await two.set("key", "new")
        assert await one.delete("key")
        assert await two.get("key", MISS) is MISS

    async def test_a_lost_generation_hides_what_was_there_and_revives_nothing(self, cache: AsyncCache) -> None:
        await cache.set("key", "old", ttl=None)
        stored = await cache.stored_key("key")
        prefix = stored.split(":")[0]
        assert await cache.driver.delete_many([f"{prefix}/"], PATIENCE) == [True]
        assert await cache.get("key", MISS) is MISS
        assert await cache.add("other", 1)
        assert await cache.get("key", MISS) is MISS
        assert await cache.stored_key("key") != stored

    async def test_a_damaged_generation_is_another_generation(self, cache: AsyncCache) -> None:
        await cache.set("key", "old", ttl=None)
        prefix = (await cache.stored_key("key")).split(":")[0]
        await cache.driver.set_many([CacheItem(f"{prefix}/", b"\xff \n", None)], SetMode.SET, PATIENCE)
        assert await cache.get("key", MISS) is MISS
        assert await cache.set("key", "new")
        assert await cache.get("key") == "new"

    async def test_invalidating_a_tag_makes_its_entries_misses(self, cache: AsyncCache) -> None:
        await cache.set("a", 1, tags=["red", "round"])
        await cache.set("b", 2, tags=["red"])
        await cache.set("c", 3, tags=["round"])
        await cache.set("d", 4)
        assert await cache.get("a", tags=["red", "round"]) == 1
        assert await cache.get("a", tags=["red"]) == await cache.get("a") == 1
        assert await cache.get("d", tags=["red"]) == 4
        assert await cache.invalidate_tags(["red", "unknown"])
        assert await cache.get_many(["a", "b", "c", "d"]) == {"c": 3, "d": 4}
        assert await cache.get_many(["a", "b", "c", "d"], tags=["round", "red"]) == {"c": 3, "d": 4}
        assert await cache.get("a", MISS, tags=["red", "round"]) is MISS
        assert not await cache.exists("a")
        await cache.set("a", 5, tags=["red"])
        assert await cache.get("a") == 5

    async def test_an_invalidated_entry_can_be_added_but_not_replaced(self, cache: AsyncCache) -> None:
        await cache.set("key", 1, tags=["red"])
        await cache.invalidate_tags(["red"])
        assert not await cache.replace("key", 2)
        assert await cache.add("key", 3)
        assert await cache.get("key") == 3

    async def test_tags_of_namespaces_are_their_own(self, cache: AsyncCache) -> None:
        a = cache.namespace("a")
        await cache.set("key", 1, tags=["red"])
        await a.set("key", 2, tags=["red"])
        await a.invalidate_tags(["red"])
        assert await cache.get("key") == 1
        assert await a.get("key", MISS) is MISS

    async def test_other_processes_see_entries_and_invalidations(self, opened: Any, place: Place) -> None:
        cache = await opened()
        await cache.set("key", "shared", tags=["red"])
        seen = run_in_processes(1, read, self.harness, place, "key")
        if not cache.supports(CacheFeature.SHARED):
            assert seen == ["absent"]
            return
        assert seen == ["shared"]
        assert run_in_processes(1, invalidate, self.harness, place, "red") == [True]
        assert await cache.get("key", MISS) is MISS

    async def test_prefixes_keep_resources_apart(self, opened: Any) -> None:
        one, two = await opened(prefix="one"), await opened(prefix="two")
        await one.set("key", 1)
        assert await two.get("key", MISS) is MISS

    async def test_a_closed_cache_closes_its_namespaces(self, opened: Any) -> None:
        cache = await opened()
        part = cache.namespace("a")
        await part.set("key", 1)
        await cache.close()
        with pytest.raises(ClosedError):
            await part.get("key")

    async def test_closing_a_namespace_leaves_the_cache_open(self, cache: AsyncCache) -> None:
        await cache.namespace("a").close()
        assert await cache.set("key", 1)
        assert await cache.namespace("a").set("key", 1)
