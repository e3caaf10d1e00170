# Generated from groups.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""Namespaces, tags and clear."""

from __future__ import annotations

from typing import Any

import pytest

from infra.cache import MISS, Cache, CacheFeature, CacheItem, SetMode
from infra.errors import ClosedError
from infra_testing.conformance.cache._sync.case import PATIENCE, CacheCase
from infra_testing.conformance.cache.processes import invalidate, read, run_in_processes
from infra_testing.harness import Place


class GroupCases(CacheCase):
    """Cases 19, 20 and 25 of the cache's page."""

    def test_namespaces_keep_their_keys_apart(self, cache: Cache) -> None:
        a, b, deep = cache.namespace("a"), cache.namespace("b"), cache.namespace("a").namespace("b")
        spaces = [cache, a, b, deep, cache.namespace("a/b"), cache.namespace("a:b"), cache.namespace("ü" * 300)]
        for number, space in enumerate(spaces):
            assert space.set("key", number)
        assert [space.get("key") for space in spaces] == list(range(len(spaces)))
        assert cache.namespace("a") is a

    def test_clearing_a_namespace_spares_the_others(self, cache: Cache) -> None:
        a, b, deep = cache.namespace("a"), cache.namespace("b"), cache.namespace("a").namespace("deep")
        for space in (cache, a, b, deep):
            space.set("key", 1)
        assert a.clear()
        assert [space.get("key", MISS) for space in (cache, a, b, deep)] == [1, MISS, 1, MISS]
        a.set("key", 2)
        assert a.get("key") == 2

    def test_clearing_a_cache_clears_all_namespaces(self, cache: Cache) -> None:
        a, deep = cache.namespace("a"), cache.namespace("a").namespace("deep")
        for space in (cache, a, deep):
            space.set("key", 1)
        assert cache.clear()
        assert [space.get("key", MISS) for space in (cache, a, deep)] == [MISS] * 3

    def test_a_clear_is_seen_at_once_by_others_who_write_and_delete(self, opened: Any) -> None:
        one, two = opened(), opened()
        one.set("key", "old")
        assert two.get("key") == "old"
        two.clear()
        two.set("key", "new")
        assert one.delete("key")
        assert two.get("key", MISS) is MISS

    def test_a_lost_generation_hides_what_was_there_and_revives_nothing(self, cache: Cache) -> None:
        cache.set("key", "old", ttl=None)
        stored = cache.stored_key("key")
        prefix = stored.split(":")[0]
        assert cache.driver.delete_many([f"{prefix}/"], PATIENCE) == [True]
        assert cache.get("key", MISS) is MISS
        assert cache.add("other", 1)
        assert cache.get("key", MISS) is MISS
        assert cache.stored_key("key") != stored

    def test_a_damaged_generation_is_another_generation(self, cache: Cache) -> None:
        cache.set("key", "old", ttl=None)
        prefix = (cache.stored_key("key")).split(":")[0]
        cache.driver.set_many([CacheItem(f"{prefix}/", b"\xff \n", None)], SetMode.SET, PATIENCE)
        assert cache.get("key", MISS) is MISS
        assert cache.set("key", "new")
        assert cache.get("key") == "new"

    def test_invalidating_a_tag_makes_its_entries_misses(self, cache: Cache) -> None:
        cache.set("a", 1, tags=["red", "round"])
        cache.set("b", 2, tags=["red"])
        cache.set("c", 3, tags=["round"])
        cache.set("d", 4)
        assert cache.get("a", tags=["red", "round"]) == 1
        assert cache.get("a", tags=["red"]) == cache.get("a") == 1
        assert cache.get("d", tags=["red"]) == 4
        assert cache.invalidate_tags(["red", "unknown"])
        assert cache.get_many(["a", "b", "c", "d"]) == {"c": 3, "d": 4}
        assert cache.get_many(["a", "b", "c", "d"], tags=["round", "red"]) == {"c": 3, "d": 4}
        assert cache.get("a", MISS, tags=["red", "round"]) is MISS
        assert not cache.exists("a")
        cache.set("a", 5, tags=["red"])
        assert cache.get("a") == 5

    def test_an_invalidated_entry_can_be_added_but_not_replaced(self, cache: Cache) -> None:
        cache.set("key", 1, tags=["red"])
        cache.invalidate_tags(["red"])
        assert not cache.replace("key", 2)
        assert cache.add("key", 3)
        assert cache.get("key") == 3

    def test_tags_of_namespaces_are_their_own(self, cache: Cache) -> None:
        a = cache.namespace("a")
        cache.set("key", 1, tags=["red"])
        a.set("key", 2, tags=["red"])
        a.invalidate_tags(["red"])
        assert cache.get("key") == 1
        assert a.get("key", MISS) is MISS

    def test_other_processes_see_entries_and_invalidations(self, opened: Any, place: Place) -> None:
        cache = opened()
        cache.set("key", "shared", tags=["red"])
        seen = run_in_processes(1, read, self.harness, place, "key")
        if not cache.supports(CacheFeature.SHARED):
            assert seen == ["absent"]
            return
        assert seen == ["shared"]
        assert run_in_processes(1, invalidate, self.harness, place, "red") == [True]
        assert cache.get("key", MISS) is MISS

    def test_prefixes_keep_resources_apart(self, opened: Any) -> None:
        one, two = opened(prefix="one"), opened(prefix="two")
        one.set("key", 1)
        assert two.get("key", MISS) is MISS

    def test_a_closed_cache_closes_its_namespaces(self, opened: Any) -> None:
        cache = opened()
        part = cache.namespace("a")
        part.set("key", 1)
        cache.close()
        with pytest.raises(ClosedError):
            part.get("key")

    def test_closing_a_namespace_leaves_the_cache_open(self, cache: Cache) -> None:
        cache.namespace("a").close()
        assert cache.set("key", 1)
        assert cache.namespace("a").set("key", 1)
