"""Values, times and keys."""

from __future__ import annotations

import dataclasses
import pickle
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pydantic
import pytest

from infra.cache import MISS, AsyncCache, CacheFeature, CacheValueError
from infra.errors import UnsupportedError
from infra_testing.conformance.cache._async.case import ATTEMPTS, AsyncCacheCase


class Profile(pydantic.BaseModel):
    """A typed value."""

    name: str
    born: date


@dataclasses.dataclass
class Point:
    """A typed value without pydantic."""

    x: float
    y: float


class _Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.target,))


JSON_VALUES: list[object] = [None, True, False, 0, -1, 2**63 - 1, -(2**63), 2**80, 0.1, -0.0, 1e300, "", "text", "\U0001f40d é", [], {}]
OTHER_VALUES: list[object] = [
    b"",
    bytes(range(256)),
    [1, [2, {"a": None}]],
    {"nested": {"deep": [True, 1.5, "x"]}},
    {"$": "not a tag", "v": 1},
    {1: "one", (2, 3): "pair"},
    (1, (2, "three")),
    {1, 2},
    frozenset({"a"}),
    float("inf"),
    datetime(2024, 2, 29, 12, 30, 1, 5, tzinfo=UTC),
    datetime(2024, 2, 29, 12, 30),
    date(2024, 2, 29),
    timedelta(days=-1, microseconds=1),
    Decimal("10.10"),
    UUID(int=7),
    {"when": datetime(2024, 1, 1, tzinfo=UTC), "blob": [b"\x00"]},
]
KEYS = ["k" * 5000, "k" * 5000 + "2", "ключ 🔑", "a*b?[c]", "with space", "new\nline", "\x00", "~tilde", "a:b", "a/b", "%s{0}", "\ud800"]


NO_VALUES = [b"", b"j", b"j{", b"t[", b"s\xff", b"z", b"1x", b"-", b"--1", b"1" * 50, b"\xff\x00", b"j" + b"[" * 100_000]
UNKNOWN_TYPES = [b't{"$":"unknown","v":1}', b't{"$":["list"],"v":1}', b't{"$":"uuid","v":"x"}']
DAMAGED_ENVELOPES = [b"e", b"e{}", b"e[]\nb", b'e{"f":"x"}\nj1', b'e{"t":1}\nj1']


