"""An asyncio driver over a blocking one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from infra.driver import Cause, Explains
from infra.queue.driver import QueueDriver, TellsLeases
from infra.queue.model import (
    RELEASE,
    Action,
    DeadLetter,
    Message,
    QueueLimits,
    QueueSpec,
    QueueStats,
    Receipt,
    Received,
    SendFailure,
    Settled,
)
from infra.runtime.bridge import ThreadBridge

_RELEASE_TIMEOUT = 10.0


class ThreadedQueueDriver:
    """Runs a blocking driver in the threads of `bridge`; a waiting receive holds one of them.

    Args:
        driver: The blocking driver.
        bridge: The threads of this resource; closed with the driver.
    """

    def __init__(self, driver: QueueDriver, bridge: ThreadBridge) -> None:
        self._driver = driver
        self._bridge = bridge
        self.features = driver.features
        self.limits: QueueLimits = driver.limits
        self.classify = driver.classify
        self.unwrap = driver.unwrap
        if isinstance(driver, TellsLeases):
            self.lease_over = driver.lease_over

    def explain(self, error: BaseException) -> Cause | None:
        """The blocking driver's words for an exception, where it has any."""
        return self._driver.explain(error) if isinstance(self._driver, Explains) else None

    async def ping(self, timeout: float) -> None:
        """See `QueueDriver`, as with all methods here."""
        await self._bridge.call(self._driver.ping, timeout)

    async def close(self, timeout: float) -> None:
        """Ends waiting receives, closes the driver, then the threads."""
        closing = ThreadBridge("queue-close", 1)  # the pool may be full of receives, which this ends
        try:
            await closing.call(self._driver.close, timeout)
        finally:
            closing.close()
            self._bridge.close()

    async def declare(self, spec: QueueSpec, timeout: float) -> None:
        """Make `spec.name` usable."""
        await self._bridge.call(self._driver.declare, spec, timeout)

    async def send(self, queue: str, batch: Sequence[Message], timeout: float) -> Sequence[Receipt | SendFailure]:
        """Publish all messages."""
        return await self._bridge.call(self._driver.send, queue, batch, timeout)

    async def receive(self, queue: str, most: int, wait: float, lease: float) -> Sequence[Received]:
        """Take messages; what arrives after the caller was cancelled is given back."""

        def give_back(received: Sequence[Received]) -> None:
            if received:
                self._driver.settle(queue, [(one.token, RELEASE) for one in received], _RELEASE_TIMEOUT)

        try:
            return await self._bridge.call(self._driver.receive, queue, most, wait, lease, abandoned=give_back)
        except asyncio.CancelledError:
            self._driver.interrupt(queue)
            raise

    async def interrupt(self, queue: str) -> None:
        """Let the receives under way return early."""
        self._driver.interrupt(queue)

    async def settle(self, queue: str, batch: Sequence[tuple[object, Action]], timeout: float) -> Sequence[Settled | BaseException]:
        """Settle deliveries; done even where the caller is cancelled while all threads are taken."""
        return await asyncio.shield(asyncio.ensure_future(self._bridge.call(self._driver.settle, queue, batch, timeout)))

    async def stats(self, queue: str, timeout: float) -> QueueStats:
        """Numbers of messages now."""
        return await self._bridge.call(self._driver.stats, queue, timeout)

    async def peek(self, queue: str, most: int, timeout: float) -> Sequence[Message]:
        """The next messages, without taking them."""
        return await self._bridge.call(self._driver.peek, queue, most, timeout)

    async def dead_letters(self, queue: str, most: int, timeout: float) -> Sequence[DeadLetter]:
        """The oldest dead letters."""
        return await self._bridge.call(self._driver.dead_letters, queue, most, timeout)

    async def redrive(self, queue: str, ids: Sequence[str] | None, most: int, timeout: float) -> int:
        """Put dead letters back as new."""
        return await self._bridge.call(self._driver.redrive, queue, ids, most, timeout)

    async def purge(self, queue: str, dead: bool, timeout: float) -> int:
        """Delete messages or dead letters."""
        return await self._bridge.call(self._driver.purge, queue, dead, timeout)
