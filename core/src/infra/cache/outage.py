"""What a process remembers while its cache cannot be reached."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence


class Outage:
    """The breaker, and the tombstones of entries that could not be deleted or may have been half written.

    While it is open no call reaches the provider, so that every entry reads as a miss. Before it closes, whoever probes deletes what has
    a tombstone. A provider that answers but refuses to write leaves it closed: then what has a tombstone reads as a miss, and nothing
    else. Thread-safe; does no I/O.

    Args:
        limit: The most tombstones. Beyond, they give way to one for their namespace's generation, whose loss invalidates all below.
    """

    def __init__(self, limit: int) -> None:
        self.open = False
        #: Whether there are tombstones.
        self.pending = False
        self._replaying = False
        self._limit = limit
        self._lock = threading.Lock()
        self._tombstones: dict[str, str] = {}  # key -> the key of the generation that it belongs to

    def begin(self) -> bool:
        """Open the breaker; True for the one caller that has to start probing."""
        with self._lock:
            self.open = True
            return self._replay()

    def replay(self) -> bool:
        """Leave the breaker as it is, and have the tombstones replayed; True for the one caller that has to start that."""
        with self._lock:
            return self._replay()

    def serve(self) -> None:
        """Close the breaker although there are tombstones: the provider answers and does not delete."""
        with self._lock:
            self.open = False

    def living(self, keys: Sequence[str], values: list[bytes | None]) -> list[bytes | None]:
        """`values`, with None for each of `keys` that has a tombstone."""
        with self._lock:
            return [None if key in self._tombstones else value for key, value in zip(keys, values, strict=True)]

    def bury(self, keys: Iterable[str], generation: str) -> None:
        """Remember that `keys`, which belong to the generation stored at `generation`, must be deleted."""
        with self._lock:
            if self._tombstones.get(generation) == generation:
                return
            self._tombstones.update(dict.fromkeys(keys, generation))
            if len(self._tombstones) > self._limit:
                self._tombstones = {kept: kept for kept in self._tombstones.values()}
            self.pending = True

    def tombstones(self, limit: int | None = None) -> list[str]:
        """The keys to delete, at most `limit`."""
        with self._lock:
            return list(self._tombstones)[:limit]

    def deleted(self, keys: Iterable[str]) -> None:
        """Forget the tombstones of `keys`."""
        with self._lock:
            for key in keys:
                self._tombstones.pop(key, None)
            self.pending = bool(self._tombstones)

    def end(self) -> bool:
        """Close the breaker if no tombstone is left; whether it closed, and whoever probes may end."""
        with self._lock:
            if not self._tombstones:
                self.open = self._replaying = False
            return not self._replaying

    def _replay(self) -> bool:
        first, self._replaying = not self._replaying, True
        return first
