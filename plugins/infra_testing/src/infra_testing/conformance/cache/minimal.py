"""A cache provider with `cas` and nothing else that is optional, and one that can be taken down: to test what the portable cache adds."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Final

from infra.cache.model import CacheFeature, CacheItem, SetMode
from infra.cache.settings import CacheSettings
from infra.plugin import ErrorCode, OpenContext, Provider, hookimpl

_FEATURES: Final = frozenset({CacheFeature.CAS})


@hookimpl
def infra_cache() -> Sequence[Provider]:
    """One provider; not installed as a plugin, so that only tests that name this module see it."""
    return [
        Provider(
            name="minimal",
            summary="a dictionary with compare-and-set",
            settings=f"{__name__}:MinimalCacheSettings",
            open=f"{__name__}:open_driver",
            embedded=True,
        )
    ]


class MinimalCacheSettings(CacheSettings):
    """Nothing of its own."""


class MinimalCacheDriver:
    """A dictionary.

    Attributes:
        down: While True each call raises `ConnectionError`.
        calls: How many calls came.
    """

    features = _FEATURES

    def __init__(self) -> None:
        self.down = False
        self.calls = 0
        self._lock = threading.Lock()
        self._entries: dict[str, tuple[bytes, float]] = {}

    def get_many(self, keys: Sequence[str], timeout: float) -> list[bytes | None]:
        self.ping(timeout)
        with self._lock:
            return [self._value(key) for key in keys]

    def set_many(self, items: Sequence[CacheItem], mode: SetMode, timeout: float) -> list[bool]:
        self.ping(timeout)
        written: list[bool] = []
        with self._lock:
            for item in items:
                allowed = mode is SetMode.SET or (self._value(item.key) is not None) is (mode is SetMode.REPLACE)
                if allowed:
                    self._put(item)
                written.append(allowed)
        return written

    def delete_many(self, keys: Sequence[str], timeout: float) -> list[bool]:
        self.ping(timeout)
        with self._lock:
            return [self._value(key) is not None and bool(self._entries.pop(key)) for key in keys]

    def cas(self, key: str, expected: bytes | None, value: bytes, ttl_ms: int | None, timeout: float) -> bool:
        self.ping(timeout)
        with self._lock:
            if self._value(key) != expected:
                return False
            self._put(CacheItem(key, value, ttl_ms))
            return True

    def ping(self, timeout: float) -> None:
        """Raise while it is down."""
        self.calls += 1
        if self.down:
            raise ConnectionError("taken down")

    def close(self, timeout: float) -> None:
        """It stays for whoever else uses it."""

    def classify(self, error: BaseException) -> ErrorCode | None:
        """Only one thing happens here."""
        return ErrorCode.UNAVAILABLE if isinstance(error, ConnectionError) else None

    def unwrap(self) -> Sequence[object]:
        """This object, to take it down."""
        return (self,)

    def _value(self, key: str) -> bytes | None:
        value, end = self._entries.get(key, (None, 0.0))
        return value if end > time.monotonic() else None

    def _put(self, item: CacheItem) -> None:
        end = float("inf") if item.ttl_ms is None else time.monotonic() + item.ttl_ms / 1000
        self._entries[item.key] = (item.value, end)


def open_driver(_settings: MinimalCacheSettings, context: OpenContext) -> MinimalCacheDriver:
    """The dictionary of this resource in this place."""
    return context.stores.get(("cache", "minimal", context.name), MinimalCacheDriver)
