"""Arguments that make no sense, and computations that would wait for themselves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from infra.cache import MISS, AsyncCache, CacheCycleError, CacheFeature, CacheValueError
from infra.errors import UnsupportedError
from infra_testing.conformance.cache._async.case import AsyncCacheCase

NAN, INFINITY = float("nan"), float("inf")
TTLS: list[Any] = [0, -1, 0.0001, NAN, INFINITY, -INFINITY, 1e15, 10**400, True, "60", b"60", 1j, [60], timedelta(0), timedelta.max]
NO_KEYS: list[Any] = ["", None, 5, b"key", ["key"], {"key": 1}]
NO_INTEGERS: list[Any] = [0.5, NAN, INFINITY, 1.0, True, "1", None, Decimal(1), 2**63, -(2**63) - 1, 10**30]
SELF_HOLDING: list[object] = []
SELF_HOLDING.append(SELF_HOLDING)


def asked(cache: AsyncCache, key: Any, factory: Callable[[], Any], **ttl: Any) -> list[Callable[[], Awaitable[Any]]]:
    """The operations of one key, with a TTL where they take one."""
    return [
        partial(cache.set, key, 1, **ttl),
        partial(cache.set_json, key, 1, **ttl),
        partial(cache.add, key, 1, **ttl),
        partial(cache.replace, key, 1, **ttl),
        partial(cache.touch, key, **ttl),
        partial(cache.incr, key, **ttl),
        partial(cache.decr, key, **ttl),
        partial(cache.cas, key, MISS, 1, **ttl),
        partial(cache.get_or_set, key, factory, **ttl),
    ]


class AsyncArgumentCases(AsyncCacheCase):
    """Each is refused with the same error by every provider, before anything is sent or computed."""

    @pytest.mark.parametrize("ttl", TTLS, ids=lambda ttl: repr(ttl)[:20])
    async def test_a_ttl_out_of_range_is_refused_everywhere(self, cache: AsyncCache, ttl: Any) -> None:
        calls: list[int] = []
        for operation in asked(cache, "key", partial(calls.append, 1), ttl=ttl):
            with pytest.raises(CacheValueError, match="TTL") as caught:
                await operation()
            assert caught.value.remedy
        for refused in (partial(cache.set_many, {"key": 1}, ttl), partial(cache.set_many, {}, ttl)):
            with pytest.raises(CacheValueError, match="TTL"):
                await refused()
        with pytest.raises(CacheValueError, match="TTL"):
            cache.cached(ttl=ttl)
        if self.has(cache, CacheFeature.LOCK):
            with pytest.raises(CacheValueError, match="TTL"):
                cache.lock("door", ttl=ttl)
        assert not calls
        assert not await cache.exists("key")

    @pytest.mark.parametrize("ttl", [0.001, timedelta(milliseconds=1), 100 * 365 * 86400, timedelta(days=36500)], ids=repr)
    async def test_the_shortest_and_the_longest_ttl_are_taken(self, cache: AsyncCache, ttl: Any) -> None:
        assert await cache.set("key", 1, ttl)
        assert await cache.get_or_set("other", lambda: 1, ttl, stale=ttl) == 1

    @pytest.mark.parametrize("key", NO_KEYS, ids=repr)
    async def test_what_is_no_key_is_refused_everywhere(self, cache: AsyncCache, key: Any) -> None:
        calls: list[int] = []
        further = [partial(cache.get, key), partial(cache.get, key, tags=["a"]), partial(cache.exists, key), partial(cache.delete, key)]
        many = [partial(cache.get_many, [key]), partial(cache.delete_many, ["a", key]), partial(cache.invalidate_tags, [key])]
        for operation in (*asked(cache, key, partial(calls.append, 1)), *further, *many, partial(cache.set, "key", 1, tags=[key])):
            with pytest.raises(CacheValueError):
                await operation()
        with pytest.raises(CacheValueError):
            cache.namespace(key)
        assert not calls

    async def test_a_lone_text_is_not_many_keys(self, cache: AsyncCache) -> None:
        await cache.set_many({"a": 1, "b": 2})
        for values in ("ab", ["a"], 5):
            with pytest.raises(CacheValueError):
                await cache.set_many(values)  # type: ignore[arg-type]
        for operation in (cache.get_many, cache.delete_many, cache.invalidate_tags):
            for text in ("ab", b"ab", 5):
                with pytest.raises(CacheValueError):
                    await operation(text)
        assert await cache.get_many(["a", "b"]) == {"a": 1, "b": 2}

    @pytest.mark.parametrize("by", NO_INTEGERS, ids=repr)
    async def test_only_an_integer_of_64_bits_is_added(self, cache: AsyncCache, by: Any) -> None:
        await cache.set("count", 41)
        for operation in (cache.incr, cache.decr):
            for key in ("count", "absent"):
                with pytest.raises(CacheValueError):
                    await operation(key, by)
        assert await cache.get("count") == 41
        assert not await cache.exists("absent")

    async def test_times_and_rates_that_are_none_are_refused(self, cache: AsyncCache) -> None:
        calls: list[int] = []
        for wrong in (-1, NAN, INFINITY, True, "1", None):
            if wrong is not None:
                with pytest.raises(CacheValueError):
                    await cache.get_or_set("key", partial(calls.append, 1), early=wrong)
            with pytest.raises(CacheValueError):
                await cache.get_or_set("key", partial(calls.append, 1), stale=wrong)
            for rate, burst in ((wrong, 1), (1, wrong), (1, 1.5), (1e-300, 1)):
                with pytest.raises(CacheValueError):
                    cache.limiter("calls", rate, burst)
            if self.has(cache, CacheFeature.LOCK) and wrong not in (None, INFINITY):
                with pytest.raises(CacheValueError):
                    await cache.lock("door").acquire(wait=wrong)
        assert not calls
        limiter = cache.limiter("calls", 1, 1)
        for cost in (-1, 0.5, NAN, True, "1", 2**63):
            with pytest.raises(CacheValueError):
                await limiter.acquire(cost=cost)

    @pytest.mark.parametrize("value", [10**5000, [10**5000], SELF_HOLDING, object(), {1j}], ids=lambda value: type(value).__name__)
    async def test_a_value_that_cannot_be_stored_is_refused(self, cache: AsyncCache, value: Any) -> None:
        for operation in (cache.set, cache.set_json, cache.add, cache.replace):
            with pytest.raises(CacheValueError):
                await operation("key", value)
        assert not await cache.exists("key")

    async def test_a_value_larger_than_the_cache_evicts_nothing_and_is_told(self, opened: Any, caplog: pytest.LogCaptureFixture) -> None:
        cache = await opened(**self.small)
        largest = getattr(cache.driver, "largest_value", None)
        if not self.small:
            assert largest is None or largest > 8 << 20
            return
        assert largest is not None
        assert await cache.set_many({f"key-{number}": number for number in range(5)})
        huge = b"x" * (largest + 1)
        await cache.set("huge", "old")
        assert not await cache.add("huge", huge)
        assert await cache.get("huge") == "old"
        assert not await cache.set("huge", huge)
        assert await cache.get("huge", MISS) is MISS
        assert not await cache.set_many({"huge": huge, "small": 1})
        assert await cache.get_or_set("huge", lambda: huge) == huge
        if cache.supports(CacheFeature.CAS):
            with pytest.raises(CacheValueError, match="bytes"):
                await cache.cas("huge", MISS, huge)
        assert await cache.get_many([f"key-{number}" for number in range(5)]) == {f"key-{number}": number for number in range(5)}
        assert (await cache.get("huge", MISS), await cache.get("small")) == (MISS, 1)
        assert sum("bytes" in record.getMessage() for record in caplog.records if record.name == "infra.cache") == 1

    async def test_a_factory_that_asks_for_its_own_key_is_told_so(self, cache: AsyncCache) -> None:
        async def itself() -> Any:
            return await cache.get_or_set("a", itself)

        async def through(key: str, following: str) -> Any:
            return await cache.get_or_set(key, partial(through, following, key))

        for call in (itself, partial(through, "a", "b")):
            with pytest.raises(CacheCycleError) as caught:
                await call()
            assert caught.value.remedy
        assert await cache.get_or_set("a", lambda: 1) == 1

    async def test_a_decorated_function_that_needs_itself_is_told_so_and_one_that_ends_is_not(self, cache: AsyncCache) -> None:
        @cache.cached()
        async def sum_to(number: int) -> Any:
            return 0 if number == 0 else number + await sum_to(number - 1)

        @cache.cached(key=lambda: "endless")
        async def endless() -> Any:
            return await endless()

        assert await sum_to(5) == 15
        with pytest.raises(CacheCycleError):
            await endless()

    @pytest.mark.parametrize("arguments", [{}, {"ttl": None}, {"stale": 600}, {"tags": ["round"]}, {"early": 0}], ids=repr)
    async def test_what_get_or_set_stored_can_be_counted(self, cache: AsyncCache, arguments: Any) -> None:
        if not self.has(cache, CacheFeature.INCR):
            assert not cache.supports(CacheFeature.CAS)
            return
        assert await cache.get_or_set("hits", lambda: 3, **{"ttl": 600, **arguments}) == 3
        assert await cache.incr("hits") == 4
        assert await cache.decr("hits", 2) == 2
        assert await cache.get("hits") == 2
        if cache.supports(CacheFeature.TTL) and "ttl" not in arguments:
            left = await cache.ttl("hits")
            assert left is not None
            assert 400 < left <= 700
        if "tags" in arguments:
            await cache.invalidate_tags(["round"])
            assert await cache.incr("hits") == 1

    async def test_what_is_cleared_is_freed(self, cache: AsyncCache, opened: Any) -> None:
        if not cache.supports(CacheFeature.SCAN):
            with pytest.raises(UnsupportedError, match="scan"):
                await opened(require=["scan"])
            return
        part, prefix = cache.namespace("part"), (await cache.stored_key("key")).split(":")[0]
        for space in (cache, part, part.namespace("deep")):
            await space.set_many({f"key-{number}": number for number in range(50)}, None)

        async def stored() -> int:
            found: set[str] = set()
            token: str | None = ""
            while token is not None:
                keys, token = await cache.driver.scan(prefix, token, 1000, 60.0)
                found.update(keys)
            return len(found)

        async def freed(most: int) -> bool:
            return await stored() <= most

        assert await stored() >= 150
        await part.clear()
        await self.eventually(partial(freed, 50 + 2))
        assert await cache.get("key-1") == 1
        await cache.clear()
        await self.eventually(partial(freed, 1))
