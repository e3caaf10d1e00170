# Generated from computing.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""get_or_set: one computation, whoever asks."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from infra.cache import MISS, Cache, CacheFeature, CacheValueError
from infra.errors import UnsupportedError
from infra.runtime.threads import Event, gather, sleep, wait_for
from infra_testing.conformance.cache._sync.case import ATTEMPTS, PATIENCE, CacheCase
from infra_testing.conformance.cache.processes import compute, run_in_processes
from infra_testing.harness import Place


class Factory:
    """Counts its computations, which take `duration` seconds."""

    def __init__(self, duration: float = 0.0, error: Exception | None = None) -> None:
        self.count = 0
        self.duration = duration
        self.error = error
        self.gate: Event | None = None

    def __call__(self) -> dict[str, int]:
        self.count += 1
        number = self.count
        sleep(self.duration)
        if self.gate is not None:
            wait_for(self.gate, PATIENCE)
        if self.error is not None:
            raise self.error
        return {"computed": number}


class ComputingCases(CacheCase):
    """Cases 13 to 18 and 27 of the cache's page."""

    def leases(self, cache: Cache) -> bool:
        """Whether computations are shared between processes."""
        return self.has(cache, CacheFeature.LOCK)

    def test_a_value_is_computed_once_and_then_kept(self, cache: Cache) -> None:
        factory = Factory()
        assert cache.get_or_set("key", factory, ttl=600) == {"computed": 1}
        assert cache.get_or_set("key", factory, ttl=600) == {"computed": 1}
        assert cache.get("key") == {"computed": 1}
        assert factory.count == cache.stats().computed == 1

    def test_none_and_false_are_kept_too(self, cache: Cache) -> None:
        for value in (None, False, 0, ""):
            calls: list[object] = []

            def factory(value: object = value, calls: list[object] = calls) -> object:
                calls.append(value)
                return value

            assert cache.get_or_set(f"key {value}", factory) == value
            assert cache.get_or_set(f"key {value}", factory) == value
            assert len(calls) == 1

    def test_two_hundred_callers_share_one_computation(self, cache: Cache) -> None:
        factory = Factory(0.2)
        values = gather(*[partial(cache.get_or_set, "key", factory)] * 200)
        assert values == [{"computed": 1}] * 200
        assert factory.count == 1

    def test_callers_that_share_a_computation_do_not_share_the_value(self, cache: Cache) -> None:
        factory = Factory(0.1)
        first, second = gather(*[partial(cache.get_or_set, "key", factory)] * 2)
        assert first == second
        assert first is not second

    def test_processes_share_one_computation(self, opened: Any, place: Place) -> None:
        cache = opened()
        results = run_in_processes(4, compute, self.harness, place, 4, 50)
        assert results == [["value"] * 50] * 4
        computed = (place.data_dir / "computed").stat().st_size
        if self.leases(cache) and cache.supports(CacheFeature.SHARED):
            assert computed == 1
        else:
            assert 1 <= computed <= 4

    def test_a_computation_longer_than_its_lease_is_still_the_only_one(self, opened: Any) -> None:
        one, two = opened(lease=0.3), opened(lease=0.3)
        for attempt in range(ATTEMPTS):
            key, factory = f"key {attempt}", Factory(0.8)
            values = gather(*[partial(one.get_or_set, key, factory), partial(two.get_or_set, key, factory)] * 3)
            if not self.leases(one):
                assert not one.supports(CacheFeature.LOCK)
                assert factory.count <= 2
                return
            if factory.count == 1:
                assert values == [{"computed": 1}] * 6
                return
        raise AssertionError("the lease was not extended")

    def test_an_exception_reaches_all_who_wait_and_is_not_kept(self, cache: Cache) -> None:
        broken = Factory(0.2, LookupError("no such thing"))
        errors = gather(*[partial(cache.get_or_set, "key", broken)] * 10)
        assert [str(error) for error in errors] == ["no such thing"] * 10
        assert all(isinstance(error, LookupError) for error in errors)
        assert broken.count == 1
        assert cache.get("key", MISS) is MISS
        assert cache.get_or_set("key", Factory()) == {"computed": 1}

    def test_a_value_that_cannot_be_stored_is_refused_and_not_kept(self, cache: Cache) -> None:
        def factory() -> object:
            return object()

        with pytest.raises(CacheValueError, match="object"):
            cache.get_or_set("key", factory)
        assert cache.get_or_set("key", Factory()) == {"computed": 1}

    def test_a_stale_value_is_served_while_one_caller_refreshes(self, cache: Cache) -> None:
        factory = Factory()
        options: dict[str, Any] = {"ttl": 0.1, "stale": 600, "early": 0}
        assert cache.get_or_set("key", factory, **options) == {"computed": 1}
        self.gone(cache, "key")
        factory.gate = Event()
        values = gather(*[partial(cache.get_or_set, "key", factory, ttl=600, stale=600)] * 20)
        factory.gate.set()
        assert values == [{"computed": 1}] * 20

        def refreshed() -> bool:
            return cache.get("key") == {"computed": 2}

        self.eventually(refreshed)
        assert factory.count == 2
        assert cache.stats().stale == 20

    def test_a_caller_who_does_not_take_stale_values_waits(self, cache: Cache) -> None:
        factory = Factory()
        cache.get_or_set("key", factory, ttl=0.1, stale=600)
        self.gone(cache, "key")
        assert cache.get_or_set("key", factory) == {"computed": 2}

    def test_early_refresh_happens_before_the_time(self, cache: Cache) -> None:
        factory = Factory(0.02)
        assert cache.get_or_set("key", factory, ttl=600) == {"computed": 1}
        assert cache.get_or_set("key", factory, ttl=600, early=0) == {"computed": 1}
        assert factory.count == 1
        assert cache.get_or_set("key", factory, ttl=600, early=1e12) == {"computed": 1}

        def refreshed() -> bool:
            return cache.get("key") == {"computed": 2}

        self.eventually(refreshed)

    def test_a_value_deleted_while_it_is_computed_is_not_kept(self, opened: Any) -> None:
        cache, other = opened(), opened()
        started, finish = Event(), Event()

        def factory() -> str:
            started.set()
            wait_for(finish, PATIENCE)
            return "old"

        def caller() -> object:
            return cache.get_or_set("key", factory)

        def deleter() -> object:
            wait_for(started, PATIENCE)
            (other if self.leases(cache) else cache).delete("key")
            fresh = cache.get_or_set("other", Factory())
            finish.set()
            return fresh

        assert gather(caller, deleter) == ["old", {"computed": 1}]
        assert cache.get("key", MISS) is MISS

    def test_a_caller_after_a_delete_gets_a_new_computation(self, cache: Cache) -> None:
        started, finish = Event(), Event()

        def old() -> str:
            started.set()
            wait_for(finish, PATIENCE)
            return "old"

        def new() -> str:
            return "new"

        def first() -> object:
            return cache.get_or_set("key", old)

        def second() -> object:
            wait_for(started, PATIENCE)
            cache.delete("key")
            value = cache.get_or_set("key", new)
            finish.set()
            return value

        assert gather(first, second) == ["old", "new"]
        assert cache.get("key") == "new"

    def test_what_was_cleared_or_invalidated_while_computed_is_not_kept(self, cache: Cache) -> None:
        def clears() -> str:
            cache.clear()
            return "old"

        def invalidates() -> str:
            cache.invalidate_tags(["tag"])
            return "old"

        assert cache.get_or_set("key", clears) == "old"
        assert cache.get("key", MISS) is MISS
        assert cache.get_or_set("key", invalidates, tags=["tag"]) == "old"
        assert cache.get("key", MISS) is MISS

    def test_times_vary_within_their_bounds(self, opened: Any) -> None:
        cache = opened(jitter=0.1)
        for number in range(50):
            cache.get_or_set(f"key-{number}", Factory(), ttl=1000)
        if not cache.supports(CacheFeature.TTL):
            with pytest.raises(UnsupportedError, match="ttl"):
                cache.ttl("key-0")
            return
        lives = [cache.ttl(f"key-{number}") for number in range(50)]
        assert all(life is not None and 800 < life <= 1100 for life in lives)
        assert max(lives) - min(lives) > 20

    def test_a_decorated_function_keeps_its_results_by_arguments(self, cache: Cache) -> None:
        calls: list[tuple[int, int]] = []

        @cache.cached(ttl=600, tags=["sums"])
        def add(a: int, b: int = 2) -> int:
            calls.append((a, b))
            return a + b

        assert [add(1), add(1, 2), add(1, b=2), add(a=1, b=2), add(2)] == [3, 3, 3, 3, 4]
        assert calls == [(1, 2), (2, 2)]
        assert cache.get(add.key(2)) == 4
        assert add.invalidate(2)
        assert add(2) == 4
        assert len(calls) == 3
        cache.invalidate_tags(["sums"])
        assert add(1) == 3
        assert len(calls) == 4

    def test_a_method_needs_a_key_function(self, cache: Cache) -> None:
        class Shop:
            name = "corner"

            def price(self, item: str) -> str:
                return f"{item} at {self.name}"

        shop = Shop()
        bare = cache.cached()(Shop.price)
        with pytest.raises(CacheValueError, match="key"):
            bare(shop, "tea")

        def key(shop: Shop, item: str) -> str:
            return f"price:{shop.name}:{item}"

        kept = cache.cached(key=key)(Shop.price)
        assert kept(shop, "tea") == "tea at corner"
        assert cache.get("price:corner:tea") == "tea at corner"
