# Generated from atomic.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""The operations that come by flag: the provider's own, or emulated over its ``cas``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, cast

from infra.cache._sync.link import Link
from infra.cache.codecs import UndecodableError
from infra.cache.driver import AtomicCacheDriver
from infra.cache.entries import ENVELOPE, Entry, unpack
from infra.cache.errors import CacheOperationError, CacheValueError
from infra.cache.gcra import decide
from infra.cache.model import CacheFeature, CacheItem, Decision, SetMode
from infra.errors import UnsupportedError

_ATTEMPTS: Final = 1000
_INTEGERS: Final = range(-(2**63), 2**63)


class Atomics:
    """Atomic operations on the keys of a driver.

    Emulated, a counter keeps the time at which it ends beside its number, a lock is an entry that holds ``fence:token`` (empty when it is
    free), and a limiter is one that holds its arrival time on the driver's clock.

    Args:
        link: The way to the driver.
        fence: The key of the counter that numbers emulated locks.
        provider: Its name, for errors.
    """

    def __init__(self, link: Link, fence: str, provider: str) -> None:
        self._link = link
        self._driver = cast(AtomicCacheDriver, link.driver)
        self._features = link.driver.features
        self._fence = fence
        self._provider = provider
        #: Whether there are locks, own or emulated.
        self.locks = bool({CacheFeature.LOCK, CacheFeature.CAS} & self._features)

    def cas(self, operation: str, key: str, expected: bytes | None, value: bytes, ttl_ms: int | None) -> bool:
        """Write `value` if `key` holds `expected`; whether it was written."""
        if expected is None:
            return (self._link.write(operation, [CacheItem(key, value, ttl_ms)], SetMode.ADD))[0]
        self._need(CacheFeature.CAS, operation)
        return self._link.call(operation, self._driver.cas, key, expected, value, ttl_ms)

    def incr(self, key: str, by: int, ttl_ms: int | None, find: Callable[[bytes], Entry | None] | None = None) -> int:
        """Add `by`; the sum. The TTL applies to a new counter only; emulated without TTL, also to one that a plain write made.

        Args:
            key: The counter.
            by: What to add.
            ttl_ms: The life of a new counter.
            find: The entry in stored bytes, None where it does not count any more.
        """
        if CacheFeature.INCR in self._features:
            try:
                return self._link.call("incr", self._driver.incr, key, by, ttl_ms)
            except CacheValueError:
                (raw,) = self._link.read((key,))
                if CacheFeature.CAS not in self._features or raw is None or raw[:1] != ENVELOPE:
                    raise
                # An integer with a time or tags, which the server cannot add to.
        self._need(CacheFeature.INCR, "incr", over_cas=True)
        for _ in range(_ATTEMPTS):
            now = self._link.now()
            (raw,) = self._link.read((key,))
            entry = None if raw is None else _unpack(raw) if find is None else find(raw)
            number = 0
            ends = None if ttl_ms is None else now + ttl_ms / 1000
            if entry is not None and (find is not None or entry.fresh_until is None or entry.fresh_until > now):
                number = _integer(entry.payload)
                if CacheFeature.TTL in self._features:
                    ends = self._ends(key, now)
                elif entry.fresh_until is not None:
                    ends = entry.fresh_until + (entry.stale or 0.0)
            else:
                entry = Entry(b"")
            number += by
            if number not in _INTEGERS:
                raise CacheValueError("the counter would leave 64 bits", operation="incr", remedy="delete it, or count in larger units")
            left = None if ends is None else max(1, int((ends - now) * 1000))
            # Where the provider cannot tell what is left, the entry says it.
            until = entry.fresh_until if CacheFeature.TTL in self._features or entry.stale else ends
            if self.cas("incr", key, raw, entry._replace(payload=b"%d" % number, fresh_until=until).pack(), left):
                return number
        raise self._contended("incr")

    def touch(self, key: str, raw: bytes, ttl_ms: int | None) -> bool:
        """Give the entry at `key`, which holds `raw`, a new TTL; whether it was there still."""
        if CacheFeature.TOUCH in self._features:
            return self._link.call("touch", self._driver.touch, key, ttl_ms)
        self._need(CacheFeature.TOUCH, "touch", over_cas=True)
        return self._link.call("touch", self._driver.cas, key, raw, raw, ttl_ms)

    def ttl(self, key: str) -> int | None:
        """Milliseconds left; -1 for no end; None when absent."""
        self._need(CacheFeature.TTL, "ttl")
        return self._link.call("ttl", self._driver.ttl, key)

    def lock_acquire(self, name: str, token: str, ttl_ms: int) -> int | None:
        """The fencing number when `token` now holds the lock, else None."""
        if CacheFeature.LOCK in self._features:
            return self._link.call("lock", self._driver.lock_acquire, name, token, ttl_ms)
        self._need(CacheFeature.LOCK, "lock", over_cas=True)
        for _ in range(_ATTEMPTS):
            (raw,) = self._link.read((name,))
            if raw:
                return None
            fence = self.incr(self._fence, 1, None)
            if self.cas("lock", name, raw, f"{fence}:{token}".encode(), ttl_ms):
                return fence
            # Someone else took it, which the next look shows; or the mark of a free lock expired between the look and the write.
        raise self._contended("lock")

    def lock_extend(self, name: str, token: str, ttl_ms: int) -> bool:
        """Whether `token` holds the lock, now for `ttl_ms` more."""
        if CacheFeature.LOCK in self._features:
            return self._link.call("lock", self._driver.lock_extend, name, token, ttl_ms)
        (raw,) = self._link.read((name,))
        return raw is not None and _is_held(raw, token) and self.cas("lock", name, raw, raw, ttl_ms)

    def lock_release(self, name: str, token: str) -> bool:
        """Whether `token` held the lock until now."""
        if CacheFeature.LOCK in self._features:
            return self._link.call("lock", self._driver.lock_release, name, token)
        (raw,) = self._link.read((name,))
        return raw is not None and _is_held(raw, token) and self.cas("lock", name, raw, b"", 1)

    def gcra(self, key: str, interval_ms: float, burst: int, cost: int) -> Decision:
        """One decision of a limiter."""
        if CacheFeature.GCRA in self._features:
            return self._link.call("limiter", self._driver.gcra, key, interval_ms, burst, cost)
        self._need(CacheFeature.GCRA, "limiter", over_cas=True)
        for _ in range(_ATTEMPTS):
            (raw,) = self._link.read((key,))
            now_ms = self._link.now() * 1000
            tat, decision = decide(_number(raw), now_ms, interval_ms, burst, cost)
            if not decision.allowed or not cost:
                return decision
            if self.cas("limiter", key, raw, repr(tat).encode(), max(1, int(tat - now_ms) + 1)):
                return decision
        raise self._contended("limiter")

    def _ends(self, key: str, now: float) -> float | None:
        left = self._link.call("ttl", self._driver.ttl, key)
        return None if left is None or left < 0 else now + left / 1000

    def _need(self, feature: CacheFeature, operation: str, over_cas: bool = False) -> None:
        if feature in self._features or (over_cas and CacheFeature.CAS in self._features):
            return
        raise UnsupportedError(
            f"provider {self._provider} has no {feature}" + (", nor cas to emulate it" if over_cas else ""),
            provider=self._provider,
            operation=operation,
            remedy=f"choose a provider with it, and say so: require = [{str(feature)!r}]",
        )

    def _contended(self, operation: str) -> CacheOperationError:
        return CacheOperationError(
            f"others changed the entry {_ATTEMPTS} times first", provider=self._provider, operation=operation, retryable=True
        )


def _unpack(raw: bytes) -> Entry:
    try:
        return unpack(raw)
    except UndecodableError:
        return Entry(b"")


def _integer(payload: bytes) -> int:
    digits = payload[1:] if payload[:1] == b"-" else payload
    if not digits.isdigit() or len(digits) > 20:
        raise CacheValueError("the entry is not an integer", operation="incr", remedy="delete it, or count under another key")
    return int(payload)


def _number(raw: bytes | None) -> float | None:
    try:
        return None if raw is None else float(raw)
    except ValueError:
        return None


def _is_held(raw: bytes, token: str) -> bool:
    return raw.partition(b":")[2] == token.encode()
