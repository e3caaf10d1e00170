"""Receiving messages with a key: from the shards of a queue, and of each key one at a time.

The broker delivers a shard to one consumer only, in order. What came and is not settled waits here in a line for each key; only the head
of a line is handed out, and its retries happen here as well. A shard is given back whole, by closing its channel: whatever went back alone,
or after its consumer was cancelled, others would overtake.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from infra.errors import ErrorCode
from infra.queue.model import Ack as Acknowledge
from infra.queue.model import Action, Dead, Message, QueueSpec, Receipt, Received, Retry, Settled
from infra_rabbitmq import administration
from infra_rabbitmq.envelope import envelope, redeliveries
from infra_rabbitmq.errors import BrokerError, translate
from infra_rabbitmq.link import Link
from infra_rabbitmq.publisher import Answer, Publisher
from infra_rabbitmq.settling import acknowledge, dead_copy, send_copies
from infra_rabbitmq.waiting import Tenure

#: Unsettled deliveries of a shard. The same for all consumers: a quorum queue puts what comes back behind what came back before, so the
#: next consumer has to take all of it at once, or a second loss would mix it up.
PREFETCH: Final = 32
_COUNTS: Final = 20  # how often to count again while deliveries come
_AGAIN: Final = 0.2  # seconds before subscribing again
_GIVEN_BACK: Final = "the shard was given back"

#: A number, or what prevented counting.
Counted = Callable[[int, BrokerError | None], None]


class Held:
    """A delivery of a shard that is not settled."""

    __slots__ = ("generation", "message", "serial", "settling", "shard", "tag", "tenure", "waiting")

    def __init__(self, shard: Shard, generation: int, tag: int, message: Message) -> None:
        self.shard = shard
        self.tenure = shard.tenure
        self.generation = generation  # of the channel
        self.tag = tag
        self.message = message
        self.serial = 0  # whom it was handed to; 0 while it is with nobody
        self.settling = False
        self.waiting = False  # for the time of its retry


class KeyedToken:
    """That a delivery was handed to this receiver."""

    __slots__ = ("held", "serial")

    def __init__(self, held: Held, serial: int) -> None:
        self.held = held
        self.serial = serial

    @property
    def holds(self) -> bool:
        """Whether it still is this receiver's, and not being settled."""
        held = self.held
        return held.serial == self.serial and held.generation == held.shard.generation and not held.settling


