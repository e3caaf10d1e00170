"""What all cases share."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from typing import Any, ClassVar

import pytest_asyncio

from infra.cache import AsyncCache, CacheFeature, CacheItem, SetMode
from infra.runtime.aio import sleep
from infra_testing.conformance.base import AsyncConformance

#: Seconds; longer than anything here takes.
PATIENCE = 90.0
#: How often a case may begin anew when the machine stood still for a lease or a TTL, so that nothing could be seen.
ATTEMPTS = 20


class AsyncCacheCase(AsyncConformance):
    """Opens the provider under test.

    Attributes:
        bounded: Settings under which the provider holds some dozens of small entries; for those that declare BOUNDED.
        small: Settings under which the provider holds no value of 8 MiB; for those that say what their largest value is.
    """

    capability: ClassVar[str] = "cache"
    feature_type: ClassVar[type[StrEnum]] = CacheFeature
    bounded: ClassVar[Mapping[str, object]] = {}
    small: ClassVar[Mapping[str, object]] = {}

    @pytest_asyncio.fixture
    async def cache(self, opened: Any) -> AsyncCache:
        """The provider with its settings as they come."""
        return await opened()

    def has(self, cache: AsyncCache, *features: CacheFeature) -> bool:
        """Whether the provider has all `features`, or ``cas`` to emulate them with."""
        emulated = {CacheFeature.INCR, CacheFeature.TOUCH, CacheFeature.LOCK, CacheFeature.GCRA}
        return all(cache.supports(one) or (one in emulated and cache.supports(CacheFeature.CAS)) for one in features)

    async def eventually(self, condition: Callable[[], Awaitable[Any]]) -> None:
        """Wait until ``condition()`` holds, and fail when it does not within some seconds."""
        until = time.monotonic() + PATIENCE
        while not await condition():
            assert time.monotonic() < until, "the condition did not come true in time"
            await sleep(0.01)

    async def gone(self, cache: AsyncCache, key: str) -> None:
        """Wait until `key` has expired."""

        async def absent() -> bool:
            return not await cache.exists(key)

        await self.eventually(absent)

    async def plant(self, cache: AsyncCache, key: str, raw: bytes) -> None:
        """Put foreign bytes where `key` is stored."""
        item = CacheItem(await cache.stored_key(key), raw, None)
        assert await cache.driver.set_many([item], SetMode.SET, PATIENCE) == [True]
