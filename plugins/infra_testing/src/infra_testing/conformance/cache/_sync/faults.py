# Generated from faults.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""Cancelled calls, and what happens when the server, or the way to it, does not do what it should."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import pytest

from infra.cache import MISS, Cache, CacheItem, CacheOperationError, SetMode
from infra.errors import ErrorCode
from infra.runtime.threads import gather
from infra_testing.conformance.base.server import private_server
from infra_testing.conformance.cache._sync.case import PATIENCE, CacheCase
from infra_testing.private import PrivateServer
from infra_testing.proxy import FaultProxy

#: Seconds that a call may take which has to give up; what has a `timeout` of less must not take longer, however busy the machine.
GIVING_UP = 20.0


class FaultCases(CacheCase):
    """Faults. Those of a server run with a harness that gives one.

    Attributes:
        too_large: Bytes of a value that the provider refuses by its size; None where there is no such bound.
    """

    too_large: ClassVar[int | None] = None

    def fault_server(self, *, to_kill: bool = False) -> PrivateServer | None:
        """See `private_server`."""
        return private_server(self.harness, self.capability, to_kill=to_kill)

    def own_values(self, cache: Cache, *, count: int = 20) -> None:
        """Write and read, at once and in turn; each read must give what stands under its own key."""
        values = {f"own-{number}": number for number in range(count)}
        assert cache.set_many(values)
        assert gather(*[partial(cache.get, key) for key in values]) == list(values.values())
        assert [cache.get(key) for key in values] == list(values.values())

    def raised(self, cache: Cache, call: Callable[[], Any]) -> ErrorCode | None:
        """What the driver calls the exception that `call` ends with, soon."""
        started = time.monotonic()
        with pytest.raises(Exception) as caught:
            call()
        assert time.monotonic() - started < GIVING_UP, "the call does not keep to its timeout"
        return cache.driver.classify(caught.value) or (ErrorCode.TIMEOUT if isinstance(caught.value, TimeoutError) else None)

    def test_a_value_too_large_is_told_as_such(self, cache: Cache) -> None:
        if self.too_large is None:
            return
        with pytest.raises(CacheOperationError) as caught:
            cache.set("large", b"x" * self.too_large)
        assert caught.value.code is ErrorCode.INVALID_ARGUMENT, f"a value too large was told as {caught.value.code}"
        assert not cache.stats().degraded
        self.own_values(cache)

    def test_a_server_that_refuses_is_unavailable_and_found_again(self, opened: Any) -> None:
        server = self.fault_server()
        if server is None:
            return
        cache = opened(**server.settings(), probe_interval=0.05)
        cache.set("key", "kept")
        server.proxy.refuse()
        server.proxy.reset()
        code = self.raised(cache, lambda: cache.driver.get_many(["raw"], 2.0))
        assert code is ErrorCode.UNAVAILABLE, f"an unreachable server is told as {code}"
        assert cache.get("key", "default") == "default"
        assert cache.stats().degraded
        server.proxy.heal()
        self.recovered(cache)
        assert cache.get("key") == "kept"
        self.own_values(cache)

    def test_a_silent_server_costs_no_more_than_the_timeout(self, opened: Any) -> None:
        server = self.fault_server()
        if server is None:
            return
        cache = opened(**server.settings())
        self.own_values(cache)
        server.proxy.black_hole()
        driver = cache.driver
        calls: list[Callable[[], Any]] = [
            lambda: driver.get_many(["raw"], 0.2),
            lambda: driver.set_many([CacheItem("raw", b"1", None)], SetMode.SET, 0.2),
            lambda: driver.delete_many(["raw"], 0.2),
            lambda: driver.ping(0.2),
        ]
        codes = [self.raised(cache, call) for call in calls]
        assert set(codes) <= {ErrorCode.TIMEOUT, ErrorCode.UNAVAILABLE}, f"a server that does not answer is told as {codes}"
        assert codes[0] is ErrorCode.TIMEOUT, f"a server that does not answer is told as {codes[0]}"
        server.proxy.heal()
        self.own_values(cache)

    def test_a_slow_answer_is_waited_for(self, opened: Any) -> None:
        server = self.fault_server()
        if server is None:
            return
        cache = opened(**server.settings(), timeout=GIVING_UP)
        server.proxy.delay(0.1)
        assert cache.set("key", "slow")
        assert cache.get("key") == "slow"
        assert not cache.stats().degraded

    def test_an_answer_cut_in_the_middle_is_nobodys(self, opened: Any) -> None:
        server = self.fault_server()
        if server is None:
            return
        cache = opened(**server.settings(), probe_interval=0.05)
        item = CacheItem("raw", b"whole " * 1000, None)
        for then in ("close", "reset"):
            assert cache.driver.set_many([item], SetMode.SET, PATIENCE) == [True]
            server.proxy.truncate(2000, then=then)  # type: ignore[arg-type]
            code = self.raised(cache, lambda: cache.driver.get_many(["raw"], 2.0))
            assert code in (ErrorCode.UNAVAILABLE, ErrorCode.TIMEOUT), f"a connection that broke is told as {code}"
            server.proxy.heal()
            assert cache.driver.get_many(["raw"], PATIENCE) == [item.value]
        self.own_values(cache)

    def test_closing_ends_all_connections(self, opened: Any) -> None:
        server = self.fault_server()
        if server is None:
            return
        server.proxy.reset()  # what earlier cases left is on its way out
        before = server.proxy.open_connections
        cache = opened(**server.settings())
        self.own_values(cache)
        cache.close()
        self.closed(server.proxy, before)

    def test_a_server_that_was_killed_is_found_again(self, opened: Any) -> None:
        server = self.fault_server(to_kill=True)
        if server is None:
            return
        cache = opened(**server.settings(), probe_interval=0.05)
        self.own_values(cache)
        server.server.kill()
        assert cache.get("own-1", MISS) is MISS
        assert not cache.set("key", 1)
        server.server.start()
        self.recovered(cache)
        self.own_values(cache)

    def recovered(self, cache: Cache) -> None:
        """Wait until the cache uses its server again."""

        def whole() -> bool:
            return not cache.stats().degraded

        self.eventually(whole)

    def closed(self, proxy: FaultProxy, before: int) -> None:
        """Wait until no more than `before` connections are open."""
        until = time.monotonic() + GIVING_UP
        while (left := proxy.open_connections) > before:
            assert time.monotonic() < until, f"closing left {left - before} connections open"
            time.sleep(0.01)