class Shard:
    """One shard: its channel with one consumer, and the lines of its keys."""

    def __init__(self, name: str, shards: Shards, link: Link) -> None:
        self.name = name
        self.channel: Any = None  # there, or being opened
        self.live = False  # the broker has accepted the consumer
        self.tenure = Tenure()
        self.generation = 0
        self.in_hand = 0
        self.leaving = False  # given back as soon as nothing is in hand
        self._shards = shards
        self._link = link
        self._outstanding: dict[int, Held] = {}  # by delivery tag, in order
        self._lines: dict[str, deque[Held]] = {}
        self._waiting = 0
        self._questions: list[Callable[[Any], None]] = []  # that the broker has not answered

    @property
    def full(self) -> bool:
        """Whether the broker will bring no more for now."""
        return len(self._outstanding) >= PREFETCH

    # The channel

    def want(self) -> None:
        """Take part in consuming."""
        self.leaving = False
        connection: Any = self._link.connection
        if self.channel is None and connection is not None and connection.is_open:
            self.channel = _uncancelled(connection.channel(on_open_callback=self._on_open))
            self.channel.add_on_close_callback(self._on_closed)

    def leave(self) -> None:
        """Give everything back, when nothing is in hand."""
        if self.in_hand:
            self.leaving = True
        else:
            self.close()

    def close(self) -> None:
        """Give everything back; nobody can settle what is in hand."""
        channel = self.channel
        self.reset(_GIVEN_BACK)
        if channel is not None and channel.is_open:
            channel.close()

    def reset(self, why: str) -> None:
        """The channel is gone, and every lease with it."""
        self.tenure.over, self.tenure = why, Tenure()
        self.channel = None
        self.live = self.leaving = False
        self.generation += 1
        self._shards.forget(self)
        self.in_hand = self._waiting = 0
        self._outstanding.clear()
        self._lines.clear()
        questions, self._questions = self._questions, []
        for unanswered in questions:
            unanswered(None)

    def _on_open(self, channel: Any) -> None:
        if channel is not self.channel:  # nobody wants it any more
            channel.close()
            return

        def accepted(_: object) -> None:
            self.live = channel is self.channel

        channel.add_on_cancel_callback(self._on_cancelled)
        channel.basic_qos(prefetch_count=PREFETCH)
        channel.basic_consume(self.name, self._on_delivery, callback=accepted)

    def _on_cancelled(self, _frame: Any) -> None:
        """The queue was deleted, or has moved."""
        self._shards.tell("the broker has ended the consumer of %s: the queue was deleted, or has moved", self.name)
        self.close()
        self._shards.lost(missing=True)

    def _on_closed(self, channel: Any, reason: Exception) -> None:
        if channel is self.channel:
            error = translate(reason)
            if self._link.connection is not None:
                self._shards.tell("the broker has closed the channel of %s: %s", self.name, error)
            self.reset(str(error))
            self._shards.lost(missing=error.code is ErrorCode.NOT_FOUND)

    # Deliveries

    def _on_delivery(self, channel: Any, method: Any, found: Any, body: bytes) -> None:
        if channel is not self.channel:
            return
        message = envelope(found, body, 1)
        line = self._lines.setdefault(message.key or "", deque())
        if line:
            # Whenever it came before, the same one was before it: nobody has had it yet.
            message = replace(message, attempt=message.attempt - redeliveries(found))
        elif method.redelivered and self._shards.classic:
            message = replace(message, attempt=message.attempt + 1)  # such a queue counts no further
        held = Held(self, self.generation, method.delivery_tag, message)
        self._outstanding[held.tag] = held
        line.append(held)
        if len(line) == 1:
            self._shards.turn(held)

    def hand_out(self, held: Held, serial: int) -> Received:
        """Give it to somebody."""
        held.serial = serial
        self.in_hand += 1
        self.leaving = False
        return Received(held.message, KeyedToken(held, serial))

    def take_back(self, held: Held, delay: float, *, counted: bool) -> None:
        """It stays the head of its line, and is handed out again after `delay` seconds."""
        held.serial = 0
        if counted:
            held.message = replace(held.message, attempt=held.message.attempt + 1)
        self._dropped(1)
        if held.generation != self.generation:
            return  # it was the last one, and the shard is given back
        if delay > 0:
            held.waiting = True
            self._waiting += 1
            self._link.later(delay, lambda: self._due(held))
        else:
            self._shards.turn(held)

    def settled(self, line: Sequence[Held]) -> None:
        """Acknowledge what was in hand; those behind have their turn."""
        line = [held for held in line if held.generation == self.generation]
        self._acknowledge(line)
        for held in line:
            held.serial = -1
            keyed = self._lines[held.message.key or ""]
            keyed.popleft()
            if keyed:
                self._shards.turn(keyed[0])
            else:
                del self._lines[held.message.key or ""]
        self._dropped(len(line))

    def _due(self, held: Held) -> None:
        if held.waiting and held.generation == self.generation:
            held.waiting = False
            self._waiting -= 1
            self._shards.turn(held)

    def _dropped(self, count: int) -> None:
        self.in_hand -= count
        self._shards.in_hand -= count
        if self.leaving and not self.in_hand:
            self.close()

    def _acknowledge(self, line: Sequence[Held]) -> None:
        if line and self.channel is not None and self.channel.is_open:
            acknowledge(self.channel, self._outstanding, [held.tag for held in line])
        for held in line:
            del self._outstanding[held.tag]

    # Looking after it

    def count(self, done: Counted, tries: int = _COUNTS) -> None:
        """How many messages nobody holds, those on their way to us included."""
        if not self.live or not self.channel.is_open:
            self._link.perform(administration.ready(self.name), lambda count, error: done(count or 0, error))
            return
        before = len(self._outstanding)

        def looked(ready: int | None) -> None:
            if ready is None or (tries and len(self._outstanding) > before):
                self.count(done, tries - 1)
            else:
                done(ready + len(self._outstanding) - self.in_hand - self._waiting, None)

        self._look(looked)

    def look(self, done: Counted) -> None:
        """How many messages are ready at the broker."""
        self._look(lambda ready: done(ready or 0, None))

    def _look(self, done: Callable[[int | None], None]) -> None:
        channel = self.channel

        def counted(frame: Any) -> None:
            if frame is None or not channel.is_open:
                done(None)
                return
            ready: int = frame.method.message_count
            # A second answer of the broker comes after the deliveries that the first left out.
            self._ask(
                lambda answer: channel.basic_qos(prefetch_count=PREFETCH, callback=answer),
                lambda answer: done(None if answer is None else ready),
            )

        self._ask(lambda answer: channel.queue_declare(self.name, passive=True, callback=answer), counted)

    def _ask(self, question: Callable[[Callable[[Any], None]], object], done: Callable[[Any], None]) -> None:
        """Ask on the channel; the answer is None when it is lost before."""
        self._questions.append(done)

        def answered(answer: Any) -> None:
            if done in self._questions:
                self._questions.remove(done)
                done(answer)

        question(answered)

    def purge(self, done: Counted) -> None:
        """Delete what nobody holds."""
        if not self.live or not self.channel.is_open:
            self._link.perform(administration.purge(self.name), lambda count, error: done(count or 0, error))
            return

        channel = self.channel

        def purged(frame: Any) -> None:
            if frame is None:
                self.purge(done)
                return
            nobodys = [held for held in self._outstanding.values() if not held.serial]
            self._acknowledge(nobodys)
            self._shards.forget(self, in_hand=False)
            self._lines = {key: deque([line[0]]) for key, line in self._lines.items() if line[0].serial}
            self._waiting = 0
            for held in nobodys:
                held.waiting = False
            done(int(frame.method.message_count) + len(nobodys), None)

        self._ask(lambda answer: channel.queue_purge(self.name, callback=answer), purged)


