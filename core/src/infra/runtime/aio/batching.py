"""Batching: calls made at the same time travel together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar, cast

T = TypeVar("T")
R = TypeVar("R")


class Batcher(Generic[T, R]):
    """Sends single items in batches, without timers: at once when idle, coalesced by tick of the loop while busy.

    The first caller when nothing is under way sends its item directly, which costs nothing over an unbatched call; batching begins with
    the second caller.

    Args:
        send: Sends a batch and returns, in order, one result or exception for each item. An exception that it raises reaches every
            caller of that batch.
        limit: The largest batch.
        in_flight: The largest number of batches under way; further items wait and coalesce.
    """

    def __init__(self, send: Callable[[list[T]], Awaitable[Sequence[R | BaseException]]], *, limit: int, in_flight: int = 1) -> None:
        self._send = send
        self._limit = limit
        self._most = in_flight
        self._active = 0
        self._scheduled = False
        self._pending: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    async def submit(self, item: T) -> R:
        """Send `item` with whatever else is being sent, and return its own result."""
        if not self._active and not self._pending:
            self._active += 1
            try:
                result = (await self._send([item]))[0]
            finally:
                self._active -= 1
                if self._pending:
                    self._schedule()
            if isinstance(result, BaseException):
                raise result
            return result
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._pending.append((item, future))
        self._schedule()
        return await future

    async def drain(self) -> None:
        """Wait until nothing is pending or under way."""
        while self._pending or self._tasks or self._active:
            tasks = list(self._tasks)
            await (asyncio.wait(tasks) if tasks else asyncio.sleep(0.001))

    def _schedule(self) -> None:
        if not self._scheduled and self._active < self._most:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        while self._pending and self._active < self._most:
            batch: list[tuple[T, asyncio.Future[R]]] = []
            while self._pending and len(batch) < self._limit:
                entry = self._pending.popleft()
                if not entry[1].done():  # a cancelled caller that was not sent yet
                    batch.append(entry)
            if batch:
                self._active += 1
                task = asyncio.get_running_loop().create_task(self._run(batch))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _run(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        try:
            results = await self._send([item for item, _ in batch])
            if len(results) != len(batch):
                raise RuntimeError(f"a batch of {len(batch)} came back with {len(results)} results")
        except BaseException as error:
            results = [error] * len(batch)
            if not isinstance(error, Exception):
                results = [asyncio.CancelledError()] * len(batch)
        finally:
            self._active -= 1
            if self._pending:
                self._schedule()
        for (_, future), result in zip(batch, results, strict=True):
            if future.done():
                continue
            if isinstance(result, asyncio.CancelledError):
                future.cancel()
            elif isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(cast(R, result))
