"""What the cases do over and over."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, ClassVar

from infra.queue import AsyncDelivery, AsyncQueue, ConsumeSummary, LeaseLostError
from infra.runtime.aio import Background, Stop, sleep
from infra.runtime.deadline import Deadline
from infra_testing.harness import Harness

#: Longer than anything here takes; reached only by what hangs.
PATIENCE = 90.0


class AsyncQueueCases:
    """The base of the groups of cases.

    Attributes:
        lease: Seconds; the shortest lease that the provider keeps.
        tick: Seconds; the shortest delay that the provider keeps.
        connection_lease: Whether a lease ends with the receiver's connection, and not with time; then override `cut`.
    """

    harness: ClassVar[Harness]
    lease: ClassVar[float] = 0.5
    tick: ClassVar[float] = 0.5
    connection_lease: ClassVar[bool] = False

    async def cut(self, queue: AsyncQueue) -> None:
        """Break the connection that `queue` receives on, where the lease is the connection's."""
        raise AssertionError(f"{type(self).__name__} must say how to cut the connection of {queue.name}")

    async def lapse(self, queue: AsyncQueue) -> None:
        """Let the leases of what `queue` holds, taken for `lease` seconds, come to their end."""
        if self.connection_lease:
            await self.cut(queue)
        else:
            await sleep(self.lease + 0.1)

    async def outlive_window(self, queue: AsyncQueue, window: float) -> None:
        """Let `window` seconds of remembering a `dedup_key` pass; override it where the provider's window cannot be chosen."""
        del queue
        await sleep(window + 0.1)


class AsyncConsuming:
    """Runs ``queue.consume`` beside the test while its block runs."""

    def __init__(self, queue: AsyncQueue, handler: Callable[..., Any], **options: Any) -> None:
        self._queue = queue
        self._handler = handler
        self._options = options
        self._jobs = Background("consuming")
        self.stop = Stop()
        self.summary = ConsumeSummary()
        self.failure: BaseException | None = None

    async def __aenter__(self) -> AsyncConsuming:
        self._jobs.start(self._run, "consume")
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.stop.set()
        assert await self._jobs.stop(PATIENCE), "consume did not end when asked to"

    async def _run(self, _stop: Stop) -> None:
        try:
            await self._queue.consume(self._handler, stop=self.stop, summary=self.summary, **self._options)
        except BaseException as error:
            self.failure = error
            raise


async def eventually(condition: Callable[[], object], timeout: float = PATIENCE) -> None:
    """Wait until `condition` holds; fail when it does not within `timeout` seconds."""
    deadline = Deadline(timeout)
    while not condition():
        assert not deadline.passed, "what was waited for did not happen"
        await sleep(0.01)


async def at_rest(queue: AsyncQueue, ready: int) -> None:
    """Wait until so many messages are ready and none is in work: what was given back takes its time in a replicated queue."""
    deadline = Deadline(PATIENCE)
    while (stats := await queue.stats()).ready != ready or stats.in_flight:
        assert not deadline.passed, f"{stats} instead of {ready} ready"
        await sleep(0.02)


async def receive_all(queue: AsyncQueue, count: int, lease: float | None = None) -> list[AsyncDelivery]:
    """Exactly `count` deliveries, however they come."""
    deadline = Deadline(PATIENCE)
    found: list[AsyncDelivery] = []
    while len(found) < count:
        assert not deadline.passed, f"{len(found)} of {count} messages came"
        found += await queue.receive(max=count - len(found), wait=1.0, lease=lease)
    return found


async def receive_extended(queue: AsyncQueue, lease: float, by: float) -> AsyncDelivery:
    """A delivery taken for `lease` seconds and then extended; taken again where the machine stood still for so long."""
    while True:
        started = time.monotonic()
        (delivery,) = await receive_all(queue, 1, lease=lease)
        try:
            await delivery.extend(by)
        except LeaseLostError:
            assert time.monotonic() - started >= lease * 0.9, "the lease ended before its time"
        else:
            return delivery


async def nothing(queue: AsyncQueue, wait: float = 0.1) -> bool:
    """Whether nothing can be received."""
    return not await queue.receive(wait=wait)
