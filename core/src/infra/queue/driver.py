"""What a queue provider implements: batches of envelopes in and out, without policy.

A driver may serve several queues over one connection; every method names the queue. The core has validated what it passes: batches are
never empty and never above `limits`, and features were checked. Retrying, batching of single calls, renewal of leases and the limit on
attempts are the core's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from infra.driver import AsyncDriver, Driver, DriverIdentity
from infra.queue.model import Action, DeadLetter, Message, QueueLimits, QueueSpec, QueueStats, Receipt, Received, SendFailure, Settled


class QueueDriverIdentity(DriverIdentity, Protocol):
    """The part that is the same for blocking and asyncio drivers. `features` holds names of `QueueFeature`."""

    @property
    def limits(self) -> QueueLimits:
        """What bounds a call; constant after open."""
        ...


class QueueDriver(QueueDriverIdentity, Driver, Protocol):
    """A blocking driver. Its methods may be called from several threads at once."""

    def declare(self, spec: QueueSpec, timeout: float) -> None:
        """Make `spec.name` usable, by `spec.topology`. Called once for each queue before any other method names it.

        Raises an exception that `classify` calls NOT_FOUND when the queue is missing and must not be created.
        """
        ...

    def send(self, queue: str, batch: Sequence[Message], timeout: float) -> Sequence[Receipt | SendFailure]:
        """Publish all messages; one answer for each, in order. One bad message fails alone.

        A `Receipt` must be true: the message survives what `durability` names. An exception means that nothing is known about any of them,
        unless `classify` calls it INVALID_ARGUMENT, PERMISSION_DENIED or NOT_FOUND.
        """
        ...

    def receive(self, queue: str, most: int, wait: float, lease: float) -> Sequence[Received]:
        """Take up to `most` messages, as soon as there is one; empty after `wait` seconds without one, and earlier after `interrupt`.

        They stay invisible to others for `lease` seconds. Messages of one key come in order, and none of them while an earlier one is
        not settled.
        """
        ...

    def interrupt(self, queue: str) -> None:
        """Let the receives of `queue` that are under way return early; nothing where the server's poll cannot be ended."""
        ...

    def settle(self, queue: str, batch: Sequence[tuple[object, Action]], timeout: float) -> Sequence[Settled | BaseException]:
        """Settle deliveries by their tokens; one answer for each, in order. ``LOST`` when the lease that the token stands for is over."""
        ...

    def stats(self, queue: str, timeout: float) -> QueueStats:
        """Numbers of messages now."""
        ...

    def peek(self, queue: str, most: int, timeout: float) -> Sequence[Message]:
        """The next messages, without taking them (feature ``peek``)."""
        ...

    def dead_letters(self, queue: str, most: int, timeout: float) -> Sequence[DeadLetter]:
        """The oldest dead letters, without taking them (feature ``dead_letters``)."""
        ...

    def redrive(self, queue: str, ids: Sequence[str] | None, most: int, timeout: float) -> int:
        """Put up to `most` dead letters (those with `ids`, or the oldest) back as new: same id and body, attempt 0. How many it was."""
        ...

    def purge(self, queue: str, dead: bool, timeout: float) -> int:
        """Delete all messages that nobody holds, or with `dead` all dead letters (feature ``purge``). How many it was."""
        ...


@runtime_checkable
class TellsLeases(Protocol):
    """A driver, blocking or asyncio, that hears when leases end early, as those of a lost connection do."""

    def lease_over(self, token: object) -> str | None:
        """Why the lease that `token` stands for has ended; None while it may last. Does no I/O; called often, from any thread."""
        ...


class AsyncQueueDriver(QueueDriverIdentity, AsyncDriver, Protocol):
    """An asyncio driver; the contracts are those of `QueueDriver`."""

    async def declare(self, spec: QueueSpec, timeout: float) -> None:
        """Make `spec.name` usable."""
        ...

    async def send(self, queue: str, batch: Sequence[Message], timeout: float) -> Sequence[Receipt | SendFailure]:
        """Publish all messages."""
        ...

    async def receive(self, queue: str, most: int, wait: float, lease: float) -> Sequence[Received]:
        """Take up to `most` messages. When cancelled, it gives back what it took."""
        ...

    async def interrupt(self, queue: str) -> None:
        """Let the receives under way return early."""
        ...

    async def settle(self, queue: str, batch: Sequence[tuple[object, Action]], timeout: float) -> Sequence[Settled | BaseException]:
        """Settle deliveries by their tokens. Once started, it is done even when the caller is cancelled."""
        ...

    async def stats(self, queue: str, timeout: float) -> QueueStats:
        """Numbers of messages now."""
        ...

    async def peek(self, queue: str, most: int, timeout: float) -> Sequence[Message]:
        """The next messages, without taking them."""
        ...

    async def dead_letters(self, queue: str, most: int, timeout: float) -> Sequence[DeadLetter]:
        """The oldest dead letters, without taking them."""
        ...

    async def redrive(self, queue: str, ids: Sequence[str] | None, most: int, timeout: float) -> int:
        """Put dead letters back as new."""
        ...

    async def purge(self, queue: str, dead: bool, timeout: float) -> int:
        """Delete all messages that nobody holds, or all dead letters."""
        ...
