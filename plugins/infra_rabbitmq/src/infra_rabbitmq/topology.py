"""Queues, dead-letter queues and the ladder of delays.

For a queue ``jobs`` there are the exchange ``infra.dead`` and the queue ``jobs.dead``: whatever the broker itself gives up goes there,
and what a handler gives up too. The ladder serves all queues of a virtual host. A delayed message carries its delay as binary digits in
the routing key; each rung holds it for its time when its digit is 1, and passes it on when it is 0. So every queue of the ladder has one
time to live for all its messages, and none waits behind another's longer delay.

A rung keeps what nobody takes, and soon holds up all that is behind. So the ladder leads to queues of ours, which take everything: to
``jobs.due``, which passes on to ``jobs`` and may wait for it alone, when ``jobs`` is deleted, full or without a leader; and where there is
no such queue, to ``infra.undelivered``.

Messages with a key are in shards, ``jobs.shard-0`` and so on, each of which the broker delivers to one consumer at a time.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Final

from pika.channel import Channel

from infra.errors import ErrorCode
from infra.queue.model import QueueSpec
from infra_rabbitmq.errors import BrokerError
from infra_rabbitmq.link import Step

DEAD_EXCHANGE: Final = "infra.dead"
RUNGS: Final = 20
UNIT: Final = 0.1  # seconds that the lowest rung holds a message
LONGEST: Final = UNIT * (2**RUNGS - 1)
_LADDER: Final = "infra.delay"
_ARRIVED: Final = "infra.delay.arrived"
_LANDING: Final = "infra.delay.landing"
#: The queue of delayed messages that have no queue to go to, and the exchange that leads there.
UNDELIVERED: Final = "infra.undelivered"
_READY: Final = "infra.delay.ready"  # made last: where it is, the ladder is whole
_LONGEST_NAME: Final = 200  # bytes; the routing key, of 255 bytes, also holds the digits
_UNLIMITED: Final = 2**31 - 1

_SAFE: Final[dict[str, Any]] = {"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}


def dead_queue(queue: str) -> str:
    """Where the dead letters of `queue` are."""
    return f"{queue}.dead"


def due_queue(queue: str) -> str:
    """Where delayed messages of `queue` are whose time has come, until it takes them."""
    return f"{queue}.due"


@dataclass(frozen=True, slots=True)
class Layout:
    """What is made for each queue.

    Args:
        queue_type: ``quorum`` or ``classic``.
        shards: The number of shards.
    """

    queue_type: str
    shards: int = 0

    def shards_of(self, queue: str) -> list[str]:
        """The names of the shards of `queue`."""
        return [_shard(queue, number) for number in range(self.shards)]

    def place(self, queue: str, key: str | None) -> str:
        """Where a message with `key` goes: always the same shard as long as there are as many, in whatever process."""
        if key is None or not self.shards:
            return queue
        return _shard(queue, zlib.crc32(key.encode("utf-8", "surrogatepass")) % self.shards)


def _shard(queue: str, number: int) -> str:
    return f"{queue}.shard-{number}"


def no_shards_beyond(queue: str, shards: int) -> Callable[[Channel], Generator[Step, Any, None]]:
    """Fails, as is right, with NOT_FOUND; what is in a shard that nobody consumes would wait for ever."""

    def steps(channel: Channel) -> Generator[Step, Any, None]:
        name = _shard(queue, shards)
        yield lambda done: channel.queue_declare(name, passive=True, callback=done)
        raise BrokerError(
            f"there is a queue '{name}', which `shards = {shards}` would leave alone",
            ErrorCode.CONFIGURATION,
            settings=("shards",),
            remedy="set `shards` as it was, or empty and delete the shards beyond",
        )

    return steps


def declare(spec: QueueSpec, layout: Layout) -> Callable[[Channel], Generator[Step, Any, None]]:
    """Make sure of a queue and its shards, in the way that its specification says."""
    queue_type = layout.queue_type

    def steps(channel: Channel) -> Generator[Step, Any, None]:
        name = spec.name
        if len(name.encode()) > _LONGEST_NAME:
            why = f"a queue's name may have {_LONGEST_NAME} bytes"
            raise BrokerError(why, ErrorCode.INVALID_ARGUMENT, remedy="choose a shorter name in `queue`")
        if spec.topology == "none":
            return
        if spec.topology == "check":
            for one in [name, *layout.shards_of(name)]:
                yield lambda done, one=one: channel.queue_declare(one, passive=True, callback=done)
            return
        arguments: dict[str, Any] = {
            "x-queue-type": queue_type,
            "x-dead-letter-exchange": DEAD_EXCHANGE,
            "x-dead-letter-routing-key": name,
        }
        if queue_type == "quorum":
            arguments |= _SAFE
        yield from _dead(channel, name, layout)
        yield lambda done: channel.queue_declare(name, durable=True, arguments=arguments, callback=done)
        ordered = arguments | {"x-single-active-consumer": True}
        if queue_type == "quorum":
            ordered["x-delivery-limit"] = _UNLIMITED  # what waits behind others comes again with them, untouched
        for shard in layout.shards_of(name):
            yield lambda done, shard=shard: channel.queue_declare(shard, durable=True, arguments=ordered, callback=done)

    return steps


def dead(queue: str, layout: Layout) -> Callable[[Channel], Generator[Step, Any, None]]:
    """Make the place of the dead letters of `queue`."""
    return lambda channel: _dead(channel, queue, layout)


def _dead(channel: Channel, queue: str, layout: Layout) -> Generator[Step, Any, None]:
    arguments: dict[str, Any] = {"x-queue-type": layout.queue_type}
    if layout.queue_type == "quorum":
        arguments["x-delivery-limit"] = _UNLIMITED  # looking at dead letters counts as delivering them
    yield lambda done: channel.exchange_declare(DEAD_EXCHANGE, "direct", durable=True, callback=done)
    yield lambda done: channel.queue_declare(dead_queue(queue), durable=True, arguments=arguments, callback=done)
    yield lambda done: channel.queue_bind(dead_queue(queue), DEAD_EXCHANGE, queue, callback=done)


def ladder(channel: Channel) -> Generator[Step, Any, None]:
    """Make the ladder."""
    yield lambda done: channel.exchange_declare(_ARRIVED, "topic", durable=True, callback=done)
    for rung in range(RUNGS):
        name, below, before = _exchange(rung), _exchange(rung - 1), "*." * (RUNGS - 1 - rung)
        arguments = {"x-queue-type": "quorum", "x-message-ttl": round(UNIT * 1000) * 2**rung, "x-dead-letter-exchange": below, **_SAFE}
        yield from _rung(channel, name, below, before, arguments)
    yield lambda done: channel.exchange_declare(_READY, "direct", durable=True, callback=done)


def _rung(channel: Channel, name: str, below: str, before: str, arguments: dict[str, Any]) -> Generator[Step, Any, None]:
    yield lambda done: channel.exchange_declare(name, "topic", durable=True, callback=done)
    yield lambda done: channel.queue_declare(name, durable=True, arguments=arguments, callback=done)
    yield lambda done: channel.queue_bind(name, name, f"{before}1.#", callback=done)
    yield lambda done: channel.exchange_bind(below, name, f"{before}0.#", callback=done)


def ladder_is_there(channel: Channel) -> Generator[Step, Any, None]:
    """Fails when there is no ladder."""
    yield lambda done: channel.exchange_declare(_READY, passive=True, callback=done)


def lead_to(queue: str) -> Callable[[Channel], Generator[Step, Any, None]]:
    """Lead from the end of the ladder to `queue`, whether it is there or not."""

    def steps(channel: Channel) -> Generator[Step, Any, None]:
        lost: dict[str, Any] = {"x-queue-type": "quorum", "x-delivery-limit": _UNLIMITED}
        yield lambda done: channel.exchange_declare(UNDELIVERED, "fanout", durable=True, callback=done)
        yield lambda done: channel.queue_declare(UNDELIVERED, durable=True, arguments=lost, callback=done)
        yield lambda done: channel.queue_bind(UNDELIVERED, UNDELIVERED, "", callback=done)
        other = {"alternate-exchange": UNDELIVERED}
        yield lambda done: channel.exchange_declare(_LANDING, "topic", durable=True, arguments=other, callback=done)
        yield lambda done: channel.exchange_declare(_ARRIVED, "topic", durable=True, callback=done)
        name = due_queue(queue)
        arguments = {
            "x-queue-type": "quorum",
            "x-message-ttl": 0,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": queue,
            **_SAFE,
        }
        yield lambda done: channel.queue_declare(name, durable=True, arguments=arguments, callback=done)
        yield lambda done: channel.queue_bind(name, _LANDING, "*." * RUNGS + _word(queue), callback=done)
        yield lambda done: channel.exchange_bind(_LANDING, _ARRIVED, "#", callback=done)

    return steps


def leads_to(queue: str) -> Callable[[Channel], Generator[Step, Any, None]]:
    """Fails when nothing leads from the ladder to `queue`."""

    def steps(channel: Channel) -> Generator[Step, Any, None]:
        yield lambda done: channel.queue_declare(due_queue(queue), passive=True, callback=done)

    return steps


def rungs() -> list[str]:
    """The queues that hold delayed messages, those of the longest delays first: what leaves one comes to one behind it."""
    return [_exchange(rung) for rung in reversed(range(RUNGS))]


def is_for(queue: str, routing_key: str) -> bool:
    """Whether what is in the ladder with `routing_key` goes to `queue`."""
    return routing_key[2 * RUNGS :] == _word(queue)


def route(queue: str, delay: float) -> tuple[str, str]:
    """Exchange and routing key for a message to `queue` after `delay` seconds, `LONGEST` at most."""
    units = math.ceil(min(delay, LONGEST) / UNIT - 1e-9)
    if units <= 0:
        return "", queue
    return _exchange(units.bit_length() - 1), f"{'.'.join(f'{units:0{RUNGS}b}')}.{_word(queue)}"


def _exchange(rung: int) -> str:
    return _ARRIVED if rung < 0 else f"{_LADDER}.{rung}"


def _word(queue: str) -> str:
    """A queue's name in a pattern, where * and # would stand for others."""
    return queue.replace("%", "%25").replace("*", "%2A").replace("#", "%23")
