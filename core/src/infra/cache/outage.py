"""What a process remembers while its cache cannot be reached."""

from __future__ import annotations

import threading
from collections.abc import Iterable


class Outage:
    """The breaker, and the tombstones of entries that could not be deleted or may have been half written.

    While it is open no call reaches the provider, so that every entry reads as a miss. Before it closes, whoever probes deletes what has
    a tombstone. Thread-safe; does no I/O.

    Args:
        limit: The most tombstones. Beyond, they give way to one for their namespace's generation, whose loss invalidates all below.
    """

    def __init__(self, limit: int) -> None:
        self.open = False
        self._limit = limit
        self._lock = threading.Lock()
        self._tombstones: dict[str, str] = {}  # key -> the key of the generation that it belongs to

    def begin(self) -> bool:
        """Open the breaker; True for the one caller that has to start probing."""
        with self._lock:
            first, self.open = not self.open, True
            return first

    def bury(self, keys: Iterable[str], generation: str) -> None:
        """Remember that `keys`, which belong to the generation stored at `generation`, must be deleted."""
        with self._lock:
            if self._tombstones.get(generation) == generation:
                return
            self._tombstones.update(dict.fromkeys(keys, generation))
            if len(self._tombstones) > self._limit:
                self._tombstones = {kept: kept for kept in self._tombstones.values()}

    def tombstones(self, limit: int | None = None) -> list[str]:
        """The keys to delete, at most `limit`."""
        with self._lock:
            return list(self._tombstones)[:limit]

    def deleted(self, keys: Iterable[str]) -> None:
        """Forget the tombstones of `keys`."""
        with self._lock:
            for key in keys:
                self._tombstones.pop(key, None)

    def end(self) -> bool:
        """Close the breaker if no tombstone is left; whether it closed."""
        with self._lock:
            self.open = bool(self._tombstones)
            return not self.open
