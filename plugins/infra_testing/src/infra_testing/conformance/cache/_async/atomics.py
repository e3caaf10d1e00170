"""Counters, compare-and-set, locks and limiters."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from infra.cache import MISS, AsyncCache, CacheFeature, CacheValueError, LockLostError, LockNotAcquiredError
from infra.errors import UnsupportedError
from infra.runtime.aio import gather
from infra_testing.conformance.cache._async.case import ATTEMPTS, PATIENCE, AsyncCacheCase
from infra_testing.conformance.cache.processes import admit, run_in_processes
from infra_testing.harness import Place


class AsyncAtomicCases(AsyncCacheCase):
    """Cases 6 to 8 and 21 to 23 of the cache's page."""

    async def test_a_hundred_concurrent_increments_make_a_hundred(self, cache: AsyncCache) -> None:
        if not self.has(cache, CacheFeature.INCR):
            with pytest.raises(UnsupportedError, match="incr"):
                await cache.incr("count")
            return
        sums = await gather(*[partial(cache.incr, "count")] * 100, limit=20)
        assert set(sums) == set(range(1, 101))
        assert await cache.get("count") == 100
        assert await cache.decr("count", 150) == -50

    async def test_an_increment_sets_the_ttl_of_a_new_counter_only(self, cache: AsyncCache) -> None:
        if not self.has(cache, CacheFeature.INCR):
            with pytest.raises(UnsupportedError, match="incr"):
                await cache.decr("count", ttl=1)
            return
        for attempt in range(ATTEMPTS):
            short = f"short {attempt}"
            assert await cache.incr(short, ttl=0.3) == 1
            if await cache.incr(short, ttl=600) == 2:
                break
        else:
            raise AssertionError("a counter is forgotten at once")
        assert await cache.incr("long", ttl=600) == 1
        assert await cache.incr("long", ttl=0.05) == 2
        await self.gone(cache, short)
        assert await cache.incr(short, 5) == 5
        assert await cache.get("long") == 2

    async def test_only_integers_of_64_bits_can_be_incremented(self, cache: AsyncCache) -> None:
        if not self.has(cache, CacheFeature.INCR):
            with pytest.raises(UnsupportedError, match="incr"):
                await cache.incr("count", 2)
            return
        await cache.set("count", 41, ttl=None)
        assert await cache.incr("count") == 42
        for value in ("text", "7", {"a": 1}, None, 1.5):
            await cache.set("other", value)
            with pytest.raises(CacheValueError):
                await cache.incr("other")
            assert await cache.get("other") == value
        await cache.set("count", 2**63 - 1)
        with pytest.raises(CacheValueError):
            await cache.incr("count")
        assert await cache.get("count") == 2**63 - 1

    async def test_of_concurrent_compare_and_sets_one_wins(self, cache: AsyncCache) -> None:
        await cache.set("key", {"turn": 0, "who": None})
        if not cache.supports(CacheFeature.CAS):
            with pytest.raises(UnsupportedError, match="cas"):
                await cache.cas("key", {"who": None, "turn": 0}, 1)
            return
        for turn in range(5):
            expected = await cache.get("key")
            calls = [partial(cache.cas, "key", expected, {"turn": turn + 1, "who": who}) for who in range(10)]
            won = await gather(*calls)
            assert sorted(won, key=bool) == [False] * 9 + [True]
            assert await cache.get("key") == {"turn": turn + 1, "who": won.index(True)}

    async def test_compare_and_set_compares_values_and_knows_absence(self, cache: AsyncCache) -> None:
        if not cache.supports(CacheFeature.CAS):
            assert await cache.cas("key", MISS, 1)  # only needs ADD
            with pytest.raises(UnsupportedError, match="cas"):
                await cache.cas("key", 1, 2)
            return
        assert not await cache.cas("key", None, 1)
        assert await cache.cas("key", MISS, {"a": 1, "b": 2})
        assert not await cache.cas("key", MISS, 1)
        assert not await cache.cas("key", {"a": 1}, 1)
        assert await cache.cas("key", {"b": 2, "a": 1}, None)
        assert await cache.cas("key", None, 3, ttl=0.05)
        await self.gone(cache, "key")
        assert not await cache.cas("key", 3, 4)

    async def test_a_lock_has_one_holder_and_a_foreign_token_cannot_release_it(self, cache: AsyncCache) -> None:
        if not self.has(cache, CacheFeature.LOCK):
            with pytest.raises(UnsupportedError, match="lock"):
                cache.lock("door")
            return
        first, second = cache.lock("door"), cache.lock("door")
        assert await first.acquire()
        assert not await second.acquire()
        assert not await second.acquire(wait=0.05)
        assert not await second.release()
        assert not await second.extend()
        assert await first.extend()
        assert await cache.lock("window").acquire()
        assert await cache.namespace("house").lock("door").acquire()
        assert await first.release()
        assert not await first.release()
        assert await second.acquire()

    async def test_an_expired_holder_loses_and_the_fencing_number_grows(self, cache: AsyncCache) -> None:
        if not self.has(cache, CacheFeature.LOCK):
            with pytest.raises(UnsupportedError, match="lock"):
                cache.lock("door", ttl=1)
            return
        first, second = cache.lock("door", ttl=0.1), cache.lock("door")
        assert await first.acquire()
        assert await second.acquire(wait=PATIENCE)
        assert first.fence is not None
        assert second.fence is not None
        assert second.fence > first.fence
        assert not await first.extend()
        assert not await first.release()
        assert await second.extend()

    async def test_a_lock_block_waits_extends_itself_and_notices_loss(self, cache: AsyncCache) -> None:
        if not self.has(cache, CacheFeature.LOCK):
            with pytest.raises(UnsupportedError, match="lock"):
                cache.lock("door", wait=0)
            return

        async def outlasts_its_ttl(name: str) -> bool:
            try:
                async with cache.lock(name, ttl=0.3) as held:
                    try:
                        await cache.lock(name, wait=0.5).__aenter__()
                    except LockNotAcquiredError as error:
                        return name in str(error) and not held.lost
                    return False
            except LockLostError:
                return False

        for attempt in range(ATTEMPTS):
            if await outlasts_its_ttl(f"door {attempt}"):
                break
        else:
            raise AssertionError("a lock is not extended")
        async with cache.lock(f"door {attempt}", wait=PATIENCE):
            pass
        lost = cache.lock("door", ttl=0.3)
        await lost.__aenter__()
        await lost.release()

        async def noticed() -> bool:
            return lost.lost

        await self.eventually(noticed)
        with pytest.raises(LockLostError, match="door"):
            await lost.__aexit__(None, None, None)

    async def test_a_lock_survives_a_clear(self, cache: AsyncCache) -> None:
        if not self.has(cache, CacheFeature.LOCK):
            with pytest.raises(UnsupportedError, match="lock"):
                cache.namespace("house").lock("door")
            return
        lock = cache.lock("door")
        assert await lock.acquire()
        await cache.clear()
        assert not await cache.lock("door").acquire()
        assert await lock.release()

    async def test_a_limiter_admits_its_burst_and_then_its_rate(self, cache: AsyncCache) -> None:
        if not self.has(cache, CacheFeature.GCRA):
            with pytest.raises(UnsupportedError, match="gcra"):
                await cache.limiter("calls", 1, 1).acquire()
            return
        slow = cache.limiter("slow", rate=0.01, burst=3)
        decisions = [await slow.acquire() for _ in range(4)]
        assert [bool(decision) for decision in decisions] == [True, True, True, False]
        assert [decision.remaining for decision in decisions] == [2, 1, 0, 0]
        assert 50 < decisions[3].retry_after <= 100
        assert 250 < decisions[3].reset_after <= 300
        assert (await slow.acquire("somebody else")).allowed
        assert (await slow.acquire(cost=0)).remaining == 0
        assert (await slow.acquire("greedy", cost=4)).retry_after == float("inf")
        assert (await slow.acquire("saving", cost=3)).remaining == 0
        fast = cache.limiter("fast", rate=20, burst=1)
        assert await fast.acquire()
        await self.eventually(partial(fast.acquire))

    async def test_a_limiter_that_admits_nothing_is_refused(self, cache: AsyncCache) -> None:
        for rate, burst in ((0, 1), (-1, 1), (1, 0)):
            with pytest.raises(CacheValueError):
                cache.limiter("calls", rate, burst)

    async def test_processes_share_a_limiter(self, opened: Any, place: Place) -> None:
        cache = await opened()
        if not self.has(cache, CacheFeature.GCRA):
            with pytest.raises(UnsupportedError, match="gcra"):
                await cache.limiter("shared", 1, 1).acquire()
            return
        admitted = run_in_processes(2, admit, self.harness, place, 0.001, 20, 15)
        if cache.supports(CacheFeature.SHARED):
            assert sum(admitted) == 20
        else:
            assert admitted == [15, 15]