class Shards:
    """All shards of a queue. All but `in_hand` is used in the link's thread only.

    Args:
        spec: The queue.
        link: The connection for consuming.
        publisher: Where dead letters go; its layout says how many shards there are.
        ready: Called when there is something to hand out.
        lost: Called when a shard has to be subscribed to again; with True when it has to be declared first.
        tell: Logs a warning.
    """

    def __init__(
        self,
        spec: QueueSpec,
        link: Link,
        publisher: Publisher,
        ready: Callable[[], None],
        lost: Callable[[bool], None],
        tell: Callable[..., None],
    ) -> None:
        self.in_hand = 0
        self.classic = publisher.layout.queue_type == "classic"
        self.ready: deque[Held] = deque()  # those whose turn it is
        self.tell = tell
        self._spec = spec
        self._link = link
        self._publisher = publisher
        self._on_ready = ready
        self._on_lost = lost
        self._serials = itertools.count(1)
        self._all = [Shard(name, self, link) for name in publisher.layout.shards_of(spec.name)]

    def __len__(self) -> int:
        return len(self._all)

    @property
    def live(self) -> bool:
        """Whether the broker has accepted all consumers."""
        return all(shard.live for shard in self._all)

    @property
    def held_here(self) -> bool:
        """Whether there is something to give back."""
        return any(shard.channel is not None for shard in self._all)

    def want(self) -> None:
        """Subscribe to all of them."""
        for shard in self._all:
            shard.want()

    def leave(self) -> None:
        """Give back what nobody asked for; a shard whose handlers run, when they have ended."""
        for shard in self._all:
            shard.leave()

    def close(self) -> None:
        """Give back everything."""
        for shard in self._all:
            shard.close()

    def down(self, why: str) -> None:
        """The connection is lost."""
        for shard in self._all:
            shard.reset(why)

    # For receivers

    def take(self, most: int) -> list[Received]:
        """Up to `most` deliveries whose turn it is, handed out."""
        taken: list[Received] = []
        while self.ready and len(taken) < most:
            held = self.ready.popleft()
            self.in_hand += 1
            taken.append(held.shard.hand_out(held, next(self._serials)))
        return taken

    def give_back(self, token: KeyedToken) -> None:
        """It reached nobody."""
        if token.holds:
            token.held.shard.take_back(token.held, 0.0, counted=False)

    def settle(
        self, batch: Sequence[tuple[int, KeyedToken, Action]], answers: list[Settled | BaseException], done: Callable[[], None]
    ) -> None:
        """Settle deliveries, each with its place among `answers`; those that nobody holds any more are left as they are."""
        acks: dict[Shard, list[Held]] = {}
        dead: list[tuple[int, Held, str]] = []
        for place, token, action in batch:
            held = token.held
            if not token.holds:
                continue
            answers[place] = Settled.DONE
            if isinstance(action, Acknowledge):
                held.settling = True
                acks.setdefault(held.shard, []).append(held)
            elif isinstance(action, Dead):
                held.settling = True
                dead.append((place, held, action.reason))
            elif isinstance(action, Retry):
                held.shard.take_back(held, action.delay, counted=action.counted)
        for shard, line in acks.items():
            shard.settled(line)
        if not dead:
            done()
            return

        def copied(outcomes: list[Answer]) -> None:
            for (place, held, _), outcome in zip(dead, outcomes, strict=True):
                held.settling = False
                if isinstance(outcome, Receipt):
                    held.shard.settled([held])
                else:
                    answers[place] = outcome.error
            done()

        layout = self._publisher.layout
        send_copies(self._publisher, self._link, [dead_copy(self._spec, layout, held.message, reason) for _, held, reason in dead], copied)

    # What a shard tells

    def turn(self, held: Held) -> None:
        """It may be handed out."""
        self.ready.append(held)
        self._on_ready()

    def forget(self, shard: Shard, *, in_hand: bool = True) -> None:
        """What waits of a shard is gone, and what is in hand as well unless not said so."""
        self.ready = deque(held for held in self.ready if held.shard is not shard)
        if in_hand:
            self.in_hand -= shard.in_hand

    def lost(self, *, missing: bool) -> None:
        """A shard has lost its channel."""
        if self._link.connection is not None:
            self._link.later(_AGAIN, lambda: self._on_lost(missing))

    # Looking after them

    def count(self, done: Counted) -> None:
        """How many messages nobody holds."""
        _sum([shard.count for shard in self._all], done)

    def look(self, done: Counted) -> None:
        """How many messages are ready at the broker that it may bring us."""
        _sum([shard.look for shard in self._all if shard.live and shard.channel.is_open and not shard.full], done)

    def purge(self, done: Counted) -> None:
        """Delete what nobody holds."""
        _sum([shard.purge for shard in self._all], done)


def _uncancelled(channel: Any) -> Any:
    """Close it without cancelling its consumer first, as pika does, also when its connection is closed.

    The broker would give another consumer what comes next before what is held here is back.
    """
    close = channel.close

    def close_at_once(*arguments: Any) -> None:
        channel._consumers.clear()
        close(*arguments)

    channel.close = close_at_once
    return channel


def _sum(questions: Sequence[Callable[[Counted], None]], done: Counted) -> None:
    """Ask all at once; `done` gets the sum."""
    left, total = len(questions), 0
    failure: BrokerError | None = None

    def answered(count: int, error: BrokerError | None) -> None:
        nonlocal left, total, failure
        left -= 1
        total += count
        failure = failure or error
        if not left:
            done(total, failure)

    if not questions:
        done(0, None)
    for ask in questions:
        ask(answered)
