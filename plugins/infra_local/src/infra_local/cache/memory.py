"""A bounded LRU cache in memory."""
# ruff: noqa: ARG002, D102  (infra.cache.driver has the contracts; memory needs no timeout)

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, NamedTuple

from infra.cache.gcra import decide
from infra.cache.model import CacheFeature, CacheItem, Decision, SetMode
from infra.plugin import ErrorCode, OpenContext
from infra_local.cache.settings import MemoryCacheSettings

_OVERHEAD: Final = 240  # measured on CPython 3.11: dict slot, key object, tuple, value object
_LONGEST_KEY: Final = 240
_NEVER: Final = float("inf")
_FEATURES: Final = frozenset(set(CacheFeature) - {CacheFeature.SHARED})


class _Lock(NamedTuple):
    token: str
    fence: int
    ends: float


class MemoryCacheDriver:
    """Entries, locks and limiters in memory, bounded and thread-safe. The kernel keeps it, and all doors and handles share it.

    Values are bytes, which nobody can change, so that nothing read aliases what is stored. Times are on the monotonic clock.

    Args:
        max_entries: The most entries.
        max_bytes: The most bytes, overhead included. Locks and limiters are not evicted and not counted.
    """

    features = _FEATURES
    now = staticmethod(time.monotonic)

    def __init__(self, max_entries: int, max_bytes: int) -> None:
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self.largest_value = max_bytes - _OVERHEAD - _LONGEST_KEY
        self.bytes = 0
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, tuple[bytes, float]] = OrderedDict()  # value, end; least recently used first
        self._locks: dict[str, _Lock] = {}
        self._arrivals: dict[str, float] = {}
        self._fence = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get_many(self, keys: Sequence[str], timeout: float) -> list[bytes | None]:
        found: list[bytes | None] = []
        entries = self._entries
        with self._lock:
            for key in keys:
                entry = entries.get(key)
                if entry is None:
                    found.append(None)
                elif entry[1] is _NEVER or entry[1] > time.monotonic():
                    entries.move_to_end(key)
                    found.append(entry[0])
                else:
                    self._remove(key)
                    found.append(None)
        return found

    def set_many(self, items: Sequence[CacheItem], mode: SetMode, timeout: float) -> list[bool]:
        written: list[bool] = []
        with self._lock:
            for key, value, ttl_ms in items:
                allowed = mode is SetMode.SET or (self._live(key) is None) is (mode is SetMode.ADD)
                if allowed and len(value) > self.largest_value:  # storing it would evict all others, and then itself
                    self._delete(key)
                    allowed = False
                if allowed:
                    self._put(key, value, _end(ttl_ms))
                written.append(allowed)
            self._evict()
        return written

    def delete_many(self, keys: Sequence[str], timeout: float) -> list[bool]:
        with self._lock:
            return [self._delete(key) for key in keys]

    def incr(self, key: str, by: int, ttl_ms: int | None, timeout: float) -> int:
        with self._lock:
            entry = self._live(key)
            total = by if entry is None else _integer(entry[0]) + by
            if not -(2**63) <= total < 2**63:
                raise ValueError("the counter would leave 64 bits")
            self._put(key, b"%d" % total, _end(ttl_ms) if entry is None else entry[1])
            self._evict()
            return total

    def cas(self, key: str, expected: bytes | None, value: bytes, ttl_ms: int | None, timeout: float) -> bool:
        with self._lock:
            entry = self._live(key)
            if (None if entry is None else entry[0]) != expected:
                return False
            self._put(key, value, _end(ttl_ms))
            self._evict()
            return True

    def touch(self, key: str, ttl_ms: int | None, timeout: float) -> bool:
        with self._lock:
            entry = self._live(key)
            if entry is not None:
                self._entries[key] = (entry[0], _end(ttl_ms))
            return entry is not None

    def ttl(self, key: str, timeout: float) -> int | None:
        with self._lock:
            entry = self._live(key)
            if entry is None:
                return None
            return -1 if entry[1] is _NEVER else max(1, int((entry[1] - time.monotonic()) * 1000))

    def lock_acquire(self, name: str, token: str, ttl_ms: int, timeout: float) -> int | None:
        now = time.monotonic()
        with self._lock:
            held = self._locks.get(name)
            if held is not None and held.ends > now:
                return None
            self._fence += 1
            if self._fence % 1000 == 0:
                self._locks = {other: lock for other, lock in self._locks.items() if lock.ends > now}
            self._locks[name] = _Lock(token, self._fence, now + ttl_ms / 1000)
            return self._fence

    def lock_extend(self, name: str, token: str, ttl_ms: int, timeout: float) -> bool:
        with self._lock:
            held = self._held(name, token)
            if held is not None:
                self._locks[name] = held._replace(ends=time.monotonic() + ttl_ms / 1000)
            return held is not None

    def lock_release(self, name: str, token: str, timeout: float) -> bool:
        with self._lock:
            held = self._held(name, token)
            if held is not None:
                del self._locks[name]
            return held is not None

    def gcra(self, key: str, interval_ms: float, burst: int, cost: int, timeout: float) -> Decision:
        now_ms = time.monotonic() * 1000
        with self._lock:
            arrival, decision = decide(self._arrivals.get(key), now_ms, interval_ms, burst, cost)
            if decision.allowed and cost:
                self._arrivals[key] = arrival
                if len(self._arrivals) > self.max_entries:  # one that has arrived says no more than none
                    self._arrivals = {other: at for other, at in self._arrivals.items() if at > now_ms}
            return decision

    def scan(self, prefix: str, token: str, limit: int, timeout: float) -> tuple[list[str], str | None]:
        with self._lock:
            return [key for key in self._entries if key.startswith(prefix)], None

    def ping(self, timeout: float) -> None:
        """Memory is always there."""

    def close(self, timeout: float) -> None:
        """It belongs to the kernel and stays."""

    def classify(self, error: BaseException) -> ErrorCode | None:
        """A value that is no integer."""
        return ErrorCode.INVALID_ARGUMENT if isinstance(error, ValueError) else None

    def unwrap(self) -> Sequence[object]:
        """This object."""
        return (self,)

    def _live(self, key: str) -> tuple[bytes, float] | None:
        entry = self._entries.get(key)
        if entry is not None and entry[1] <= time.monotonic():
            self._remove(key)
            return None
        return entry

    def _put(self, key: str, value: bytes, end: float) -> None:
        old = self._entries.get(key)
        if old is None:
            self.bytes += _OVERHEAD + len(key) + len(value)
            self._entries[key] = (value, end)
        else:
            self.bytes += len(value) - len(old[0])
            self._entries[key] = (value, end)
            self._entries.move_to_end(key)

    def _remove(self, key: str) -> None:
        self.bytes -= _OVERHEAD + len(key) + len(self._entries.pop(key)[0])

    def _delete(self, key: str) -> bool:
        lock = self._locks.pop(key, None)
        if self._live(key) is None:
            return lock is not None and lock.ends > time.monotonic()
        self._remove(key)
        return True

    def _held(self, name: str, token: str) -> _Lock | None:
        held = self._locks.get(name)
        return held if held is not None and held.token == token and held.ends > time.monotonic() else None

    def _evict(self) -> None:
        while self._entries and (self.bytes > self.max_bytes or len(self._entries) > self.max_entries):
            key, (value, _) = self._entries.popitem(last=False)
            self.bytes -= _OVERHEAD + len(key) + len(value)


