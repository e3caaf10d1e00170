"""An asyncio cache driver over a blocking one."""
# ruff: noqa: D102  (driver.py has the contracts)

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import cast

from infra.cache.driver import AtomicCacheDriver, CacheDriver
from infra.cache.model import CacheItem, Decision, SetMode
from infra.driver import Cause, Explains
from infra.errors import ErrorCode
from infra.runtime.bridge import ThreadBridge


class ThreadedCacheDriver:
    """Runs each call of `driver` in a thread of `bridge`, which it owns."""

    cancellable = True

    def __init__(self, driver: CacheDriver, bridge: ThreadBridge) -> None:
        self._driver = cast(AtomicCacheDriver, driver)
        self._bridge = bridge
        self.features = driver.features
        self.now: Callable[[], float] = getattr(driver, "now", time.time)
        self.refuses: Callable[[BaseException], bool] = getattr(driver, "refuses", lambda _error: False)
        self._closed = False

    @property
    def largest_value(self) -> int | None:
        """That of the blocking driver."""
        return getattr(self._driver, "largest_value", None)

    async def get_many(self, keys: Sequence[str], timeout: float) -> list[bytes | None]:
        return await self._bridge.call(self._driver.get_many, keys, timeout)

    async def set_many(self, items: Sequence[CacheItem], mode: SetMode, timeout: float) -> list[bool]:
        return await self._bridge.call(self._driver.set_many, items, mode, timeout)

    async def delete_many(self, keys: Sequence[str], timeout: float) -> list[bool]:
        return await self._bridge.call(self._driver.delete_many, keys, timeout)

    async def incr(self, key: str, by: int, ttl_ms: int | None, timeout: float) -> int:
        return await self._bridge.call(self._driver.incr, key, by, ttl_ms, timeout)

    async def cas(self, key: str, expected: bytes | None, value: bytes, ttl_ms: int | None, timeout: float) -> bool:
        return await self._bridge.call(self._driver.cas, key, expected, value, ttl_ms, timeout)

    async def touch(self, key: str, ttl_ms: int | None, timeout: float) -> bool:
        return await self._bridge.call(self._driver.touch, key, ttl_ms, timeout)

    async def ttl(self, key: str, timeout: float) -> int | None:
        return await self._bridge.call(self._driver.ttl, key, timeout)

    async def lock_acquire(self, name: str, token: str, ttl_ms: int, timeout: float) -> int | None:
        return await self._bridge.call(self._driver.lock_acquire, name, token, ttl_ms, timeout)

    async def lock_extend(self, name: str, token: str, ttl_ms: int, timeout: float) -> bool:
        return await self._bridge.call(self._driver.lock_extend, name, token, ttl_ms, timeout)

    async def lock_release(self, name: str, token: str, timeout: float) -> bool:
        return await self._bridge.call(self._driver.lock_release, name, token, timeout)

    async def gcra(self, key: str, interval_ms: float, burst: int, cost: int, timeout: float) -> Decision:
        return await self._bridge.call(self._driver.gcra, key, interval_ms, burst, cost, timeout)

    async def scan(self, prefix: str, token: str, limit: int, timeout: float) -> tuple[list[str], str | None]:
        return await self._bridge.call(self._driver.scan, prefix, token, limit, timeout)

    async def can_write(self, timeout: float) -> None:
        """That of the blocking driver, where it has one."""
        probe = getattr(self._driver, "can_write", None)
        if probe is not None:
            await self._bridge.call(probe, timeout)

    async def ping(self, timeout: float) -> None:
        """Return when the server answers."""
        await self._bridge.call(self._driver.ping, timeout)

    async def close(self, timeout: float) -> None:
        """Close the blocking driver, then its threads. A second call does nothing."""
        if not self._closed:
            self._closed = True
            try:
                await self._bridge.call(self._driver.close, timeout)
            finally:
                self._bridge.close()

    def classify(self, error: BaseException) -> ErrorCode | None:
        """What an exception of the blocking driver stands for."""
        return self._driver.classify(error)

    def explain(self, error: BaseException) -> Cause | None:
        """The blocking driver's words for an exception, where it has any."""
        return self._driver.explain(error) if isinstance(self._driver, Explains) else None

    def unwrap(self) -> Sequence[object]:
        """The blocking driver's raw objects."""
        return self._driver.unwrap()
