"""Cancelled calls, and what happens when the server, or the way to it, does not do what it should."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import pytest

from infra.cache import MISS, AsyncCache, CacheItem, CacheOperationError, SetMode
from infra.errors import ErrorCode
from infra.runtime.aio import gather
from infra_testing.conformance.base.server import private_server
from infra_testing.conformance.cache._async.case import PATIENCE, AsyncCacheCase
from infra_testing.private import PrivateServer
from infra_testing.proxy import Direction, FaultProxy

# async-only: begin
import asyncio  # isort: skip

# async-only: end

#: Seconds that a call may take which has to give up; what has a `timeout` of less must not take longer, however busy the machine.
GIVING_UP = 20.0


class AsyncFaultCases(AsyncCacheCase):
    """Faults. Those of a server run with a harness that gives one.

    Attributes:
        too_large: Bytes of a value that the provider refuses by its size; None where there is no such bound.
    """

    too_large: ClassVar[int | None] = None

    def fault_server(self, *, to_kill: bool = False) -> PrivateServer | None:
        """See `private_server`."""
        return private_server(self.harness, self.capability, to_kill=to_kill)

    async def own_values(self, cache: AsyncCache, *, count: int = 20) -> None:
        """Write and read, at once and in turn; each read must give what stands under its own key."""
        values = {f"own-{number}": number for number in range(count)}
        assert await cache.set_many(values)
        assert await gather(*[partial(cache.get, key) for key in values]) == list(values.values())
        assert [await cache.get(key) for key in values] == list(values.values())

    async def raised(self, cache: AsyncCache, call: Callable[[], Any]) -> ErrorCode | None:
        """What the driver calls the exception that `call` ends with, soon."""
        started = time.monotonic()
        with pytest.raises(Exception) as caught:
            await call()
        assert time.monotonic() - started < GIVING_UP, "the call does not keep to its timeout"
        return cache.driver.classify(caught.value) or (ErrorCode.TIMEOUT if isinstance(caught.value, TimeoutError) else None)

    # async-only: begin
    async def test_a_cancelled_call_leaves_no_answer_to_the_next(self, cache: AsyncCache) -> None:
        await cancel_and_read(cache, turns=60)

    async def test_cancelling_calls_of_the_driver_leaves_no_answer_to_the_next(self, cache: AsyncCache) -> None:
        driver = cache.driver
        items = [CacheItem(f"raw-{number}", str(number).encode(), None) for number in range(8)]
        assert await driver.set_many(items, SetMode.SET, PATIENCE) == [True] * 8
        for turn in range(48):
            calls: list[Callable[[], Any]] = [
                partial(driver.get_many, ["raw-0", "raw-1"], PATIENCE),
                partial(driver.set_many, items[:1], SetMode.SET, PATIENCE),
                partial(driver.delete_many, ["raw-absent"], PATIENCE),
            ]
            await cancelled(calls[turn % 3], turn // 3)
            wanted = items[turn % 7 + 1]
            found = await driver.get_many([wanted.key], PATIENCE)
            assert found == [wanted.value], f"a read of {wanted.key} got {found}, the answer to a cancelled call"

    async def test_a_storm_of_cancelled_calls_over_a_slow_line_leaves_no_answer(self, opened: Any) -> None:
        server = self.fault_server()
        if server is None:
            return
        cache = await opened(**server.settings(), timeout=PATIENCE)
        server.proxy.delay(0.002, Direction.TO_CLIENT)
        await cancel_and_read(cache, turns=40)
        storm = [asyncio.create_task(cache.get("other")) for _ in range(100)]
        await asyncio.sleep(0.003)
        for task in storm[::2]:
            task.cancel()
        answers = await asyncio.gather(*storm, return_exceptions=True)
        assert all(answer == "of other" or isinstance(answer, asyncio.CancelledError) for answer in answers), answers
        server.proxy.heal()
        await self.own_values(cache)

    # async-only: end

    async def test_a_value_too_large_is_told_as_such(self, cache: AsyncCache) -> None:
        if self.too_large is None:
            return
        with pytest.raises(CacheOperationError) as caught:
            await cache.set("large", b"x" * self.too_large)
        assert caught.value.code is ErrorCode.INVALID_ARGUMENT, f"a value too large was told as {caught.value.code}"
        assert not cache.stats().degraded
        await self.own_values(cache)

    async def test_a_server_that_refuses_is_unavailable_and_found_again(self, opened: Any) -> None:
        server = self.fault_server()
        if server is None:
            return
        cache = await opened(**server.settings(), probe_interval=0.05)
        await cache.set("key", "kept")
        server.proxy.refuse()
        server.proxy.reset()
        code = await self.raised(cache, lambda: cache.driver.get_many(["raw"], 2.0))
        assert code is ErrorCode.UNAVAILABLE, f"an unreachable server is told as {code}"
        assert await cache.get("key", "default") == "default"
        assert cache.stats().degraded
        server.proxy.heal()
        await self.recovered(cache)
        assert await cache.get("key") == "kept"
        await self.own_values(cache)

    async def test_a_silent_server_costs_no_more_than_the_timeout(self, opened: Any) -> None:
        server = self.fault_server()
        if server is None:
            return
        cache = await opened(**server.settings())
        await self.own_values(cache)
        server.proxy.black_hole()
        driver = cache.driver
        calls: list[Callable[[], Any]] = [
            lambda: driver.get_many(["raw"], 0.2),
            lambda: driver.set_many([CacheItem("raw", b"1", None)], SetMode.SET, 0.2),
            lambda: driver.delete_many(["raw"], 0.2),
            lambda: driver.ping(0.2),
        ]
        codes = [await self.raised(cache, call) for call in calls]
        assert set(codes) <= {ErrorCode.TIMEOUT, ErrorCode.UNAVAILABLE}, f"a server that does not answer is told as {codes}"
        assert codes[0] is ErrorCode.TIMEOUT, f"a server that does not answer is told as {codes[0]}"
        server.proxy.heal()
        await self.own_values(cache)

    async def test_a_slow_answer_is_waited_for(self, opened: Any) -> None:
        server = self.fault_server()
        if server is None:
            return
        cache = await opened(**server.settings(), timeout=GIVING_UP)
        server.proxy.delay(0.1)
        assert await cache.set("key", "slow")
        assert await cache.get("key") == "slow"
        assert not cache.stats().degraded

    async def test_an_answer_cut_in_the_middle_is_nobodys(self, opened: Any) -> None:
        server = self.fault_server()
        if server is None:
            return
        cache = await opened(**server.settings(), probe_interval=0.05)
        item = CacheItem("raw", b"whole " * 1000, None)
        for then in ("close", "reset"):
            assert await cache.driver.set_many([item], SetMode.SET, PATIENCE) == [True]
            server.proxy.truncate(2000, then=then)  # type: ignore[arg-type]
            code = await self.raised(cache, lambda: cache.driver.get_many(["raw"], 2.0))
            assert code in (ErrorCode.UNAVAILABLE, ErrorCode.TIMEOUT), f"a connection that broke is told as {code}"
            server.proxy.heal()
            assert await cache.driver.get_many(["raw"], PATIENCE) == [item.value]
        await self.own_values(cache)

    async def test_closing_ends_all_connections(self, opened: Any) -> None:
        server = self.fault_server()
        if server is None:
            return
        server.proxy.reset()  # what earlier cases left is on its way out
        before = server.proxy.open_connections
        cache = await opened(**server.settings())
        await self.own_values(cache)
        await cache.close()
        await self.closed(server.proxy, before)

    async def test_a_server_that_was_killed_is_found_again(self, opened: Any) -> None:
        server = self.fault_server(to_kill=True)
        if server is None:
            return
        cache = await opened(**server.settings(), probe_interval=0.05)
        await self.own_values(cache)
        server.server.kill()
        assert await cache.get("own-1", MISS) is MISS
        assert not await cache.set("key", 1)
        server.server.start()
        await self.recovered(cache)
        await self.own_values(cache)

    async def recovered(self, cache: AsyncCache) -> None:
        """Wait until the cache uses its server again."""

        async def whole() -> bool:
            return not cache.stats().degraded

        await self.eventually(whole)

    async def closed(self, proxy: FaultProxy, before: int) -> None:
        """Wait until no more than `before` connections are open."""
        until = time.monotonic() + GIVING_UP
        while (left := proxy.open_connections) > before:
            assert time.monotonic() < until, f"closing left {left - before} connections open"
            time.sleep(0.01)


# async-only: begin
async def cancelled(call: Callable[[], Any], turn: int) -> None:
    """Start a call and cancel it: after some steps of the loop in early turns, after a moment in later ones."""
    task = asyncio.ensure_future(call())
    if turn < 8:
        for _ in range(turn):
            await asyncio.sleep(0)
    else:
        await asyncio.sleep(0.0002 * (turn % 8))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def cancel_and_read(cache: AsyncCache, turns: int) -> None:
    """Cancel calls for one key; each read of another must give its own value."""
    await cache.set("key", "of key")
    await cache.set("other", "of other")
    for turn in range(turns):
        calls: list[Callable[[], Any]] = [
            partial(cache.get, "key"),
            partial(cache.set, "key", "of key"),
            partial(cache.get_many, ["key", "absent"]),
            partial(cache.delete, "absent"),
        ]
        await cancelled(calls[turn % 4], turn // 4)
        found = await cache.get("other")
        assert found == "of other", f"a read got {found!r}, the answer to a cancelled call"


# async-only: end
