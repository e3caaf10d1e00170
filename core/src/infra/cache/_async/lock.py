"""Locks between processes."""

from __future__ import annotations

import random
from datetime import timedelta
from types import TracebackType
from typing import Final

from infra.cache._async.atomic import AsyncAtomics
from infra.cache.arguments import lasting, patience
from infra.cache.entries import new_version
from infra.cache.errors import LockLostError, LockNotAcquiredError
from infra.runtime.aio import Watchdog, sleep
from infra.runtime.deadline import Deadline

_FIRST_PAUSE: Final = 0.005
_LONGEST_PAUSE: Final = 0.25


class AsyncCacheLock:
    """A lock for one holder at a time, as far as its TTL and the provider's memory reach.

    As a context manager it waits, extends itself while the block runs, and raises `LockLostError` at the end when it was lost meanwhile.
    Whoever writes to a system that must not see two holders passes `fence` along and lets that system refuse lower numbers. Of two
    holders of the same name the later has the greater number, within one history of the server.

    Attributes:
        fence: The fencing number; None while it is not held.
        token: What identifies this holder.
    """

    def __init__(
        self, atomics: AsyncAtomics, key: str, name: str, resource: str, ttl: float | timedelta, wait: float | timedelta | None
    ) -> None:
        self.name = name
        self.token = new_version()
        self.fence: int | None = None
        self._atomics = atomics
        self._key = key
        self._resource = resource
        self._ttl_ms = lasting(ttl)
        self._wait = patience(wait)
        self._watchdog: Watchdog | None = None

    async def acquire(self, wait: float | timedelta | None = 0.0) -> bool:
        """Take the lock, waiting at most `wait` seconds (None: as long as it takes); whether it is held now.

        Raises:
            CacheUnavailableError: The provider is down.
            CacheValueError: `wait` is no time.
        """
        deadline = Deadline(patience(wait))
        pause = _FIRST_PAUSE
        while True:
            self.fence = await self._atomics.lock_acquire(self._key, self.token, self._ttl_ms)
            if self.fence is not None:
                return True
            if deadline.passed:
                return False
            nap = pause * random.uniform(0.5, 1.5)  # noqa: S311
            await sleep(deadline.remaining(nap) or 0.0)
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    async def extend(self) -> bool:
        """Hold it for its whole TTL from now; False when it is not held any more."""
        return await self._atomics.lock_extend(self._key, self.token, self._ttl_ms)

    async def release(self) -> bool:
        """Let it go; False when it was not held any more."""
        self.fence = None
        return await self._atomics.lock_release(self._key, self.token)

    @property
    def lost(self) -> bool:
        """Whether the block's lock was lost: it could not be extended in time, or was taken away."""
        return self._watchdog is not None and self._watchdog.lost

    async def __aenter__(self) -> AsyncCacheLock:
        if not await self.acquire(self._wait):
            raise LockNotAcquiredError(
                f"lock {self.name} was not free within {self._wait} s",
                resource=self._resource,
                operation="lock",
                remedy="wait longer, or try again later",
            )
        self._watchdog = Watchdog(self._ttl_ms / 3000, self.extend)
        await self._watchdog.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        watchdog = self._watchdog
        if watchdog is not None:
            await watchdog.__aexit__(kind, error, trace)
        held = await self.release()
        if not held and error is None:
            raise LockLostError(
                f"lock {self.name} was lost while its block ran",
                resource=self._resource,
                operation="lock",
                remedy="give it a longer ttl, and check the fencing number where you write",
            )
