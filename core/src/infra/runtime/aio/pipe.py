"""A pipe between a producer that pushes and a consumer that pulls."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Pipe(Generic[T, R]):
    """Runs ``consume(items)`` beside the caller, which pushes the items. End it with `finish` or `abort`.

    Args:
        consume: Iterates the items and returns the result.
        depth: How many items may wait to be taken.
    """

    def __init__(self, consume: Callable[[AsyncIterator[T]], Awaitable[R]], *, depth: int = 2) -> None:
        self._depth = depth
        self._items: deque[T] = deque()
        self._ended = False
        self._error: BaseException | None = None
        self._changed = asyncio.Condition()
        self._task = asyncio.get_running_loop().create_task(self._run(consume))

    async def push(self, item: T) -> None:
        """Hand over one item; waits while `depth` of them wait. Raises what the consumer raised; no item is taken after that."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._items) < self._depth or self._task.done() or self._ended)
            if not self._ended:
                self._items.append(item)
                self._changed.notify_all()
                return
        await asyncio.shield(self._task)
        raise RuntimeError("the consumer ended without taking every item")

    async def finish(self) -> R:
        """End the items and wait for the consumer's result."""
        await self._end(None)
        return await asyncio.shield(self._task)

    async def abort(self, error: BaseException) -> None:
        """End the items with `error` and wait until the consumer has ended; what it raises or returns is dropped."""
        await self._end(error)
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.exception()

    async def _end(self, error: BaseException | None) -> None:
        async with self._changed:
            if not self._ended:
                self._ended, self._error = True, error
                if error is not None:
                    self._items.clear()
            self._changed.notify_all()

    async def _run(self, consume: Callable[[AsyncIterator[T]], Awaitable[R]]) -> R:
        items = self._take()
        try:
            return await consume(items)
        finally:
            await items.aclose()
            async with self._changed:
                self._ended = True
                self._changed.notify_all()

    async def _take(self) -> AsyncGenerator[T]:
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self._items or self._ended)
                if self._error is not None:
                    raise self._error
                if not self._items:
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item