class AsyncMemoryCacheDriver:
    """The asyncio door. Nothing waits, so nothing needs a thread."""

    features = _FEATURES
    cancellable = True
    now = staticmethod(time.monotonic)

    def __init__(self, blocking: MemoryCacheDriver) -> None:
        self._blocking = blocking
        self.largest_value = blocking.largest_value
        self.classify = blocking.classify
        self.unwrap = blocking.unwrap

    async def get_many(self, keys: Sequence[str], timeout: float) -> list[bytes | None]:
        return self._blocking.get_many(keys, timeout)

    async def set_many(self, items: Sequence[CacheItem], mode: SetMode, timeout: float) -> list[bool]:
        return self._blocking.set_many(items, mode, timeout)

    async def delete_many(self, keys: Sequence[str], timeout: float) -> list[bool]:
        return self._blocking.delete_many(keys, timeout)

    async def incr(self, key: str, by: int, ttl_ms: int | None, timeout: float) -> int:
        return self._blocking.incr(key, by, ttl_ms, timeout)

    async def cas(self, key: str, expected: bytes | None, value: bytes, ttl_ms: int | None, timeout: float) -> bool:
        return self._blocking.cas(key, expected, value, ttl_ms, timeout)

    async def touch(self, key: str, ttl_ms: int | None, timeout: float) -> bool:
        return self._blocking.touch(key, ttl_ms, timeout)

    async def ttl(self, key: str, timeout: float) -> int | None:
        return self._blocking.ttl(key, timeout)

    async def lock_acquire(self, name: str, token: str, ttl_ms: int, timeout: float) -> int | None:
        return self._blocking.lock_acquire(name, token, ttl_ms, timeout)

    async def lock_extend(self, name: str, token: str, ttl_ms: int, timeout: float) -> bool:
        return self._blocking.lock_extend(name, token, ttl_ms, timeout)

    async def lock_release(self, name: str, token: str, timeout: float) -> bool:
        return self._blocking.lock_release(name, token, timeout)

    async def gcra(self, key: str, interval_ms: float, burst: int, cost: int, timeout: float) -> Decision:
        return self._blocking.gcra(key, interval_ms, burst, cost, timeout)

    async def scan(self, prefix: str, token: str, limit: int, timeout: float) -> tuple[list[str], str | None]:
        return self._blocking.scan(prefix, token, limit, timeout)

    async def ping(self, timeout: float) -> None:
        """Memory is always there."""

    async def close(self, timeout: float) -> None:
        """It belongs to the kernel and stays."""


def open_driver(settings: MemoryCacheSettings, context: OpenContext) -> MemoryCacheDriver:
    """The kernel's cache of this resource."""
    return context.stores.get(("cache", "memory", context.name), lambda: MemoryCacheDriver(settings.max_entries, settings.max_bytes))


async def open_driver_async(settings: MemoryCacheSettings, context: OpenContext) -> AsyncMemoryCacheDriver:
    """An asyncio door to the kernel's cache of this resource."""
    return AsyncMemoryCacheDriver(open_driver(settings, context))


def _end(ttl_ms: int | None) -> float:
    return _NEVER if ttl_ms is None else time.monotonic() + ttl_ms / 1000


def _integer(value: bytes) -> int:
    digits = value[1:] if value[:1] == b"-" else value
    if not digits.isdigit():
        raise ValueError("the entry is not an integer")
    return int(value)
