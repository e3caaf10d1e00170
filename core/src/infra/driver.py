"""What every driver has, whatever its capability. The rooms' ``driver.py`` files add their own methods.

A driver moves bytes and values and classifies its SDK's exceptions. It never retries, caches, logs, validates or reads the
environment, and it knows no kernel. Methods take ``timeout`` in seconds and let the SDK's own exceptions pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from infra.errors import ErrorCode


class DriverIdentity(Protocol):
    """The part that is the same for sync and async drivers."""

    @property
    def features(self) -> frozenset[str]:
        """The optional features that this driver really has; names from the room's feature enumeration."""
        ...

    def classify(self, error: BaseException) -> ErrorCode | None:
        """What an exception of the SDK stands for; None when it is not the SDK's. Never does I/O."""
        ...

    def unwrap(self) -> Sequence[object]:
        """The raw SDK objects on offer, the most useful first; may be empty."""
        ...


class Driver(DriverIdentity, Protocol):
    """A blocking driver. Its methods may be called from several threads at once."""

    def ping(self, timeout: float) -> None:
        """Return when the server answers; raise the SDK's exception when it does not within `timeout` seconds."""
        ...

    def close(self, timeout: float) -> None:
        """Release everything within `timeout` seconds. A second call does nothing."""
        ...


class AsyncDriver(DriverIdentity, Protocol):
    """An asyncio driver. It belongs to the event loop that opened it."""

    async def ping(self, timeout: float) -> None:
        """Return when the server answers; raise the SDK's exception when it does not within `timeout` seconds."""
        ...

    async def close(self, timeout: float) -> None:
        """Release everything within `timeout` seconds. A second call does nothing."""
        ...
