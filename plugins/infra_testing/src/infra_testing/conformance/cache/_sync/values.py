# Generated from values.py by tools/generate_sync.py: edit that file, then run `make sync`.
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

from infra.cache import MISS, Cache, CacheFeature, CacheValueError
from infra.errors import UnsupportedError
from infra_testing.conformance.cache._sync.case import ATTEMPTS, CacheCase


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


class ValueCases(CacheCase):
    """Cases 1 to 5, 9 to 12, 24 and 26 of the cache's page."""

    def test_a_stored_none_differs_from_a_miss(self, cache: Cache) -> None:
        assert cache.get("key", MISS) is MISS
        assert cache.get("key") is None
        assert not cache.exists("key")
        assert cache.set("key", None)
        assert cache.get("key", "default") is None
        assert cache.exists("key")
        assert cache.delete("key")
        assert not cache.delete("key")
        assert cache.get("key", MISS) is MISS

    def test_many_keep_the_order_of_the_keys_and_leave_out_what_is_absent(self, cache: Cache) -> None:
        assert cache.set_many({"b": 2, "a": 1, "none": None})
        found = cache.get_many(["a", "absent", "none", "b", "a"])
        assert list(found.items()) == [("a", 1), ("none", None), ("b", 2)]
        assert cache.delete_many(["a", "a", "absent", "b"]) == 2
        assert cache.get_many(iter(["a", "b", "none"])) == {"none": None}

    def test_many_of_nothing_do_nothing(self, cache: Cache) -> None:
        assert cache.get_many([]) == {}
        assert cache.set_many({})
        assert cache.delete_many([]) == 0
        assert cache.invalidate_tags([])

    def test_five_hundred_keys_travel_together(self, cache: Cache) -> None:
        values = {f"key-{number}": number for number in range(500)}
        assert cache.set_many(values)
        assert cache.get_many(values) == values
        assert cache.delete_many(values) == 500

    def test_an_entry_ends_with_its_ttl_and_one_without_stays(self, cache: Cache) -> None:
        cache.set("short", 1, ttl=timedelta(milliseconds=60))
        cache.set("endless", 1, ttl=None)
        self.gone(cache, "short")
        assert cache.get("short", MISS) is MISS
        assert cache.get_many(["short", "endless"]) == {"endless": 1}

    def test_touch_gives_a_new_ttl(self, cache: Cache) -> None:
        if not self.has(cache, CacheFeature.TOUCH):
            cache.set("key", 1)
            with pytest.raises(UnsupportedError, match="touch"):
                cache.touch("key")
            return
        for attempt in range(ATTEMPTS):
            key = f"key {attempt}"
            cache.set(key, 1, ttl=0.2)
            if cache.touch(key, 600):
                break
        else:
            raise AssertionError("touch finds nothing")
        cache.set("witness", 1, ttl=0.2)
        self.gone(cache, "witness")
        assert cache.get(key) == 1
        assert not cache.touch("witness", 600)
        assert cache.touch(key, 0.05)
        self.gone(cache, key)

    def test_touch_moves_the_time_of_a_computed_value_too(self, cache: Cache) -> None:
        if not self.has(cache, CacheFeature.TOUCH):
            assert not cache.supports(CacheFeature.TOUCH)
            return

        def one() -> int:
            return 1

        for attempt in range(ATTEMPTS):
            key = f"key {attempt}"
            cache.get_or_set(key, one, ttl=0.2, stale=0.1)
            if not cache.supports(CacheFeature.CAS):
                assert cache.supports(CacheFeature.TOUCH)
                return
            if cache.touch(key, 600):
                break
        else:
            raise AssertionError("touch finds nothing")
        cache.set("witness", 1, ttl=0.3)
        self.gone(cache, "witness")
        assert cache.get(key) == 1

    def test_ttl_tells_what_is_left(self, cache: Cache) -> None:
        cache.set("key", 1, ttl=1000)
        if not cache.supports(CacheFeature.TTL):
            with pytest.raises(UnsupportedError, match="ttl"):
                cache.ttl("key")
            return
        left = cache.ttl("key")
        assert left is not None
        assert 900 < left <= 1000
        cache.set("endless", 1, ttl=None)
        assert cache.ttl("endless") == float("inf")
        assert cache.ttl("absent") is None

    def test_a_ttl_that_is_not_positive_is_refused(self, cache: Cache) -> None:
        for ttl in (0, -1, timedelta(0), 1e15):
            with pytest.raises(CacheValueError, match="TTL"):
                cache.set("key", 1, ttl=ttl)

    def test_a_plain_set_resets_the_ttl(self, cache: Cache) -> None:
        cache.set("key", "old", ttl=0.2)
        cache.set("witness", "old", ttl=0.2)
        cache.set("key", "new", ttl=None)
        self.gone(cache, "witness")
        assert cache.get("key") == "new"

    def test_add_wins_only_where_nothing_is_and_after_expiry(self, cache: Cache) -> None:
        for attempt in range(ATTEMPTS):
            key = f"key {attempt}"
            assert cache.add(key, "first", ttl=0.1)
            if not cache.add(key, "second"):
                break
        else:
            raise AssertionError("add overwrites")
        assert cache.get(key, "first") == "first"
        self.gone(cache, key)
        assert cache.add(key, "third")
        assert cache.get(key) == "third"

    def test_replace_wins_only_where_something_is(self, cache: Cache) -> None:
        assert not cache.replace("key", "first")
        assert cache.get("key", MISS) is MISS
        cache.set("key", "first")
        assert cache.replace("key", "second", ttl=0.1)
        assert cache.get("key", "second") == "second"
        self.gone(cache, "key")
        assert not cache.replace("key", "third")

    def test_values_are_isolated_from_mutation(self, cache: Cache) -> None:
        value = {"list": [1]}
        cache.set("key", value)
        value["list"].append(2)
        read = cache.get("key")
        assert read == {"list": [1]}
        read["list"].append(3)
        assert cache.get("key") == {"list": [1]}

    @pytest.mark.parametrize("value", JSON_VALUES + OTHER_VALUES, ids=repr)
    def test_values_come_back_as_they_were(self, cache: Cache, value: object) -> None:
        cache.set("key", value)
        read = cache.get("key")
        assert read == value
        assert type(read) is type(value)

    def test_models_dataclasses_and_own_types_come_back_once_registered(self, cache: Cache) -> None:
        profile, point = Profile(name="Ada", born=date(1815, 12, 10)), Point(1.0, 2.0)
        for value in (profile, point, 1j):
            with pytest.raises(CacheValueError, match="register"):
                cache.set("key", {"within": [value]})
        cache.codecs.register(Profile)
        cache.codecs.register(Point)
        cache.codecs.register(
            complex, tag="complex", encode=lambda number: [number.real, number.imag], decode=lambda parts: complex(*parts)
        )
        for value in (profile, point, 1j):
            cache.set("key", {"within": [value]})
            assert cache.get("key") == {"within": [value]}

    def test_json_is_stored_plainly_and_read_from_text_and_bytes(self, cache: Cache) -> None:
        assert cache.set_json("key", {"a": [1, None]})
        assert cache.get_json("key") == {"a": [1, None]}
        cache.set("text", '{"b": 2}')
        cache.set("bytes", b"[3]")
        cache.set("other", b"{")
        assert cache.get_json("text") == {"b": 2}
        assert cache.get_json("bytes") == [3]
        assert cache.get_json("other", "default") == "default"
        assert cache.get_json("absent", "default") == "default"
        with pytest.raises(CacheValueError):
            cache.set_json("key", {"when": date(2024, 1, 1)})

    @pytest.mark.parametrize("raw", NO_VALUES + UNKNOWN_TYPES + DAMAGED_ENVELOPES, ids=lambda raw: repr(raw[:20]))
    def test_what_does_not_decode_is_a_miss_and_counted(self, cache: Cache, raw: bytes) -> None:
        self.plant(cache, "key", raw)
        before = cache.stats()
        assert cache.get("key", MISS) is MISS
        assert cache.get_many(["key"]) == {}
        after = cache.stats()
        assert after.undecodable == before.undecodable + 2
        assert after.misses == before.misses + 2
        assert cache.set("key", "healed")
        assert cache.get("key") == "healed"

    def test_a_pickle_is_never_executed(self, cache: Cache, tmp_path: Path) -> None:
        trap = tmp_path / "trap"
        payload = pickle.dumps(_Bomb(trap))
        for raw in (payload, b"b" + payload, b"j" + payload, b"e{}\n" + payload):
            self.plant(cache, "key", raw)
            cache.get("key")
            cache.get_many(["key"])
        assert not trap.exists()

    @pytest.mark.parametrize("key", KEYS, ids=ascii)
    def test_any_text_is_a_key_of_its_own(self, cache: Cache, key: str) -> None:
        others = {other: f"value of {other!a}" for other in KEYS}
        assert cache.set_many(others)
        assert cache.delete(key)
        assert cache.get_many(others) == {other: value for other, value in others.items() if other != key}

    def test_an_empty_key_is_refused(self, cache: Cache) -> None:
        with pytest.raises(CacheValueError, match="empty"):
            cache.get("")
        with pytest.raises(CacheValueError, match="empty"):
            cache.set("", 1)

    def test_beyond_its_bound_the_least_recently_used_entries_go(self, opened: Any) -> None:
        cache = opened(**self.bounded)
        if not cache.supports(CacheFeature.BOUNDED):
            with pytest.raises(UnsupportedError, match="bounded"):
                opened(require=["bounded"])
            return
        cache.set("used", "often", ttl=None)
        cache.set("unused", "never", ttl=None)
        for number in range(500):
            cache.set(f"key-{number}", number, ttl=None)
            assert cache.get("used") == "often"
        assert cache.get("unused", MISS) is MISS
        assert cache.get("key-499") == 499
        kept = cache.get_many([f"key-{number}" for number in range(500)])
        assert 0 < len(kept) < 500
        assert list(kept.values()) == list(range(500 - len(kept), 500))

    def test_statistics_count_what_happened(self, cache: Cache) -> None:
        cache.set("key", 1)
        cache.get("key")
        cache.get("absent")
        cache.get_many(["key", "absent"])
        cache.delete("key")
        stats = cache.stats()
        assert (stats.hits, stats.misses, stats.writes, stats.deletes) == (2, 2, 1, 1)
        assert stats.hit_rate == 0.5
        assert not stats.degraded