class AsyncValueCases(AsyncCacheCase):
    """Cases 1 to 5, 9 to 12, 24 and 26 of the cache's page."""

    async def test_a_stored_none_differs_from_a_miss(self, cache: AsyncCache) -> None:
        assert await cache.get("key", MISS) is MISS
        assert await cache.get("key") is None
        assert not await cache.exists("key")
        assert await cache.set("key", None)
        assert await cache.get("key", "default") is None
        assert await cache.exists("key")
        assert await cache.delete("key")
        assert not await cache.delete("key")
        assert await cache.get("key", MISS) is MISS

    async def test_many_keep_the_order_of_the_keys_and_leave_out_what_is_absent(self, cache: AsyncCache) -> None:
        assert await cache.set_many({"b": 2, "a": 1, "none": None})
        found = await cache.get_many(["a", "absent", "none", "b", "a"])
        assert list(found.items()) == [("a", 1), ("none", None), ("b", 2)]
        assert await cache.delete_many(["a", "a", "absent", "b"]) == 2
        assert await cache.get_many(iter(["a", "b", "none"])) == {"none": None}

    async def test_many_of_nothing_do_nothing(self, cache: AsyncCache) -> None:
        assert await cache.get_many([]) == {}
        assert await cache.set_many({})
        assert await cache.delete_many([]) == 0
        assert await cache.invalidate_tags([])

    async def test_five_hundred_keys_travel_together(self, cache: AsyncCache) -> None:
        values = {f"key-{number}": number for number in range(500)}
        assert await cache.set_many(values)
        assert await cache.get_many(values) == values
        assert await cache.delete_many(values) == 500

    async def test_an_entry_ends_with_its_ttl_and_one_without_stays(self, cache: AsyncCache) -> None:
        await cache.set("short", 1, ttl=timedelta(milliseconds=60))
        await cache.set("endless", 1, ttl=None)
        await self.gone(cache, "short")
        assert await cache.get("short", MISS) is MISS
        assert await cache.get_many(["short", "endless"]) == {"endless": 1}

    async def test_touch_gives_a_new_ttl(self, cache: AsyncCache) -> None:
        if not self.has(cache, CacheFeature.TOUCH):
            await cache.set("key", 1)
            with pytest.raises(UnsupportedError, match="touch"):
                await cache.touch("key")
            return
        for attempt in range(ATTEMPTS):
            key = f"key {attempt}"
            await cache.set(key, 1, ttl=0.2)
            if await cache.touch(key, 600):
                break
        else:
            raise AssertionError("touch finds nothing")
        await cache.set("witness", 1, ttl=0.2)
        await self.gone(cache, "witness")
        assert await cache.get(key) == 1
        assert not await cache.touch("witness", 600)
        assert await cache.touch(key, 0.05)
        await self.gone(cache, key)

    async def test_touch_moves_the_time_of_a_computed_value_too(self, cache: AsyncCache) -> None:
        if not self.has(cache, CacheFeature.TOUCH):
            assert not cache.supports(CacheFeature.TOUCH)
            return

        async def one() -> int:
            return 1

        for attempt in range(ATTEMPTS):
            key = f"key {attempt}"
            await cache.get_or_set(key, one, ttl=0.2, stale=0.1)
            if not cache.supports(CacheFeature.CAS):
                assert cache.supports(CacheFeature.TOUCH)
                return
            if await cache.touch(key, 600):
                break
        else:
            raise AssertionError("touch finds nothing")
        await cache.set("witness", 1, ttl=0.3)
        await self.gone(cache, "witness")
        assert await cache.get(key) == 1

    async def test_ttl_tells_what_is_left(self, cache: AsyncCache) -> None:
        await cache.set("key", 1, ttl=1000)
        if not cache.supports(CacheFeature.TTL):
            with pytest.raises(UnsupportedError, match="ttl"):
                await cache.ttl("key")
            return
        left = await cache.ttl("key")
        assert left is not None
        assert 900 < left <= 1000
        await cache.set("endless", 1, ttl=None)
        assert await cache.ttl("endless") == float("inf")
        assert await cache.ttl("absent") is None

    async def test_a_ttl_that_is_not_positive_is_refused(self, cache: AsyncCache) -> None:
        for ttl in (0, -1, timedelta(0), 1e15):
            with pytest.raises(CacheValueError, match="TTL"):
                await cache.set("key", 1, ttl=ttl)

    async def test_a_plain_set_resets_the_ttl(self, cache: AsyncCache) -> None:
        await cache.set("key", "old", ttl=0.2)
        await cache.set("witness", "old", ttl=0.2)
        await cache.set("key", "new", ttl=None)
        await self.gone(cache, "witness")
        assert await cache.get("key") == "new"

    async def test_add_wins_only_where_nothing_is_and_after_expiry(self, cache: AsyncCache) -> None:
        for attempt in range(ATTEMPTS):
            key = f"key {attempt}"
            assert await cache.add(key, "first", ttl=0.1)
            if not await cache.add(key, "second"):
                break
        else:
            raise AssertionError("add overwrites")
        assert await cache.get(key, "first") == "first"
        await self.gone(cache, key)
        assert await cache.add(key, "third")
        assert await cache.get(key) == "third"

    async def test_replace_wins_only_where_something_is(self, cache: AsyncCache) -> None:
        assert not await cache.replace("key", "first")
        assert await cache.get("key", MISS) is MISS
        await cache.set("key", "first")
        assert await cache.replace("key", "second", ttl=0.1)
        assert await cache.get("key", "second") == "second"
        await self.gone(cache, "key")
        assert not await cache.replace("key", "third")

    async def test_values_are_isolated_from_mutation(self, cache: AsyncCache) -> None:
        value = {"list": [1]}
        await cache.set("key", value)
        value["list"].append(2)
        read = await cache.get("key")
        assert read == {"list": [1]}
        read["list"].append(3)
        assert await cache.get("key") == {"list": [1]}

    @pytest.mark.parametrize("value", JSON_VALUES + OTHER_VALUES, ids=repr)
    async def test_values_come_back_as_they_were(self, cache: AsyncCache, value: object) -> None:
        await cache.set("key", value)
        read = await cache.get("key")
        assert read == value
        assert type(read) is type(value)

    async def test_models_dataclasses_and_own_types_come_back_once_registered(self, cache: AsyncCache) -> None:
        profile, point = Profile(name="Ada", born=date(1815, 12, 10)), Point(1.0, 2.0)
        for value in (profile, point, 1j):
            with pytest.raises(CacheValueError, match="register"):
                await cache.set("key", {"within": [value]})
        cache.codecs.register(Profile)
        cache.codecs.register(Point)
        cache.codecs.register(
            complex, tag="complex", encode=lambda number: [number.real, number.imag], decode=lambda parts: complex(*parts)
        )
        for value in (profile, point, 1j):
            await cache.set("key", {"within": [value]})
            assert await cache.get("key") == {"within": [value]}

    async def test_json_is_stored_plainly_and_read_from_text_and_bytes(self, cache: AsyncCache) -> None:
        assert await cache.set_json("key", {"a": [1, None]})
        assert await cache.get_json("key") == {"a": [1, None]}
        await cache.set("text", '{"b": 2}')
        await cache.set("bytes", b"[3]")
        await cache.set("other", b"{")
        assert await cache.get_json("text") == {"b": 2}
        assert await cache.get_json("bytes") == [3]
        assert await cache.get_json("other", "default") == "default"
        assert await cache.get_json("absent", "default") == "default"
        with pytest.raises(CacheValueError):
            await cache.set_json("key", {"when": date(2024, 1, 1)})

    @pytest.mark.parametrize("raw", NO_VALUES + UNKNOWN_TYPES + DAMAGED_ENVELOPES, ids=lambda raw: repr(raw[:20]))
    async def test_what_does_not_decode_is_a_miss_and_counted(self, cache: AsyncCache, raw: bytes) -> None:
        await self.plant(cache, "key", raw)
        before = cache.stats()
        assert await cache.get("key", MISS) is MISS
        assert await cache.get_many(["key"]) == {}
        after = cache.stats()
        assert after.undecodable == before.undecodable + 2
        assert after.misses == before.misses + 2
        assert await cache.set("key", "healed")
        assert await cache.get("key") == "healed"

    async def test_a_pickle_is_never_executed(self, cache: AsyncCache, tmp_path: Path) -> None:
        trap = tmp_path / "trap"
        payload = pickle.dumps(_Bomb(trap))
        for raw in (payload, b"b" + payload, b"j" + payload, b"e{}\n" + payload):
            await self.plant(cache, "key", raw)
            await cache.get("key")
            await cache.get_many(["key"])
        assert not trap.exists()

    @pytest.mark.parametrize("key", KEYS, ids=ascii)
    async def test_any_text_is_a_key_of_its_own(self, cache: AsyncCache, key: str) -> None:
        others = {other: f"value of {other!a}" for other in KEYS}
        assert await cache.set_many(others)
        assert await cache.delete(key)
        assert await cache.get_many(others) == {other: value for other, value in others.items() if other != key}

    async def test_an_empty_key_is_refused(self, cache: AsyncCache) -> None:
        with pytest.raises(CacheValueError, match="empty"):
            await cache.get("")
        with pytest.raises(CacheValueError, match="empty"):
            await cache.set("", 1)

    async def test_beyond_its_bound_the_least_recently_used_entries_go(self, opened: Any) -> None:
        cache = await opened(**self.bounded)
        if not cache.supports(CacheFeature.BOUNDED):
            with pytest.raises(UnsupportedError, match="bounded"):
                await opened(require=["bounded"])
            return
        await cache.set("used", "often", ttl=None)
        await cache.set("unused", "never", ttl=None)
        for number in range(500):
            await cache.set(f"key-{number}", number, ttl=None)
            assert await cache.get("used") == "often"
        assert await cache.get("unused", MISS) is MISS
        assert await cache.get("key-499") == 499
        kept = await cache.get_many([f"key-{number}" for number in range(500)])
        assert 0 < len(kept) < 500
        assert list(kept.values()) == list(range(500 - len(kept), 500))

    async def test_statistics_count_what_happened(self, cache: AsyncCache) -> None:
        await cache.set("key", 1)
        await cache.get("key")
        await cache.get("absent")
        await cache.get_many(["key", "absent"])
        await cache.delete("key")
        stats = cache.stats()
        assert (stats.hits, stats.misses, stats.writes, stats.deletes) == (2, 2, 1, 1)
        assert stats.hit_rate == 0.5
        assert not stats.degraded
