"""Value types of queues: the envelope, what publishing and receiving return, and how a delivery is settled."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, Literal

from infra.runtime.identifiers import uuid7

OCTETS: Final = "application/octet-stream"
NO_HEADERS: Final[Mapping[str, str]] = {}


class QueueFeature(StrEnum):
    """What a provider may have. Ask for it with ``require``, or with ``queue.supports(...)``."""

    DELAY = "delay"  #: publish(delay=...) and retry(delay=...)
    RETRY_DELAY = "retry_delay"  #: retry(delay=...); every provider that has ``delay`` has it
    ORDERING = "ordering"  #: messages of one key are handled one at a time, in the order of publishing
    DEDUPLICATION = "deduplication"  #: publish(dedup_key=...) within the window
    EXTEND = "extend"  #: a lease can be prolonged
    EXACT_ATTEMPTS = "exact_attempts"  #: `Message.attempt` counts exactly; without it, approximately
    DURABLE = "durable"  #: messages survive the end of the process that published them
    SHARED = "shared"  #: other processes can use the same queue
    DEAD_LETTERS = "dead_letters"  #: dead letters can be listed and redriven
    PEEK = "peek"  #: messages can be looked at without taking them
    PURGE = "purge"  #: all messages can be deleted at once


class Durability(StrEnum):
    """What a published message survives."""

    NONE = "none"  #: nothing: it is in the memory of one process
    PROCESS = "process"  #: the end of any process, but not a power failure
    DISK = "disk"  #: power failure of the machine
    REPLICATED = "replicated"  #: loss of the machine


class PublishOutcome(StrEnum):
    """What became of a message whose publishing failed."""

    NOT_SENT = "not_sent"  #: it is certain that it is not in the queue; trying again may help
    UNKNOWN = "unknown"  #: it may or may not be in the queue; trying again with the same id is right
    REFUSED = "refused"  #: it is not in the queue, and trying again will not help


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def new_id() -> str:
    """A UUIDv7 as text."""
    digits = f"{uuid7().int:032x}"  # half the time of str()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


@dataclass(frozen=True, slots=True)
class Message:
    """The envelope. Retry, dead-lettering and redrive keep its `id`.

    Args:
        body: The bytes to carry; `Queue.message` encodes objects.
        id: A UUIDv7 as text, unless the publisher has an identity of its own.
        content_type: Media type of the body; says which codec decodes it.
        headers: Further text values.
        created_at: When it was made, in UTC.
        key: Messages of one key are delivered in order (feature ``ordering``).
        dedup_key: A second message with the same key within the window is accepted and dropped (feature ``deduplication``).
        deliver_at: Not to be delivered before this time (feature ``delay``).
        attempt: 0 before the first delivery, then which delivery this is.
        traceparent: The W3C trace context of the publisher.
    """

    body: bytes
    id: str = field(default_factory=new_id)
    content_type: str = OCTETS
    headers: Mapping[str, str] = field(default_factory=lambda: NO_HEADERS)
    created_at: datetime = field(default_factory=now)
    key: str | None = None
    dedup_key: str | None = None
    deliver_at: datetime | None = None
    attempt: int = 0
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """A message is in the queue.

    Args:
        id: The message's id.
        durability: What it survives from now on.
        duplicate: True when an earlier message with the same `dedup_key` stands for it.
    """

    id: str
    durability: Durability
    duplicate: bool = False


@dataclass(frozen=True, slots=True)
class SendFailure:
    """A driver's answer for one message that it could not send.

    Args:
        outcome: What became of it.
        error: The SDK's exception, or one of the driver's that says why.
    """

    outcome: PublishOutcome
    error: BaseException


@dataclass(frozen=True, slots=True)
class Received:
    """A message as a driver hands it over.

    Args:
        message: The envelope; its `attempt` counts this delivery.
        token: What `settle` needs; opaque to the core, valid while the lease lasts.
        abandoned: Whether an earlier receiver let its lease end, as one that was killed does; None when the provider cannot say.
    """

    message: Message
    token: object
    abandoned: bool | None = None


@dataclass(frozen=True, slots=True)
class Ack:
    """Handled: delete it."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Make it visible again.

    Args:
        delay: Seconds until then.
        counted: False gives the attempt back, for deliveries that no handler saw; where the provider's count allows it.
    """

    delay: float = 0.0
    counted: bool = True


@dataclass(frozen=True, slots=True)
class Extend:
    """Keep it invisible.

    Args:
        seconds: The new lease, from now.
    """

    seconds: float


@dataclass(frozen=True, slots=True)
class Dead:
    """Move it to the dead letters.

    Args:
        reason: Why, for whoever reads them.
    """

    reason: str


Action = Ack | Retry | Extend | Dead
ACK: Final = Ack()
RELEASE: Final = Retry(0.0, counted=False)


class Settled(StrEnum):
    """A driver's answer for one settlement; anything else is an exception."""

    DONE = "done"
    LOST = "lost"  #: the lease is over: somebody else has, had or will have the message


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that was given up.

    Args:
        message: The envelope with its original id and body; `attempt` is the number of deliveries.
        reason: Why.
        died_at: When, in UTC.
    """

    message: Message
    reason: str
    died_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStats:
    """Numbers of messages.

    Args:
        ready: Waiting and visible.
        delayed: Waiting for their time; None when the provider cannot say.
        in_flight: Delivered and not settled.
        dead: Dead letters; None when the provider cannot say.
        oldest: Seconds since the oldest ready message became visible; None when there is none or the provider cannot say.
        approximate: True where the provider only estimates.
    """

    ready: int
    delayed: int | None
    in_flight: int
    dead: int | None
    oldest: float | None = None
    approximate: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSpec:
    """What a driver must know about a queue before it is used.

    Args:
        name: The queue's name at the provider.
        topology: ``ensure`` creates what is missing, ``check`` fails when something is, ``none`` does neither.
        dedup_window: Seconds during which a `dedup_key` is remembered, where the provider lets it be chosen.
    """

    name: str
    topology: Literal["ensure", "check", "none"] = "ensure"
    dedup_window: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLimits:
    """What bounds a driver's calls.

    Args:
        batch: The most messages of one `send`, `receive` or `settle`.
        in_flight: How many sends at once are worth while.
        message_bytes: The largest body with its headers; None for no limit.
        batch_bytes: The most bytes of one `send`; None for no limit.
        delay: The longest delay in seconds that the provider keeps by itself; the core goes beyond it in hops. None for no limit.
        lease: The longest lease in seconds; None for no limit.
        purges_delayed: Whether `purge` reaches messages whose delay is not over.
    """

    batch: int
    in_flight: int = 1
    message_bytes: int | None = None
    batch_bytes: int | None = None
    delay: float | None = None
    lease: float | None = None
    purges_delayed: bool = True


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponentially growing delays with jitter.

    Args:
        first: Seconds before the second attempt.
        factor: How much longer each further delay is.
        longest: The most seconds.
        jitter: Up to this share is added at random, so that failures at one moment do not return at one moment.
    """

    first: float = 1.0
    factor: float = 2.0
    longest: float = 300.0
    jitter: float = 0.2

    def __call__(self, attempt: int) -> float:
        """Seconds to wait after attempt number `attempt`, counted from 1."""
        steps = min(max(0, attempt - 1), 64)
        return min(self.longest, self.first * self.factor**steps) * (1.0 + random.random() * self.jitter)  # noqa: S311


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """What `consume` does with a handler that raises.

    Args:
        max_attempts: Deliveries of one message, crashed workers included, before it is poison.
        backoff: ``(attempt) -> seconds`` until the next one.
        fatal: Exceptions that make a message poison at once.
    """

    max_attempts: int = 5
    backoff: Callable[[int], float] = field(default_factory=Backoff)
    fatal: tuple[type[BaseException], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KillSwitch:
    """Pauses a consumer while too much fails: a broken dependency then costs no attempts.

    Args:
        threshold: The share of failed handlers that trips it.
        minimum: How many must have ended since the last pause before the share counts.
        pause: Seconds until consuming goes on.
    """

    threshold: float = 0.5
    minimum: int = 20
    pause: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerOptions:
    """The arguments of `consume`, durations in seconds; see there."""

    concurrency: int
    retry: RetryPolicy
    on_poison: Literal["dead", "discard"]
    until: Literal["empty"] | float | None
    prefetch: int | None
    lease: float
    kill_switch: KillSwitch | None


@dataclass(slots=True)
class ConsumeSummary:
    """What `consume` did until it ended; it counts while it runs.

    Args:
        handled: Deliveries whose handler returned.
        retried: Deliveries whose handler raised and that will come again.
        dead: Messages given up as poison.
        released: Deliveries given back before a handler saw them.
        lost: Deliveries whose lease was lost while they were handled.
    """

    handled: int = 0
    retried: int = 0
    dead: int = 0
    released: int = 0
    lost: int = 0


def later(delay: float | timedelta | None) -> datetime | None:
    """The time that is `delay` from now; None for no delay."""
    if delay is None:
        return None
    span = delay if isinstance(delay, timedelta) else timedelta(seconds=delay)
    return now() + span if span > timedelta(0) else None
