"""What every driver has, whatever its capability. The rooms' ``driver.py`` files add their own methods.

A driver moves bytes and values and classifies its SDK's exceptions. It never retries, caches, logs, validates or reads the
environment, and it knows no kernel. Methods take ``timeout`` in seconds and let the SDK's own exceptions pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from infra.errors import ErrorCode


@dataclass(frozen=True, slots=True)
class Cause:
    """What an operator should read instead of an exception's own text.

    Args:
        text: The cause in plain words, without place and secret: ``there is no bucket 'images'``.
        settings: The settings that it is about, where those that are usual for the code are not.
        remedy: What to do, where the usual for the code does not fit.
    """

    text: str
    settings: tuple[str, ...] = ()
    remedy: str | None = None


@runtime_checkable
class Explains(Protocol):
    """A driver that knows better words for some exceptions than they have themselves. Optional."""

    def explain(self, error: BaseException) -> Cause | None:
        """The cause in plain words; None where the exception's own text will do. Never does I/O."""
        ...


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
