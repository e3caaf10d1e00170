# Generated from steps.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""What the cases do over and over."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, ClassVar

from infra.queue import ConsumeSummary, Delivery, LeaseLostError, Queue
from infra.runtime.deadline import Deadline
from infra.runtime.threads import Background, Stop, sleep
from infra_testing.harness import Harness

#: Longer than anything here takes; reached only by what hangs.
PATIENCE = 90.0


class QueueCases:
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

    def cut(self, queue: Queue) -> None:
        """Break the connection that `queue` receives on, where the lease is the connection's."""
        raise AssertionError(f"{type(self).__name__} must say how to cut the connection of {queue.name}")

    def lapse(self, queue: Queue) -> None:
        """Let the leases of what `queue` holds, taken for `lease` seconds, come to their end."""
        if self.connection_lease:
            self.cut(queue)
        else:
            sleep(self.lease + 0.1)

    def outlive_window(self, queue: Queue, window: float) -> None:
        """Let `window` seconds of remembering a `dedup_key` pass; override it where the provider's window cannot be chosen."""
        del queue
        sleep(window + 0.1)


class Consuming:
    """Runs ``queue.consume`` beside the test while its block runs."""

    def __init__(self, queue: Queue, handler: Callable[..., Any], **options: Any) -> None:
        self._queue = queue
        self._handler = handler
        self._options = options
        self._jobs = Background("consuming")
        self.stop = Stop()
        self.summary = ConsumeSummary()
        self.failure: BaseException | None = None

    def __enter__(self) -> Consuming:
        self._jobs.start(self._run, "consume")
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop.set()
        assert self._jobs.stop(PATIENCE), "consume did not end when asked to"

    def _run(self, _stop: Stop) -> None:
        try:
            self._queue.consume(self._handler, stop=self.stop, summary=self.summary, **self._options)
        except BaseException as error:
            self.failure = error
            raise


def eventually(condition: Callable[[], object], timeout: float = PATIENCE) -> None:
    """Wait until `condition` holds; fail when it does not within `timeout` seconds."""
    deadline = Deadline(timeout)
    while not condition():
        assert not deadline.passed, "what was waited for did not happen"
        sleep(0.01)


def at_rest(queue: Queue, ready: int) -> None:
    """Wait until so many messages are ready and none is in work: what was given back takes its time in a replicated queue."""
    deadline = Deadline(PATIENCE)
    while (stats := queue.stats()).ready != ready or stats.in_flight:
        assert not deadline.passed, f"{stats} instead of {ready} ready"
        sleep(0.02)


def receive_all(queue: Queue, count: int, lease: float | None = None) -> list[Delivery]:
    """Exactly `count` deliveries, however they come."""
    deadline = Deadline(PATIENCE)
    found: list[Delivery] = []
    while len(found) < count:
        assert not deadline.passed, f"{len(found)} of {count} messages came"
        found += queue.receive(max=count - len(found), wait=1.0, lease=lease)
    return found


def receive_extended(queue: Queue, lease: float, by: float) -> Delivery:
    """A delivery taken for `lease` seconds and then extended; taken again where the machine stood still for so long."""
    while True:
        started = time.monotonic()
        (delivery,) = receive_all(queue, 1, lease=lease)
        try:
            delivery.extend(by)
        except LeaseLostError:
            assert time.monotonic() - started >= lease * 0.9, "the lease ended before its time"
        else:
            return delivery


def nothing(queue: Queue, wait: float = 0.1) -> bool:
    """Whether nothing can be received."""
    return not queue.receive(wait=wait)
