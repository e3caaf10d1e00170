"""A message in the hands of its receiver."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from infra.queue.errors import LeaseLostError
from infra.queue.model import ACK, Action, Dead, Extend, Message, Received, Retry

if TYPE_CHECKING:
    from infra.queue._async.queue import AsyncQueue
    from infra.runtime.aio import Scope


class AsyncDelivery:
    """A message that is ours until its lease ends. Settle it once: `ack`, `retry` or `dead`; settling it again does nothing.

    Attributes:
        message: The envelope.
        settled: Whether it was settled through this object.
    """

    __slots__ = ("_queue", "_token", "abandoned", "begun", "gone", "lease", "message", "noticed", "renew_at", "scope", "settled")

    def __init__(self, queue: AsyncQueue, received: Received, lease: float) -> None:
        self._queue = queue
        self._token = received.token
        self.message: Message = received.message
        self.lease = lease
        self.renew_at = time.monotonic() + 0.7 * lease
        self.scope: Scope | None = None
        self.settled = False
        self.abandoned = received.abandoned
        self.begun = False  # by a handler of `consume`
        self.gone: str | None = None  # why the lease is lost
        self.noticed = False  # somebody was told

    @property
    def lost(self) -> bool:
        """Whether its lease is known to be lost: it comes again. A handler in a thread looks here and ends; one in a task is cancelled."""
        self.noticed = self.noticed or self.gone is not None
        return self.gone is not None

    @property
    def id(self) -> str:
        """The message's id."""
        return self.message.id

    @property
    def body(self) -> bytes:
        """The bytes that were published."""
        return self.message.body

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers that were published."""
        return self.message.headers

    @property
    def key(self) -> str | None:
        """The ordering key."""
        return self.message.key

    @property
    def attempt(self) -> int:
        """Which delivery of the message this is, from 1."""
        return self.message.attempt

    @property
    def created_at(self) -> datetime:
        """When the message was made, in UTC."""
        return self.message.created_at

    def decode(self, model: Any = None) -> Any:
        """The body as an object of type `model`, or as whatever it holds.

        Raises:
            DecodeError: It is not one.
        """
        return self._queue.decode(self.message, model)

    async def ack(self) -> None:
        """It is handled: delete it.

        Raises:
            LeaseLostError: The lease is over; the message was or will be delivered again.
        """
        await self._settle(ACK)

    async def retry(self, delay: float | timedelta = 0.0) -> None:
        """Let it be delivered again, `delay` seconds from now at the earliest.

        Raises:
            LeaseLostError: The lease is over.
            UnsupportedError: The provider has no delays, and `delay` is not 0.
        """
        await self._settle(self._queue.retry_action(self._queue.arguments.duration("retry", "delay", delay)))

    async def release(self) -> None:
        """Give it back untouched: at once visible, and this attempt not counted where the provider's count allows it."""
        await self._settle(Retry(0.0, counted=False))

    async def dead(self, reason: str) -> None:
        """Move it to the dead letters.

        Raises:
            LeaseLostError: The lease is over.
        """
        await self._settle(Dead(self._queue.arguments.text("dead", "reason", reason)))

    async def extend(self, duration: float | timedelta) -> None:
        """Keep it for `duration` seconds from now.

        Raises:
            LeaseLostError: The lease is over, or it was settled.
            UnsupportedError: The provider has no such thing.
        """
        lease = self._queue.arguments.duration("extend", "duration", duration, positive=True)
        if self.settled:
            raise self._queue.lease_lost(self.message, "extend", "it was settled already")
        await self._queue.settle_one(self, Extend(lease))
        self.lease = lease
        self.renew_at = time.monotonic() + 0.7 * lease

    async def _settle(self, action: Action) -> None:
        if self.settled:
            return
        self.settled = True
        try:
            await self._queue.settle_one(self, action)
        except LeaseLostError:
            self.gone = "it was lost before it could be settled"
            raise
        except BaseException:
            self.settled = False  # it may be tried again
            raise

    def __repr__(self) -> str:
        return f"<AsyncDelivery {self.message.id} attempt {self.message.attempt}>"
