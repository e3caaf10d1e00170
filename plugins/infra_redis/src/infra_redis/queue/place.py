"""One queue of a driver: its keys, and what was sent or claimed without an answer."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Sequence
from typing import Final, NamedTuple

from infra.queue.model import Ack, Action, Dead, Durability, Extend, Message, QueueSpec, Receipt, Retry
from infra_redis.queue.envelope import about
from infra_redis.queue.scripts import PARTS

#: The most messages of unknown fate that are remembered; beyond, the oldest may come twice when they are published again.
_MOST_UNKNOWN: Final = 10_000


class Token(NamedTuple):
    """What settles a delivery.

    Args:
        entry: The stream's entry.
        delivery: The group's count of its deliveries.
        key: The ordering key.
    """

    entry: bytes
    delivery: int
    key: str | None


class Lane:
    """One batch, or claim, after the other; the server remembers up to which number they came.

    Args:
        key: Where the server remembers.
    """

    __slots__ = ("key", "number")

    def __init__(self, key: str) -> None:
        self.key = key
        self.number = 0


class Batch(NamedTuple):
    """A batch or a claim that may or may not have come.

    Args:
        lane: Where the server remembers it.
        number: Its number.
    """

    lane: str
    number: int


class Place:
    """A queue's keys. They share a hash tag, so in a cluster they are on one server.

    Args:
        spec: The queue.
        sender: The driver's name, unique.
    """

    def __init__(self, spec: QueueSpec, sender: str) -> None:
        prefix = f"infra:{{{spec.name}}}:"
        self.spec = spec
        self.keys = tuple(prefix + part for part in PARTS)
        self.messages, self.wake, self.dead = prefix + "messages", prefix + "wake", prefix + "dead"
        self.window_ms = max(1, round(spec.dedup_window * 1000))
        self.unknown: dict[str, tuple[Batch, int]] = {}  # id of a message -> its batch, and its place in it
        self.claims: set[Batch] = set()  # without an answer
        self._lock = threading.Lock()
        self._lanes: list[Lane] = []
        self._numbers = itertools.count(1)
        self._sender = f"{prefix}sent:{sender}:"
        self._seen = prefix + "seen:"

    def lane(self) -> Lane:
        """A lane that nobody uses."""
        try:
            lane = self._lanes.pop()
        except IndexError:
            lane = Lane(f"{self._sender}{next(self._numbers)}")
        lane.number += 1
        return lane

    def free(self, lane: Lane) -> None:
        """The answer to the lane's batch is known. Without one, it is never used again."""
        self._lanes.append(lane)

    def sending(self, batch: Sequence[Message], lane: Lane) -> tuple[tuple[str, ...], list[str | int | bytes], list[Message | Exception]]:
        """Keys and arguments of `scripts.SEND`; and the messages that are sent, or why they cannot be."""
        keys = [*self.keys, lane.key]
        arguments: list[str | int | bytes] = [lane.number, self.window_ms]
        sent: list[Message | Exception] = []
        for message in batch:
            try:
                due = "" if message.deliver_at is None else math.ceil(message.deliver_at.timestamp() * 1000)
                key = b"" if message.key is None else b"=" + message.key.encode()
                parts = (message.id.encode(), message.body, about(message).encode())
                dedup = None if message.dedup_key is None else self._seen + message.dedup_key
                if dedup is not None:
                    dedup.encode()
            except (ValueError, TypeError, OverflowError) as error:  # text that is none, above all
                sent.append(error)
                continue
            number = 0
            if dedup is not None:
                keys.append(dedup)
                number = len(keys) - len(self.keys) - 1
            arguments += (due, key, number, *parts)
            sent.append(message)
        return tuple(keys), arguments, sent

    def forget(self, ids: Sequence[str]) -> None:
        """Their fate is known."""
        with self._lock:
            for one in ids:
                self.unknown.pop(one, None)

    def remember(self, messages: Sequence[Message], batch: Batch) -> None:
        """Whether they came, in this order, is not known."""
        with self._lock:
            for place, message in enumerate(messages):
                self.unknown[message.id] = batch, place
            while len(self.unknown) > _MOST_UNKNOWN:
                del self.unknown[next(iter(self.unknown))]


def receipts(messages: Sequence[Message], doubles: Sequence[int], durability: Durability) -> list[Receipt]:
    """A receipt for each message; `doubles` are the numbers of those for which an earlier one stands."""
    if not doubles:
        return [Receipt(message.id, durability) for message in messages]
    known = set(doubles)
    return [Receipt(message.id, durability, number in known) for number, message in enumerate(messages)]


def settling(receiver: str, batch: Sequence[tuple[object, Action]]) -> list[str | int | bytes]:
    """The arguments of `scripts.SETTLE`."""
    arguments: list[str | int | bytes] = [receiver]
    for token, action in batch:
        assert isinstance(token, Token)
        arguments += (token.entry, token.delivery, "" if token.key is None else b"=" + token.key.encode())
        if isinstance(action, Ack):
            arguments += ("ack", "")
        elif isinstance(action, Extend):
            arguments += ("extend", math.ceil(action.seconds * 1000))
        elif isinstance(action, Retry):
            arguments += ("retry" if action.counted else "release", math.ceil(action.delay * 1000))
        else:
            assert isinstance(action, Dead)
            arguments += ("dead", action.reason.encode(errors="replace"))
    return arguments
