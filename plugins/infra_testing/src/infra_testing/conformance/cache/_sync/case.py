# Generated from case.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""What all cases share."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, ClassVar

import pytest

from infra.cache import Cache, CacheFeature, CacheItem, SetMode
from infra.runtime.threads import sleep
from infra_testing.conformance.base import Conformance

#: Seconds; longer than anything here takes.
PATIENCE = 90.0
#: How often a case may begin anew when the machine stood still for a lease or a TTL, so that nothing could be seen.
ATTEMPTS = 20


class CacheCase(Conformance):
    """Opens the provider under test.

    Attributes:
        bounded: Settings under which the provider holds some dozens of small entries; for those that declare BOUNDED.
        small: Settings under which the provider holds no value of 8 MiB; for those that say what their largest value is.
    """

    capability: ClassVar[str] = "cache"
    feature_type: ClassVar[type[StrEnum]] = CacheFeature
    bounded: ClassVar[Mapping[str, object]] = {}
    small: ClassVar[Mapping[str, object]] = {}

    @pytest.fixture
    def cache(self, opened: Any) -> Cache:
        """The provider with its settings as they come."""
        return opened()

    def has(self, cache: Cache, *features: CacheFeature) -> bool:
        """Whether the provider has all `features`, or ``cas`` to emulate them with."""
        emulated = {CacheFeature.INCR, CacheFeature.TOUCH, CacheFeature.LOCK, CacheFeature.GCRA}
        return all(cache.supports(one) or (one in emulated and cache.supports(CacheFeature.CAS)) for one in features)

    def eventually(self, condition: Callable[[], Any]) -> None:
        """Wait until ``condition()`` holds, and fail when it does not within some seconds."""
        until = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < until, "the condition did not come true in time"
            sleep(0.01)

    def gone(self, cache: Cache, key: str) -> None:
        """Wait until `key` has expired."""

        def absent() -> bool:
            return not cache.exists(key)

        self.eventually(absent)

    def plant(self, cache: Cache, key: str, raw: bytes) -> None:
        """Put foreign bytes where `key` is stored."""
        item = CacheItem(cache.stored_key(key), raw, None)
        assert cache.driver.set_many([item], SetMode.SET, PATIENCE) == [True]
