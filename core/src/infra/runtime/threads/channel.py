"""Items from producers to waiting takers."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class Channel(Generic[T]):
    """An unbounded queue that can be closed; whoever fills it bounds it."""

    __slots__ = ("_changed", "_closed", "_items")

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._changed = threading.Condition(threading.Lock())
        self._closed = False

    def __len__(self) -> int:
        return len(self._items)

    def put(self, items: Iterable[T]) -> None:
        """Add all `items`; never waits."""
        with self._changed:
            self._items.extend(items)
            self._changed.notify(len(self._items))

    def take(self, most: int = 1) -> list[T]:
        """Up to `most` items, as soon as there is one; an empty list once the channel is closed and empty."""
        items = self._items
        with self._changed:
            while not items and not self._closed:
                self._changed.wait()
            return [items.popleft() for _ in range(min(most, len(items)))]

    def clear(self) -> list[T]:
        """Take all items that are there."""
        with self._changed:
            items = list(self._items)
            self._items.clear()
            return items

    def close(self) -> None:
        """Let takers have what is left, then nothing."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
