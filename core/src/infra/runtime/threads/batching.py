"""Batching: calls made at the same time travel together."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar, cast

T = TypeVar("T")
R = TypeVar("R")


class _Waiter(Generic[T, R]):
    __slots__ = ("item", "lead", "result", "wake")

    def __init__(self, item: T) -> None:
        self.item = item
        self.wake = threading.Lock()
        self.wake.acquire()
        self.lead = False
        self.result: R | BaseException | None = None


class Batcher(Generic[T, R]):
    """Sends single items in batches, without timers, by leader and follower.

    A caller that finds a free place sends at once. Callers that find none wait; whoever finishes hands its place to the first of them,
    which sends for all that wait.

    Args:
        send: Sends a batch and returns, in order, one result or exception for each item. An exception that it raises reaches every
            caller of that batch.
        limit: The largest batch.
        in_flight: The largest number of batches under way; further items wait and coalesce.
    """

    def __init__(self, send: Callable[[list[T]], Sequence[R | BaseException]], *, limit: int, in_flight: int = 1) -> None:
        self._send = send
        self._limit = limit
        self._most = in_flight
        self._active = 0
        self._mutex = threading.Lock()
        self._idle = threading.Condition(self._mutex)
        self._pending: deque[_Waiter[T, R]] = deque()

    def submit(self, item: T) -> R:
        """Send `item` with whatever else is being sent, and return its own result."""
        waiter: _Waiter[T, R] | None = None
        with self._mutex:
            if self._active < self._most and not self._pending:
                self._active += 1
            else:
                waiter = _Waiter(item)
                self._pending.append(waiter)
        if waiter is None:
            try:
                result = self._send([item])[0]
            finally:
                self._hand_over()
        else:
            try:
                waiter.wake.acquire()
            except BaseException:  # the main thread was interrupted: whoever waits behind must not wait for ever
                self._withdraw(waiter)
                raise
            if waiter.lead:
                self._lead(waiter)
            result = cast("R | BaseException", waiter.result)
        if isinstance(result, BaseException):
            raise result
        return result

    def drain(self) -> None:
        """Wait until nothing is pending or under way."""
        with self._idle:
            self._idle.wait_for(lambda: not self._active and not self._pending)

    def _lead(self, first: _Waiter[T, R]) -> None:
        batch = [first]
        with self._mutex:
            while self._pending and len(batch) < self._limit:
                batch.append(self._pending.popleft())
        try:
            results: Sequence[R | BaseException] = self._send([waiter.item for waiter in batch])
            if len(results) != len(batch):
                raise RuntimeError(f"a batch of {len(batch)} came back with {len(results)} results")
        except BaseException as error:
            results = [error] * len(batch)
        finally:
            self._hand_over()
        for waiter, result in zip(batch, results, strict=True):
            waiter.result = result
            if waiter is not first:
                waiter.wake.release()

    def _withdraw(self, waiter: _Waiter[T, R]) -> None:
        with self._mutex:
            if waiter in self._pending:
                self._pending.remove(waiter)
        if waiter.lead:
            self._hand_over()

    def _hand_over(self) -> None:
        with self._mutex:
            if self._pending:
                successor = self._pending.popleft()
                successor.lead = True
                successor.wake.release()
            else:
                self._active -= 1
                if not self._active:
                    self._idle.notify_all()
