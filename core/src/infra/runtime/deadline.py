"""Points in time by which something must be done."""

from __future__ import annotations

import time
from datetime import timedelta


def seconds(duration: float | timedelta) -> float:
    """A duration in seconds; durations are seconds or timedelta everywhere."""
    return duration.total_seconds() if isinstance(duration, timedelta) else float(duration)


class Deadline:
    """A point on the monotonic clock; ``Deadline(None)`` never comes."""

    __slots__ = ("_at",)

    def __init__(self, after: float | timedelta | None) -> None:
        self._at = None if after is None else time.monotonic() + seconds(after)

    def remaining(self, at_most: float | None = None) -> float | None:
        """Seconds left, never below 0 and never above `at_most`; None when there is no end at all."""
        if self._at is None:
            return at_most
        left = max(0.0, self._at - time.monotonic())
        return left if at_most is None else min(left, at_most)

    @property
    def passed(self) -> bool:
        """Whether the point has come."""
        return self._at is not None and time.monotonic() >= self._at
