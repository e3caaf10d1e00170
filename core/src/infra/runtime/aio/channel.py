"""Items from producers to waiting takers."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class Channel(Generic[T]):
    """An unbounded queue that can be closed; whoever fills it bounds it."""

    __slots__ = ("_closed", "_items", "_takers")

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._takers: deque[asyncio.Future[None]] = deque()
        self._closed = False

    def __len__(self) -> int:
        return len(self._items)

    def put(self, items: Iterable[T]) -> None:
        """Add all `items`; never waits."""
        self._items.extend(items)
        self._wake(len(self._items))

    async def take(self, most: int = 1) -> list[T]:
        """Up to `most` items, as soon as there is one; an empty list once the channel is closed and empty."""
        items = self._items
        while not items and not self._closed:
            taker: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._takers.append(taker)
            try:
                await taker
            except asyncio.CancelledError:
                if taker.done() and not taker.cancelled():
                    self._wake(1)
                raise
        if most == 1:
            return [items.popleft()] if items else []
        return [items.popleft() for _ in range(min(most, len(items)))]

    def clear(self) -> list[T]:
        """Take all items that are there."""
        items = list(self._items)
        self._items.clear()
        return items

    def close(self) -> None:
        """Let takers have what is left, then nothing."""
        self._closed = True
        self._wake(len(self._takers))

    def _wake(self, most: int) -> None:
        while most > 0 and self._takers:
            taker = self._takers.popleft()
            if not taker.done():
                taker.set_result(None)
                most -= 1
