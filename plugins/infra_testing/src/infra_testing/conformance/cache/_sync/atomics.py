# Generated from atomics.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""Counters, compare-and-set, locks and limiters."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from infra.cache import MISS, Cache, CacheFeature, CacheValueError, LockLostError, LockNotAcquiredError
from infra.errors import UnsupportedError
from infra.runtime.threads import gather
from infra_testing.conformance.cache._sync.case import ATTEMPTS, PATIENCE, CacheCase
from infra_testing.conformance.cache.processes import admit, run_in_processes
from infra_testing.harness import Place


class AtomicCases(CacheCase):
    """Cases 6 to 8 and 21 to 23 of the cache's page."""

    def test_a_hundred_concurrent_increments_make_a_hundred(self, cache: Cache) -> None:
        if not self.has(cache, CacheFeature.INCR):
            with pytest.raises(UnsupportedError, match="incr"):
                cache.incr("count")
            return
        sums = gather(*[partial(cache.incr, "count")] * 100, limit=20)
        assert set(sums) == set(range(1, 101))
        assert cache.get("count") == 100
        assert cache.decr("count", 150) == -50

    def test_an_increment_sets_the_ttl_of_a_new_counter_only(self, cache: Cache) -> None:
        if not self.has(cache, CacheFeature.INCR):
            with pytest.raises(UnsupportedError, match="incr"):
                cache.decr("count", ttl=1)
            return
        for attempt in range(ATTEMPTS):
            short = f"short {attempt}"
            assert cache.incr(short, ttl=0.3) == 1
            if cache.incr(short, ttl=600) == 2:
                break
        else:
            raise AssertionError("a counter is forgotten at once")
        assert cache.incr("long", ttl=600) == 1
        assert cache.incr("long", ttl=0.05) == 2
        self.gone(cache, short)
        assert cache.incr(short, 5) == 5
        assert cache.get("long") == 2

    def test_only_integers_of_64_bits_can_be_incremented(self, cache: Cache) -> None:
        if not self.has(cache, CacheFeature.INCR):
            with pytest.raises(UnsupportedError, match="incr"):
                cache.incr("count", 2)
            return
        cache.set("count", 41, ttl=None)
        assert cache.incr("count") == 42
        for value in ("text", "7", {"a": 1}, None, 1.5):
            cache.set("other", value)
            with pytest.raises(CacheValueError):
                cache.incr("other")
            assert cache.get("other") == value
        cache.set("count", 2**63 - 1)
        with pytest.raises(CacheValueError):
            cache.incr("count")
        assert cache.get("count") == 2**63 - 1

    def test_of_concurrent_compare_and_sets_one_wins(self, cache: Cache) -> None:
        cache.set("key", {"turn": 0, "who": None})
        if not cache.supports(CacheFeature.CAS):
            with pytest.raises(UnsupportedError, match="cas"):
                cache.cas("key", {"who": None, "turn": 0}, 1)
            return
        for turn in range(5):
            expected = cache.get("key")
            calls = [partial(cache.cas, "key", expected, {"turn": turn + 1, "who": who}) for who in range(10)]
            won = gather(*calls)
            assert sorted(won, key=bool) == [False] * 9 + [True]
            assert cache.get("key") == {"turn": turn + 1, "who": won.index(True)}

    def test_compare_and_set_compares_values_and_knows_absence(self, cache: Cache) -> None:
        if not cache.supports(CacheFeature.CAS):
            assert cache.cas("key", MISS, 1)  # only needs ADD
            with pytest.raises(UnsupportedError, match="cas"):
                cache.cas("key", 1, 2)
            return
        assert not cache.cas("key", None, 1)
        assert cache.cas("key", MISS, {"a": 1, "b": 2})
        assert not cache.cas("key", MISS, 1)
        assert not cache.cas("key", {"a": 1}, 1)
        assert cache.cas("key", {"b": 2, "a": 1}, None)
        assert cache.cas("key", None, 3, ttl=0.05)
        self.gone(cache, "key")
        assert not cache.cas("key", 3, 4)

    def test_a_lock_has_one_holder_and_a_foreign_token_cannot_release_it(self, cache: Cache) -> None:
        if not self.has(cache, CacheFeature.LOCK):
            with pytest.raises(UnsupportedError, match="lock"):
                cache.lock("door")
            return
        first, second = cache.lock("door"), cache.lock("door")
        assert first.acquire()
        assert not second.acquire()
        assert not second.acquire(wait=0.05)
        assert not second.release()
        assert not second.extend()
        assert first.extend()
        assert cache.lock("window").acquire()
        assert cache.namespace("house").lock("door").acquire()
        assert first.release()
        assert not first.release()
        assert second.acquire()

    def test_an_expired_holder_loses_and_the_fencing_number_grows(self, cache: Cache) -> None:
        if not self.has(cache, CacheFeature.LOCK):
            with pytest.raises(UnsupportedError, match="lock"):
                cache.lock("door", ttl=1)
            return
        first, second = cache.lock("door", ttl=0.1), cache.lock("door")
        assert first.acquire()
        assert second.acquire(wait=PATIENCE)
        assert first.fence is not None
        assert second.fence is not None
        assert second.fence > first.fence
        assert not first.extend()
        assert not first.release()
        assert second.extend()

    def test_a_lock_block_waits_extends_itself_and_notices_loss(self, cache: Cache) -> None:
        if not self.has(cache, CacheFeature.LOCK):
            with pytest.raises(UnsupportedError, match="lock"):
                cache.lock("door", wait=0)
            return

        def outlasts_its_ttl(name: str) -> bool:
            try:
                with cache.lock(name, ttl=0.3) as held:
                    try:
                        cache.lock(name, wait=0.5).__enter__()
                    except LockNotAcquiredError as error:
                        return name in str(error) and not held.lost
                    return False
            except LockLostError:
                return False

        for attempt in range(ATTEMPTS):
            if outlasts_its_ttl(f"door {attempt}"):
                break
        else:
            raise AssertionError("a lock is not extended")
        with cache.lock(f"door {attempt}", wait=PATIENCE):
            pass
        lost = cache.lock("door", ttl=0.3)
        lost.__enter__()
        lost.release()

        def noticed() -> bool:
            return lost.lost

        self.eventually(noticed)
        with pytest.raises(LockLostError, match="door"):
            lost.__exit__(None, None, None)

    def test_a_lock_survives_a_clear(self, cache: Cache) -> None:
        if not self.has(cache, CacheFeature.LOCK):
            with pytest.raises(UnsupportedError, match="lock"):
                cache.namespace("house").lock("door")
            return
        lock = cache.lock("door")
        assert lock.acquire()
        cache.clear()
        assert not cache.lock("door").acquire()
        assert lock.release()

    def test_a_limiter_admits_its_burst_and_then_its_rate(self, cache: Cache) -> None:
        if not self.has(cache, CacheFeature.GCRA):
            with pytest.raises(UnsupportedError, match="gcra"):
                cache.limiter("calls", 1, 1).acquire()
            return
        slow = cache.limiter("slow", rate=0.01, burst=3)
        decisions = [slow.acquire() for _ in range(4)]
        assert [bool(decision) for decision in decisions] == [True, True, True, False]
        assert [decision.remaining for decision in decisions] == [2, 1, 0, 0]
        assert 50 < decisions[3].retry_after <= 100
        assert 250 < decisions[3].reset_after <= 300
        assert (slow.acquire("somebody else")).allowed
        assert (slow.acquire(cost=0)).remaining == 0
        assert (slow.acquire("greedy", cost=4)).retry_after == float("inf")
        assert (slow.acquire("saving", cost=3)).remaining == 0
        fast = cache.limiter("fast", rate=20, burst=1)
        assert fast.acquire()
        self.eventually(partial(fast.acquire))

    def test_a_limiter_that_admits_nothing_is_refused(self, cache: Cache) -> None:
        for rate, burst in ((0, 1), (-1, 1), (1, 0)):
            with pytest.raises(CacheValueError):
                cache.limiter("calls", rate, burst)

    def test_processes_share_a_limiter(self, opened: Any, place: Place) -> None:
        cache = opened()
        if not self.has(cache, CacheFeature.GCRA):
            with pytest.raises(UnsupportedError, match="gcra"):
                cache.limiter("shared", 1, 1).acquire()
            return
        admitted = run_in_processes(2, admit, self.harness, place, 0.001, 20, 15)
        if cache.supports(CacheFeature.SHARED):
            assert sum(admitted) == 20
        else:
            assert admitted == [15, 15]
