"""Caches that were broken on purpose: each turns the suite red, with the case that says why."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import wraps
from typing import Any

import pytest

from infra.cache.model import CacheItem, SetMode
from infra.errors import ErrorCode
from infra_testing.conformance.cache import AsyncCacheConformance
from infra_testing.conformance.cache._async import case as case_module
from infra_testing.conformance.cache._async import faults
from infra_testing.harness import Harness
from infra_testing.private import PrivateServer
from infra_testing.services import RedisServer

LONG = 3.0  # seconds


def replace(driver: Any, **methods: Any) -> None:
    """``replace(driver, get_many=wrapper)``: each wrapper gets the method it takes the place of."""
    for name, wrapper in methods.items():
        original = getattr(driver, name)
        setattr(driver, name, wraps(original)(wrapper(original)))


def constant(value: Any) -> Any:
    """A method that always answers so."""

    async def method(*_: Any) -> Any:
        return value

    return lambda _: method


def desync(driver: Any) -> None:
    """One connection; a cancelled caller leaves its answer to the next one."""
    lock, answers = asyncio.Lock(), list[Any]()

    def over_the_wire(method: Any) -> Any:
        async def call(*args: Any) -> Any:
            async with lock:
                answers.append(await method(*args))
                await asyncio.sleep(0.0005)
                return answers.pop(0)

        return call

    replace(driver, get_many=over_the_wire, set_many=over_the_wire, delete_many=over_the_wire)


def add_in_two_steps(driver: Any) -> None:
    def cas(_: Any) -> Any:
        async def call(key: str, expected: bytes | None, value: bytes, ttl_ms: int | None, timeout: float) -> bool:
            (now,) = await driver.get_many([key], timeout)
            await asyncio.sleep(0)
            if now != expected:
                return False
            return (await driver.set_many([CacheItem(key, value, ttl_ms)], SetMode.SET, timeout))[0]

        return call

    replace(driver, cas=cas)


def no_ttl(driver: Any) -> None:
    def endless(method: Any) -> Any:
        async def call(items: Any, mode: SetMode, timeout: float) -> Any:
            return await method([item._replace(ttl_ms=None) for item in items], mode, timeout)

        return call

    replace(driver, set_many=endless)


def always_set(driver: Any) -> None:
    def any_mode(method: Any) -> Any:
        async def call(items: Any, _mode: SetMode, timeout: float) -> Any:
            return await method(items, SetMode.SET, timeout)

        return call

    replace(driver, set_many=any_mode)


def replace_over_expired(driver: Any) -> None:
    seen = set[str]()

    def remembered(method: Any) -> Any:
        async def call(items: Any, mode: SetMode, timeout: float) -> Any:
            gone = mode is SetMode.REPLACE and all(item.key in seen for item in items)
            seen.update(item.key for item in items)
            return await method(items, SetMode.SET if gone else mode, timeout)

        return call

    def read(method: Any) -> Any:
        async def call(keys: Any, timeout: float) -> Any:
            return [b"j1" if value is None and key in seen else value for key, value in zip(keys, await method(keys, timeout), strict=True)]

        return call

    replace(driver, set_many=remembered, get_many=read)


def unsorted_answers(driver: Any) -> None:
    def backwards(method: Any) -> Any:
        async def call(keys: Any, timeout: float) -> Any:
            return (await method(keys, timeout))[::-1]

        return call

    replace(driver, get_many=backwards)


def fence_stands(driver: Any) -> None:
    def one(method: Any) -> Any:
        async def call(*args: Any) -> Any:
            return None if await method(*args) is None else 1

        return call

    replace(driver, lock_acquire=one)


def counter_in_two_steps(driver: Any) -> None:
    def incr(method: Any) -> Any:
        async def call(key: str, by: int, ttl_ms: int | None, timeout: float) -> int:
            before = await method(key, 0, ttl_ms, timeout)
            await asyncio.sleep(0)
            now = await method(key, 0, ttl_ms, timeout)
            return await method(key, before + by - now, ttl_ms, timeout)

        return call

    replace(driver, incr=incr)


EMBEDDED = [
    (desync, "test_a_cancelled_call_leaves_no_answer_to_the_next", "answer to a cancelled call"),
    (desync, "test_cancelling_calls_of_the_driver_leaves_no_answer_to_the_next", "answer to a cancelled call"),
    (add_in_two_steps, "test_of_concurrent_compare_and_sets_one_wins", ""),
    (no_ttl, "test_an_entry_ends_with_its_ttl_and_one_without_stays", "did not come true"),
    (always_set, "test_add_wins_only_where_nothing_is_and_after_expiry", "add overwrites"),
    (replace_over_expired, "test_replace_wins_only_where_something_is", ""),
    (unsorted_answers, "test_many_keep_the_order_of_the_keys_and_leave_out_what_is_absent", ""),
    (fence_stands, "test_an_expired_holder_loses_and_the_fencing_number_grows", ""),
    (counter_in_two_steps, "test_a_hundred_concurrent_increments_make_a_hundred", ""),
    (lambda driver: replace(driver, lock_release=constant(True)), "test_a_lock_has_one_holder_and_a_foreign_token_cannot_release_it", ""),
    (lambda driver: replace(driver, lock_acquire=constant(7)), "test_a_lock_has_one_holder_and_a_foreign_token_cannot_release_it", ""),
    (lambda driver: replace(driver, touch=constant(True)), "test_touch_gives_a_new_ttl", ""),
    (lambda driver: replace(driver, ttl=constant(-1)), "test_ttl_tells_what_is_left", ""),
    (lambda driver: replace(driver, delete_many=constant([True])), "test_a_stored_none_differs_from_a_miss", ""),
]


@pytest.fixture(autouse=True)
def less_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What never comes true is waited for no longer than this."""
    monkeypatch.setattr(case_module, "PATIENCE", 3.0)


