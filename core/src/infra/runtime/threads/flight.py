"""Single flight: concurrent callers of one key share one computation."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SingleFlight(Generic[K, V]):
    """One computation per key at a time; its result or exception reaches everyone who waits, and nobody after.

    The first caller computes in its own thread; the others wait for it.

    Args:
        abandon: Has no effect here: threads are not cancelled.
    """

    def __init__(self, *, abandon: bool = False) -> None:
        del abandon
        self._lock = threading.Lock()
        self._flights: dict[K, Future[V]] = {}

    def do(self, key: K, work: Callable[[], V]) -> V:
        """The result of `work`, or of the computation of `key` that is already under way."""
        with self._lock:
            flight = self._flights.get(key)
            leads = flight is None
            if flight is None:
                flight = self._flights[key] = Future()
        if not leads:
            return flight.result()
        try:
            result = work()
        except BaseException as error:
            self._land(key)
            flight.set_exception(error)
            raise
        self._land(key)
        flight.set_result(result)
        return result

    def __contains__(self, key: K) -> bool:
        return key in self._flights

    def _land(self, key: K) -> None:
        with self._lock:
            del self._flights[key]
