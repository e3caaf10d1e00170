"""Single flight: concurrent callers of one key share one computation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SingleFlight(Generic[K, V]):
    """One computation per key at a time; its result or exception reaches everyone who waits, and nobody after.

    The computation is a detached task: cancelling a waiter harms neither the computation nor the other waiters.

    Args:
        abandon: Cancel the computation when its last waiter is cancelled.
    """

    def __init__(self, *, abandon: bool = False) -> None:
        self._abandon = abandon
        self._flights: dict[K, asyncio.Task[V]] = {}
        self._waiters: dict[K, int] = {}

    async def do(self, key: K, work: Callable[[], Awaitable[V]]) -> V:
        """The result of `work`, or of the computation of `key` that is already under way."""
        task = self._flights.get(key)
        if task is None:
            task = asyncio.create_task(self._fly(key, work))
            self._flights[key] = task
            self._waiters[key] = 0
            task.add_done_callback(lambda done: self._landed(key, done))
        self._waiters[key] += 1
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if self._flights.get(key) is task:
                self._waiters[key] -= 1
                if self._abandon and not self._waiters[key]:
                    self._forget(key)
                    task.cancel()
            raise

    def __contains__(self, key: K) -> bool:
        return key in self._flights

    async def _fly(self, key: K, work: Callable[[], Awaitable[V]]) -> V:
        try:
            return await work()
        finally:
            # Not left to the callback, which runs a tick later: a caller in between would get a result that is over.
            if self._flights.get(key) is asyncio.current_task():
                self._forget(key)

    def _landed(self, key: K, task: asyncio.Task[V]) -> None:
        if self._flights.get(key) is task:
            self._forget(key)
        if not task.cancelled():
            task.exception()  # marks it as seen: all waiters may be gone

    def _forget(self, key: K) -> None:
        del self._flights[key], self._waiters[key]