@pytest.mark.parametrize(("plant", "case", "reason"), EMBEDDED)
async def test_a_broken_cache_turns_the_suite_red(run_case: Any, plant: Any, case: str, reason: str) -> None:
    harness = Harness("memory", plugin="infra_local")
    await run_case(AsyncCacheConformance, case, harness, None)
    with pytest.raises((AssertionError, pytest.fail.Exception)) as caught:
        await run_case(AsyncCacheConformance, case, harness, plant)
    assert reason in str(caught.value)


own_server = PrivateServer(RedisServer, lambda port: {"port": port})


@pytest.fixture(scope="module")
def redis() -> Iterator[Harness]:
    yield Harness("redis", {"host": "127.0.0.1"}, "infra_redis", server=own_server)
    own_server.close()


def classified(driver: Any, **codes: ErrorCode | None) -> None:
    """Take errors of one code for another."""
    original = driver.classify
    names = {ErrorCode[name]: code for name, code in codes.items()}

    def classify(error: BaseException) -> ErrorCode | None:
        code = original(error)
        return names.get(code, code)

    driver.classify = classify


def ignores_timeout(driver: Any) -> None:
    def longer(method: Any) -> Any:
        async def call(keys: Any, timeout: float) -> Any:
            return await method(keys, timeout + LONG)

        return call

    replace(driver, get_many=longer)


def leaky(driver: Any) -> None:
    driver.close_after_all = driver.close
    replace(driver, close=constant(None))


UNREACHABLE = "test_a_server_that_refuses_is_unavailable_and_found_again"
SILENT = "test_a_silent_server_costs_no_more_than_the_timeout"
SERVER = [
    (lambda driver: classified(driver, UNAVAILABLE=ErrorCode.INTERNAL), UNREACHABLE, "an unreachable server is told as INTERNAL"),
    (lambda driver: classified(driver, UNAVAILABLE=None), UNREACHABLE, "an unreachable server is told as None"),
    (
        lambda driver: classified(driver, UNAVAILABLE=ErrorCode.INVALID_ARGUMENT),
        "test_an_answer_cut_in_the_middle_is_nobodys",
        "is told as",
    ),
    (lambda driver: classified(driver, TIMEOUT=ErrorCode.INTERNAL), SILENT, "does not answer is told as"),
    (ignores_timeout, SILENT, "does not keep to its timeout"),
    (leaky, "test_closing_ends_all_connections", "connections open"),
]


@pytest.mark.parametrize(("plant", "case", "reason"), SERVER)
async def test_a_cache_that_fails_with_its_server_turns_the_suite_red(
    run_case: Any, redis: Harness, monkeypatch: pytest.MonkeyPatch, plant: Any, case: str, reason: str
) -> None:
    await run_case(AsyncCacheConformance, case, redis, None)
    monkeypatch.setattr(faults, "GIVING_UP", 1.0)
    with pytest.raises(AssertionError, match=reason):
        await asyncio.wait_for(run_case(AsyncCacheConformance, case, redis, plant), 100)
