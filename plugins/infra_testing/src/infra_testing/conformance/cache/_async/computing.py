"""get_or_set: one computation, whoever asks."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from infra.cache import MISS, AsyncCache, CacheFeature, CacheValueError
from infra.errors import UnsupportedError
from infra.runtime.aio import Event, gather, sleep, wait_for
from infra_testing.conformance.cache._async.case import ATTEMPTS, PATIENCE, AsyncCacheCase
from infra_testing.conformance.cache.processes import compute, run_in_processes
from infra_testing.harness import Place

# async-only: begin
import asyncio  # isort: skip

# async-only: end


class Factory:
    """Counts its computations, which take `duration` seconds."""

    def __init__(self, duration: float = 0.0, error: Exception | None = None) -> None:
        self.count = 0
        self.duration = duration
        self.error = error
        self.gate: Event | None = None

    async def __call__(self) -> dict[str, int]:
        self.count += 1
        number = self.count
        await sleep(self.duration)
        if self.gate is not None:
            await wait_for(self.gate, PATIENCE)
        if self.error is not None:
            raise self.error
        return {"computed": number}


class AsyncComputingCases(AsyncCacheCase):
    """Cases 13 to 18 and 27 of the cache's page."""

    def leases(self, cache: AsyncCache) -> bool:
        """Whether computations are shared between processes."""
        return self.has(cache, CacheFeature.LOCK)

    async def test_a_value_is_computed_once_and_then_kept(self, cache: AsyncCache) -> None:
        factory = Factory()
        assert await cache.get_or_set("key", factory, ttl=600) == {"computed": 1}
        assert await cache.get_or_set("key", factory, ttl=600) == {"computed": 1}
        assert await cache.get("key") == {"computed": 1}
        assert factory.count == cache.stats().computed == 1

    async def test_none_and_false_are_kept_too(self, cache: AsyncCache) -> None:
        for value in (None, False, 0, ""):
            calls: list[object] = []

            async def factory(value: object = value, calls: list[object] = calls) -> object:
                calls.append(value)
                return value

            assert await cache.get_or_set(f"key {value}", factory) == value
            assert await cache.get_or_set(f"key {value}", factory) == value
            assert len(calls) == 1

    async def test_two_hundred_callers_share_one_computation(self, cache: AsyncCache) -> None:
        factory = Factory(0.2)
        values = await gather(*[partial(cache.get_or_set, "key", factory)] * 200)
        assert values == [{"computed": 1}] * 200
        assert factory.count == 1

    async def test_callers_that_share_a_computation_do_not_share_the_value(self, cache: AsyncCache) -> None:
        factory = Factory(0.1)
        first, second = await gather(*[partial(cache.get_or_set, "key", factory)] * 2)
        assert first == second
        assert first is not second

    async def test_processes_share_one_computation(self, opened: Any, place: Place) -> None:
        cache = await opened()
        results = run_in_processes(4, compute, self.harness, place, 4, 50)
        assert results == [["value"] * 50] * 4
        computed = (place.data_dir / "computed").stat().st_size
        if self.leases(cache) and cache.supports(CacheFeature.SHARED):
            assert computed == 1
        else:
            assert 1 <= computed <= 4

    async def test_a_computation_longer_than_its_lease_is_still_the_only_one(self, opened: Any) -> None:
        one, two = await opened(lease=0.3), await opened(lease=0.3)
        for attempt in range(ATTEMPTS):
            key, factory = f"key {attempt}", Factory(0.8)
            values = await gather(*[partial(one.get_or_set, key, factory), partial(two.get_or_set, key, factory)] * 3)
            if not self.leases(one):
                assert not one.supports(CacheFeature.LOCK)
                assert factory.count <= 2
                return
            if factory.count == 1:
                assert values == [{"computed": 1}] * 6
                return
        raise AssertionError("the lease was not extended")

    # async-only: begin
    async def test_a_cancelled_first_caller_harms_nobody(self, cache: AsyncCache) -> None:
        factory = Factory(0.2)
        callers = [asyncio.create_task(cache.get_or_set("key", factory)) for _ in range(5)]
        while not factory.count:
            await sleep(0.001)
        callers[0].cancel()
        assert await asyncio.gather(*callers[1:]) == [{"computed": 1}] * 4
        assert callers[0].cancelled()
        assert factory.count == 1

    async def test_a_cancelled_waiter_harms_nobody(self, cache: AsyncCache) -> None:
        factory = Factory(0.2)
        callers = [asyncio.create_task(cache.get_or_set("key", factory)) for _ in range(5)]
        while not factory.count:
            await sleep(0.001)
        for caller in callers[1:4]:
            caller.cancel()
        assert await asyncio.gather(callers[0], callers[4]) == [{"computed": 1}] * 2
        assert factory.count == 1

    async def test_a_computation_that_nobody_waits_for_is_still_stored(self, cache: AsyncCache) -> None:
        factory = Factory(0.1)
        caller = asyncio.create_task(cache.get_or_set("key", factory))
        while not factory.count:
            await sleep(0.001)
        caller.cancel()
        await self.eventually(partial(cache.exists, "key"))

    async def test_a_plain_function_computes_in_a_thread(self, cache: AsyncCache) -> None:
        import threading

        assert await cache.get_or_set("key", threading.get_ident) != threading.get_ident()

    # async-only: end

    async def test_an_exception_reaches_all_who_wait_and_is_not_kept(self, cache: AsyncCache) -> None:
        broken = Factory(0.2, LookupError("no such thing"))
        errors = await gather(*[partial(cache.get_or_set, "key", broken)] * 10)
        assert [str(error) for error in errors] == ["no such thing"] * 10
        assert all(isinstance(error, LookupError) for error in errors)
        assert broken.count == 1
        assert await cache.get("key", MISS) is MISS
        assert await cache.get_or_set("key", Factory()) == {"computed": 1}

    async def test_a_value_that_cannot_be_stored_is_refused_and_not_kept(self, cache: AsyncCache) -> None:
        async def factory() -> object:
            return object()

        with pytest.raises(CacheValueError, match="object"):
            await cache.get_or_set("key", factory)
        assert await cache.get_or_set("key", Factory()) == {"computed": 1}

    async def test_a_stale_value_is_served_while_one_caller_refreshes(self, cache: AsyncCache) -> None:
        factory = Factory()
        options: dict[str, Any] = {"ttl": 0.1, "stale": 600, "early": 0}
        assert await cache.get_or_set("key", factory, **options) == {"computed": 1}
        await self.gone(cache, "key")
        factory.gate = Event()
        values = await gather(*[partial(cache.get_or_set, "key", factory, ttl=600, stale=600)] * 20)
        factory.gate.set()
        assert values == [{"computed": 1}] * 20

        async def refreshed() -> bool:
            return await cache.get("key") == {"computed": 2}

        await self.eventually(refreshed)
        assert factory.count == 2
        assert cache.stats().stale == 20

    async def test_a_caller_who_does_not_take_stale_values_waits(self, cache: AsyncCache) -> None:
        factory = Factory()
        await cache.get_or_set("key", factory, ttl=0.1, stale=600)
        await self.gone(cache, "key")
        assert await cache.get_or_set("key", factory) == {"computed": 2}

    async def test_early_refresh_happens_before_the_time(self, cache: AsyncCache) -> None:
        factory = Factory(0.02)
        assert await cache.get_or_set("key", factory, ttl=600) == {"computed": 1}
        assert await cache.get_or_set("key", factory, ttl=600, early=0) == {"computed": 1}
        assert factory.count == 1
        assert await cache.get_or_set("key", factory, ttl=600, early=1e12) == {"computed": 1}

        async def refreshed() -> bool:
            return await cache.get("key") == {"computed": 2}

        await self.eventually(refreshed)

    async def test_a_value_deleted_while_it_is_computed_is_not_kept(self, opened: Any) -> None:
        cache, other = await opened(), await opened()
        started, finish = Event(), Event()

        async def factory() -> str:
            started.set()
            await wait_for(finish, PATIENCE)
            return "old"

        async def caller() -> object:
            return await cache.get_or_set("key", factory)

        async def deleter() -> object:
            await wait_for(started, PATIENCE)
            await (other if self.leases(cache) else cache).delete("key")
            fresh = await cache.get_or_set("other", Factory())
            finish.set()
            return fresh

        assert await gather(caller, deleter) == ["old", {"computed": 1}]
        assert await cache.get("key", MISS) is MISS

    async def test_a_caller_after_a_delete_gets_a_new_computation(self, cache: AsyncCache) -> None:
        started, finish = Event(), Event()

        async def old() -> str:
            started.set()
            await wait_for(finish, PATIENCE)
            return "old"

        async def new() -> str:
            return "new"

        async def first() -> object:
            return await cache.get_or_set("key", old)

        async def second() -> object:
            await wait_for(started, PATIENCE)
            await cache.delete("key")
            value = await cache.get_or_set("key", new)
            finish.set()
            return value

        assert await gather(first, second) == ["old", "new"]
        assert await cache.get("key") == "new"

    async def test_what_was_cleared_or_invalidated_while_computed_is_not_kept(self, cache: AsyncCache) -> None:
        async def clears() -> str:
            await cache.clear()
            return "old"

        async def invalidates() -> str:
            await cache.invalidate_tags(["tag"])
            return "old"

        assert await cache.get_or_set("key", clears) == "old"
        assert await cache.get("key", MISS) is MISS
        assert await cache.get_or_set("key", invalidates, tags=["tag"]) == "old"
        assert await cache.get("key", MISS) is MISS

    async def test_times_vary_within_their_bounds(self, opened: Any) -> None:
        cache = await opened(jitter=0.1)
        for number in range(50):
            await cache.get_or_set(f"key-{number}", Factory(), ttl=1000)
        if not cache.supports(CacheFeature.TTL):
            with pytest.raises(UnsupportedError, match="ttl"):
                await cache.ttl("key-0")
            return
        lives = [await cache.ttl(f"key-{number}") for number in range(50)]
        assert all(life is not None and 800 < life <= 1100 for life in lives)
        assert max(lives) - min(lives) > 20

    async def test_a_decorated_function_keeps_its_results_by_arguments(self, cache: AsyncCache) -> None:
        calls: list[tuple[int, int]] = []

        @cache.cached(ttl=600, tags=["sums"])
        async def add(a: int, b: int = 2) -> int:
            calls.append((a, b))
            return a + b

        assert [await add(1), await add(1, 2), await add(1, b=2), await add(a=1, b=2), await add(2)] == [3, 3, 3, 3, 4]
        assert calls == [(1, 2), (2, 2)]
        assert await cache.get(add.key(2)) == 4
        assert await add.invalidate(2)
        assert await add(2) == 4
        assert len(calls) == 3
        await cache.invalidate_tags(["sums"])
        assert await add(1) == 3
        assert len(calls) == 4

    async def test_a_method_needs_a_key_function(self, cache: AsyncCache) -> None:
        class Shop:
            name = "corner"

            async def price(self, item: str) -> str:
                return f"{item} at {self.name}"

        shop = Shop()
        bare = cache.cached()(Shop.price)
        with pytest.raises(CacheValueError, match="key"):
            await bare(shop, "tea")

        def key(shop: Shop, item: str) -> str:
            return f"price:{shop.name}:{item}"

        kept = cache.cached(key=key)(Shop.price)
        assert await kept(shop, "tea") == "tea at corner"
        assert await cache.get("price:corner:tea") == "tea at corner"
