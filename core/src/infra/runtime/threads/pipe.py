"""A pipe between a producer that pushes and a consumer that pulls."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Pipe(Generic[T, R]):
    """Runs ``consume(items)`` beside the caller, which pushes the items. End it with `finish` or `abort`.

    Args:
        consume: Iterates the items and returns the result.
        depth: How many items may wait to be taken.
    """

    def __init__(self, consume: Callable[[Iterator[T]], R], *, depth: int = 2) -> None:
        self._depth = depth
        self._items: deque[T] = deque()
        self._ended = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self._result: Future[R] = Future()
        threading.Thread(target=self._run, args=(consume,), name="infra-pipe", daemon=True).start()

    def push(self, item: T) -> None:
        """Hand over one item; waits while `depth` of them wait. Raises what the consumer raised; no item is taken after that."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._items) < self._depth or self._ended)
            if not self._ended:
                self._items.append(item)
                self._changed.notify_all()
                return
        self._result.result()
        raise RuntimeError("the consumer ended without taking every item")

    def finish(self) -> R:
        """End the items and wait for the consumer's result."""
        self._end(None)
        return self._result.result()

    def abort(self, error: BaseException) -> None:
        """End the items with `error` and wait until the consumer has ended; what it raises or returns is dropped."""
        self._end(error)
        self._result.exception()

    def _end(self, error: BaseException | None) -> None:
        with self._changed:
            if not self._ended:
                self._ended, self._error = True, error
                if error is not None:
                    self._items.clear()
            self._changed.notify_all()

    def _run(self, consume: Callable[[Iterator[T]], R]) -> None:
        try:
            result = consume(self._take())
        except BaseException as error:
            self._close()
            self._result.set_exception(error)
        else:
            self._close()
            self._result.set_result(result)

    def _close(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _take(self) -> Iterator[T]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or self._ended)
                if self._error is not None:
                    raise self._error
                if not self._items:
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item
