# ruff: noqa: ARG002  (timeouts of the contract that memory has no use for)
"""Queues in this process's memory."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import cast

from infra.errors import ErrorCode
from infra.plugin import OpenContext
from infra.queue.model import (
    Ack,
    Action,
    Dead,
    DeadLetter,
    Durability,
    Extend,
    Message,
    PublishOutcome,
    QueueFeature,
    QueueLimits,
    QueueSpec,
    QueueStats,
    Receipt,
    Received,
    SendFailure,
    Settled,
)
from infra.runtime.deadline import Deadline
from infra_local.queue.settings import MemoryQueueSettings

FEATURES = frozenset(str(feature) for feature in QueueFeature) - {QueueFeature.DURABLE, QueueFeature.SHARED}
LIMITS = QueueLimits(batch=1000)
_PURGE_DEDUP_EVERY = 1000


class FullError(Exception):
    """The queue holds as many messages as its capacity allows."""


@dataclass(slots=True)
class _Row:
    message: Message
    visible_at: float  # monotonic; while leased, the end of the lease
    lease: int = 0  # 0 while nobody holds it
    attempts: int = 0
    abandoned: bool = False


class MemoryQueue:
    """One queue. All methods are thread-safe and return at once; whoever waits subscribes."""

    def __init__(self, capacity: int | None) -> None:
        self._lock = threading.Lock()
        self._capacity = capacity
        self._rows: dict[int, _Row] = {}
        self._ready: list[tuple[float, int]] = []  # a heap of (visible_at, sequence), checked against the row when popped
        self._keys: dict[str, deque[int]] = {}  # the unsettled messages of each key, in order; only the first can be claimed
        self._seen: dict[str, float] = {}  # dedup_key -> when it is forgotten
        self._dead: dict[int, DeadLetter] = {}
        self._sequence = itertools.count(1)
        self._leases = itertools.count(1)
        self._wakers: set[Callable[[], None]] = set()
        self.window = 300.0
        self.interruptions = 0

    def send(self, batch: Sequence[Message]) -> list[Receipt | SendFailure]:
        """Add all, in order."""
        now, clock = time.monotonic(), time.time()
        with self._lock:
            answers = [self._send(message, now, clock) for message in batch]
        self.wake()
        return answers

    def _send(self, message: Message, now: float, clock: float) -> Receipt | SendFailure:
        if self._capacity is not None and len(self._rows) >= self._capacity:
            return SendFailure(PublishOutcome.NOT_SENT, FullError(f"the queue is full: it holds {self._capacity} messages"))
        if message.dedup_key is not None and not self._remember(message.dedup_key, now):
            return Receipt(message.id, Durability.NONE, duplicate=True)
        self._add(message, now if message.deliver_at is None else now + max(0.0, message.deliver_at.timestamp() - clock))
        return Receipt(message.id, Durability.NONE)

    def _remember(self, key: str, now: float) -> bool:
        if self._seen.get(key, 0.0) > now:
            return False
        self._seen[key] = now + self.window
        if len(self._seen) % _PURGE_DEDUP_EVERY == 0:
            self._seen = {key: until for key, until in self._seen.items() if until > now}
        return True

    def _add(self, message: Message, visible_at: float) -> None:
        sequence = next(self._sequence)
        self._rows[sequence] = _Row(message, visible_at)
        if message.key is not None:
            line = self._keys.setdefault(message.key, deque())
            line.append(sequence)
            if len(line) > 1:
                return
        heapq.heappush(self._ready, (visible_at, sequence))

    def claim(self, most: int, lease: float) -> list[Received]:
        """Lease up to `most` visible messages."""
        now = time.monotonic()
        taken: list[Received] = []
        with self._lock:
            while self._ready and len(taken) < most and self._ready[0][0] <= now:
                visible_at, sequence = heapq.heappop(self._ready)
                row = self._rows.get(sequence)
                if row is None or row.visible_at != visible_at:
                    continue
                row.attempts += 1
                row.abandoned = row.abandoned or row.lease != 0
                row.lease = next(self._leases)
                row.visible_at = now + lease
                heapq.heappush(self._ready, (row.visible_at, sequence))
                taken.append(Received(replace(row.message, attempt=row.attempts), (sequence, row.lease), row.abandoned))
        return taken

    def next_due(self) -> float | None:
        """Seconds until a message may become visible; None when there is none."""
        with self._lock:
            return max(0.0, self._ready[0][0] - time.monotonic()) if self._ready else None

    def settle(self, batch: Sequence[tuple[object, Action]]) -> list[Settled]:
        """Settle all whose lease still holds."""
        now = time.monotonic()
        with self._lock:
            answers = [self._settle(token, action, now) for token, action in batch]
        self.wake()
        return answers

    def _settle(self, token: object, action: Action, now: float) -> Settled:
        sequence, lease = cast(tuple[int, int], token)
        row = self._rows.get(sequence)
        if row is None or row.lease != lease or row.visible_at <= now:
            return Settled.LOST
        if isinstance(action, Ack):
            self._remove(sequence, row)
        elif isinstance(action, Dead):
            self._remove(sequence, row)
            self._dead[sequence] = DeadLetter(replace(row.message, attempt=row.attempts), action.reason, datetime.now(UTC))
        else:
            if isinstance(action, Extend):
                row.visible_at = now + action.seconds
            else:
                row.lease, row.visible_at = 0, now + action.delay
                row.attempts -= not action.counted
                row.abandoned = row.abandoned and not action.counted
            heapq.heappush(self._ready, (row.visible_at, sequence))
        return Settled.DONE

    def _remove(self, sequence: int, row: _Row) -> None:
        del self._rows[sequence]
        key = row.message.key
        if key is not None:
            line = self._keys[key]
            line.remove(sequence)
            if line:
                heapq.heappush(self._ready, (self._rows[line[0]].visible_at, line[0]))
            else:
                del self._keys[key]

    def stats(self) -> QueueStats:
        """Numbers of messages now."""
        now = time.monotonic()
        with self._lock:
            held = sum(1 for row in self._rows.values() if row.lease and row.visible_at > now)
            ready = [now - row.visible_at for row in self._rows.values() if row.visible_at <= now]
            return QueueStats(
                ready=len(ready),
                delayed=len(self._rows) - held - len(ready),
                in_flight=held,
                dead=len(self._dead),
                oldest=max(ready, default=None),
            )

    def peek(self, most: int) -> list[Message]:
        """The oldest messages that nobody holds."""
        now = time.monotonic()
        with self._lock:
            free = (row for row in self._rows.values() if not row.lease or row.visible_at <= now)
            return [replace(row.message, attempt=row.attempts) for row in itertools.islice(free, most)]

    def dead_letters(self, most: int) -> list[DeadLetter]:
        """The oldest dead letters."""
        with self._lock:
            return list(itertools.islice(self._dead.values(), most))

    def redrive(self, ids: Sequence[str] | None, most: int) -> int:
        """Put dead letters back."""
        wanted = None if ids is None else set(ids)
        now = time.monotonic()
        with self._lock:
            chosen = [sequence for sequence, letter in self._dead.items() if wanted is None or letter.message.id in wanted][:most]
            for sequence in chosen:
                self._add(replace(self._dead.pop(sequence).message, attempt=0, deliver_at=None), now)
        self.wake()
        return len(chosen)

    def purge(self, dead: bool) -> int:
        """Delete what nobody holds, or the dead letters."""
        now = time.monotonic()
        with self._lock:
            if dead:
                count = len(self._dead)
                self._dead.clear()
                return count
            free = [(sequence, row) for sequence, row in self._rows.items() if not row.lease or row.visible_at <= now]
            for sequence, row in free:
                self._remove(sequence, row)
            return len(free)

    def subscribe(self, waker: Callable[[], None]) -> None:
        """Call `waker`, from any thread, when something changed."""
        with self._lock:
            self._wakers.add(waker)

    def unsubscribe(self, waker: Callable[[], None]) -> None:
        """Stop calling `waker`."""
        with self._lock:
            self._wakers.discard(waker)

    def wake(self) -> None:
        """Tell all subscribers."""
        if self._wakers:
            with self._lock:
                wakers = list(self._wakers)
            for waker in wakers:
                waker()

    def interrupt(self) -> None:
        """Let waiting receives end."""
        self.interruptions += 1
        self.wake()


class MissingError(LookupError):
    """There is no queue of that name."""


class _Queues:
    """What both drivers share: the queues of one kernel, by name."""

    features = FEATURES
    limits = LIMITS

    def __init__(self, settings: MemoryQueueSettings, context: OpenContext) -> None:
        self._capacity = settings.capacity
        self._queues: dict[str, MemoryQueue] = context.stores.get("queue.memory", dict[str, MemoryQueue])

    def queue(self, name: str) -> MemoryQueue:
        """The queue called `name`."""
        queue = self._queues.get(name)
        if queue is None:
            raise MissingError(f"there is no queue {name!r}")
        return queue

    def _declare(self, spec: QueueSpec) -> None:
        if spec.topology == "ensure":
            self._queues.setdefault(spec.name, MemoryQueue(self._capacity))
        self.queue(spec.name).window = spec.dedup_window

    def classify(self, error: BaseException) -> ErrorCode | None:
        """A full or a missing queue."""
        if isinstance(error, FullError):
            return ErrorCode.RATE_LIMITED
        return ErrorCode.NOT_FOUND if isinstance(error, MissingError) else None

    def unwrap(self) -> Sequence[object]:
        """Nothing: there is no SDK."""
        return ()


class MemoryQueueDriver(_Queues):
    """Blocking driver; the contracts are those of `infra.queue.driver.QueueDriver`."""

    def ping(self, timeout: float) -> None:
        """Memory always answers."""

    def close(self, timeout: float) -> None:
        """The queues belong to the kernel."""

    def declare(self, spec: QueueSpec, timeout: float) -> None:
        """Make `spec.name` usable."""
        self._declare(spec)

    def send(self, queue: str, batch: Sequence[Message], timeout: float) -> Sequence[Receipt | SendFailure]:
        """Publish all messages."""
        return self.queue(queue).send(batch)

    def receive(self, queue: str, most: int, wait: float, lease: float) -> Sequence[Received]:
        """Take messages."""
        store, deadline = self.queue(queue), Deadline(wait)
        found = store.claim(most, lease)
        if found or wait <= 0:
            return found
        before = store.interruptions
        changed = threading.Event()
        store.subscribe(changed.set)
        try:
            while not (found := store.claim(most, lease)) and not deadline.passed and store.interruptions == before:
                changed.wait(deadline.remaining(store.next_due()))
                changed.clear()
            return found
        finally:
            store.unsubscribe(changed.set)

    def interrupt(self, queue: str) -> None:
        """End the waiting receives."""
        self.queue(queue).interrupt()

    def settle(self, queue: str, batch: Sequence[tuple[object, Action]], timeout: float) -> Sequence[Settled | BaseException]:
        """Settle deliveries."""
        return self.queue(queue).settle(batch)

    def stats(self, queue: str, timeout: float) -> QueueStats:
        """Numbers of messages now."""
        return self.queue(queue).stats()

    def peek(self, queue: str, most: int, timeout: float) -> Sequence[Message]:
        """The next messages."""
        return self.queue(queue).peek(most)

    def dead_letters(self, queue: str, most: int, timeout: float) -> Sequence[DeadLetter]:
        """The oldest dead letters."""
        return self.queue(queue).dead_letters(most)

    def redrive(self, queue: str, ids: Sequence[str] | None, most: int, timeout: float) -> int:
        """Put dead letters back as new."""
        return self.queue(queue).redrive(ids, most)

    def purge(self, queue: str, dead: bool, timeout: float) -> int:
        """Delete messages or dead letters."""
        return self.queue(queue).purge(dead)


class AsyncMemoryQueueDriver(_Queues):
    """Asyncio driver; the contracts are those of `infra.queue.driver.AsyncQueueDriver`."""

    async def ping(self, timeout: float) -> None:
        """Memory always answers."""

    async def close(self, timeout: float) -> None:
        """The queues belong to the kernel."""

    async def declare(self, spec: QueueSpec, timeout: float) -> None:
        """Make `spec.name` usable."""
        self._declare(spec)

    async def send(self, queue: str, batch: Sequence[Message], timeout: float) -> Sequence[Receipt | SendFailure]:
        """Publish all messages."""
        return self.queue(queue).send(batch)

    async def receive(self, queue: str, most: int, wait: float, lease: float) -> Sequence[Received]:
        """Take messages; nothing is awaited between a claim and its return, so that a cancelled receive holds nothing."""
        store, deadline = self.queue(queue), Deadline(wait)
        found = store.claim(most, lease)
        if found or wait <= 0:
            return found
        before = store.interruptions
        changed = asyncio.Event()
        loop = asyncio.get_running_loop()

        def waker() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(changed.set)

        store.subscribe(waker)
        try:
            while not (found := store.claim(most, lease)) and not deadline.passed and store.interruptions == before:
                try:
                    async with asyncio.timeout(deadline.remaining(store.next_due())):
                        await changed.wait()
                except TimeoutError:
                    pass
                changed.clear()
            return found
        finally:
            store.unsubscribe(waker)

    async def interrupt(self, queue: str) -> None:
        """End the waiting receives."""
        self.queue(queue).interrupt()

    async def settle(self, queue: str, batch: Sequence[tuple[object, Action]], timeout: float) -> Sequence[Settled | BaseException]:
        """Settle deliveries."""
        return self.queue(queue).settle(batch)

    async def stats(self, queue: str, timeout: float) -> QueueStats:
        """Numbers of messages now."""
        return self.queue(queue).stats()

    async def peek(self, queue: str, most: int, timeout: float) -> Sequence[Message]:
        """The next messages."""
        return self.queue(queue).peek(most)

    async def dead_letters(self, queue: str, most: int, timeout: float) -> Sequence[DeadLetter]:
        """The oldest dead letters."""
        return self.queue(queue).dead_letters(most)

    async def redrive(self, queue: str, ids: Sequence[str] | None, most: int, timeout: float) -> int:
        """Put dead letters back as new."""
        return self.queue(queue).redrive(ids, most)

    async def purge(self, queue: str, dead: bool, timeout: float) -> int:
        """Delete messages or dead letters."""
        return self.queue(queue).purge(dead)


def open_driver(settings: MemoryQueueSettings, context: OpenContext) -> MemoryQueueDriver:
    """The blocking driver."""
    return MemoryQueueDriver(settings, context)


async def open_driver_async(settings: MemoryQueueSettings, context: OpenContext) -> AsyncMemoryQueueDriver:
    """The asyncio driver."""
    return AsyncMemoryQueueDriver(settings, context)
