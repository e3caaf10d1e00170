"""Receiving from one queue: a consumer with as much credit as is asked for, and the deliveries that are not settled."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Final

from pika.exceptions import ChannelClosedByClient

from infra.errors import ErrorCode
from infra.queue.model import (
    RELEASE,
    QueueSpec,
    Received,
    Retry,
)
from infra_rabbitmq import topology
from infra_rabbitmq.deliveries import Deliveries
from infra_rabbitmq.envelope import abandoned, envelope
from infra_rabbitmq.errors import BrokerError, closed, translate
from infra_rabbitmq.link import Link, settle_future, settle_sum
from infra_rabbitmq.publisher import Publisher
from infra_rabbitmq.shards import KeyedToken, Shards
from infra_rabbitmq.waiting import Tenure, Token, Waiter

_LINGER: Final = 2.0  # seconds without a receive until the broker may give to others what was not asked for
_SHORTEST_WAIT: Final = 0.1  # the way of a message from the broker
_PATIENCE: Final = 0.05  # seconds between looks at a queue that holds messages, while none comes
_LOOKS: Final = 40
_SHRINK_AFTER: Final = 5.0  # seconds with a quarter of the credit in use
_COUNTS: Final = 20  # how often to count again while deliveries come
_MOST_CREDIT: Final = 65535
_AGAIN: Final = 0.2  # seconds before subscribing again
_SILENCE: Final = 3.0  # seconds without a delivery after which an empty wait ends with a new channel


class Subscription(Deliveries):
    """One queue's consumer, and those of its shards. All but `held` is used in the link's thread only.

    Args:
        spec: The queue.
        link: The connection for consuming.
        publisher: Where copies go.
        tell: Logs a warning.
    """

    def __init__(self, spec: QueueSpec, link: Link, publisher: Publisher, tell: Callable[..., None]) -> None:
        super().__init__(spec, link, publisher, Shards(spec, link, publisher, self._serve_soon, self._resubscribe, tell))
        self._tell = tell
        self._fresh = 0.0  # when the channel was made, or last brought something
        self._keyed_first = 0
        self._busy = False  # something that `_want` began is under way
        self._declared = False
        self._consumer: str | None = None
        self._live = False  # the broker has accepted the consumer
        self._credit = 0
        self._low_since: float | None = None
        self._buffer: deque[Received] = deque()
        self._waiters: deque[Waiter] = deque()
        self._serving = False
        self._last = 0.0
        self._lingering = False

    @property
    def held(self) -> int:
        """Deliveries in the hands of receivers."""
        return max(0, len(self._outstanding) - len(self._buffer)) + self._shards.in_hand

    # Receiving

    def receive(self, most: int, wait: float, future: Future[list[Received]]) -> None:
        """Answer `future` with up to `most` deliveries, or with none after `wait` seconds."""
        span = max(wait, _SHORTEST_WAIT)
        waiter = Waiter(most, time.monotonic() + span, future)
        self._waiters.append(waiter)
        self._serve()
        if waiter in self._waiters:
            waiter.timer = self._link.later(span, lambda: self._expired(waiter))
            self._want()

    def interrupt(self) -> None:
        """Answer all who wait, and give back what nobody asked for."""
        while self._waiters:
            self._answer(self._waiters.popleft(), [], None)
        self._pause()
        self._shards.leave()

    def end(self, done: Callable[[], None]) -> None:
        """The connection is about to be closed, when what was given back is safe."""
        self.interrupt()
        self._shards.close()
        self._flushed.append(done)
        self._ended(None)

    def give_back(self, received: Sequence[Received]) -> None:
        """Take back deliveries that reached nobody; the next receive gets them."""
        self._restore(received)
        self._last = time.monotonic()
        self._serve()
        self._linger()

    def _restore(self, received: Sequence[Received]) -> None:
        mine = [one for one in received if isinstance(one.token, Token) and one.token.generation == self._generation]
        self._buffer.extendleft(reversed(mine))
        for one in received:
            if isinstance(one.token, KeyedToken):
                self._shards.give_back(one.token)

    def _answer(self, waiter: Waiter, received: list[Received], error: BrokerError | None) -> bool:
        if waiter.timer is not None:
            self._link.forget(waiter.timer)
            waiter.timer = None
        return settle_future(waiter.future, received, error)

    def _serve(self) -> None:
        self._serving = False
        waiters, buffer = self._waiters, self._buffer
        while waiters and (buffer or self._shards.ready):
            waiter = waiters.popleft()
            if waiter.future.cancelled():
                self._answer(waiter, [], None)
                continue
            given = self._take_both(waiter.most) if self._shards.ready else self._take(waiter.most)
            if not self._answer(waiter, given, None):
                self._restore(given)
        self._last = time.monotonic()
        if not waiters:
            self._linger()

    def _take(self, most: int) -> list[Received]:
        return [self._buffer.popleft() for _ in range(min(most, len(self._buffer)))]

    def _take_both(self, most: int) -> list[Received]:
        """Half with keys and half without, as far as there are both; an odd one by turns."""
        self._keyed_first ^= 1
        given = self._shards.take((most + self._keyed_first) // 2)
        given += self._take(most - len(given))
        return given + self._shards.take(most - len(given))

    def _serve_soon(self) -> None:
        """After whatever else has arrived with it."""
        if self._waiters and not self._serving:
            self._serving = True
            self._link.later(0, self._serve)

    def _expired(self, waiter: Waiter) -> None:
        """The wait is over. A queue that holds messages is given a moment: with no wait at all, they are still on their way."""
        waiter.timer = None
        if waiter not in self._waiters:
            return
        if self._link.connection is None and (self._link.opened.done() or waiter.looks >= _LOOKS):
            self._drop(waiter, self._link.error)
        elif waiter.looks >= _LOOKS or waiter.future.cancelled():
            if not self._live:
                self._link.doubt()
            self._drop(waiter, None)
        elif (
            not self._live or self._channel is None or not self._shards.live
        ):  # among it the first connection, which a first receive asks for
            self._look_later(waiter)
        else:
            channel = self._channel

            def counted(frame: Any) -> None:
                ready: int = frame.method.message_count
                # A second answer of the broker comes after the deliveries that the first left out.
                channel.basic_qos(prefetch_count=self._credit, callback=_dropping(lambda: looked(ready)))

            def looked(ready: int) -> None:
                if self._buffer or self._shards.ready:
                    self._serve()
                if ready or waiter not in self._waiters:
                    decide(ready, None)
                else:
                    self._shards.look(decide)

            def decide(ready: int, _: object) -> None:
                if waiter in self._waiters and ready:
                    self._look_later(waiter)
                else:
                    self._drop(waiter, None)
                    self._renew()

            def unanswered() -> None:
                self._link.doubt()
                self._drop(waiter, None)

            waiter.timer = self._link.later(_PATIENCE * _LOOKS, unanswered)
            channel.queue_declare(self.spec.name, passive=True, callback=counted)

    def _look_later(self, waiter: Waiter) -> None:
        waiter.looks += 1
        if waiter.timer is not None:
            self._link.forget(waiter.timer)
        waiter.timer = self._link.later(_PATIENCE, lambda: self._expired(waiter))

    def _drop(self, waiter: Waiter, error: BrokerError | None) -> None:
        if waiter in self._waiters:
            self._waiters.remove(waiter)
            self._answer(waiter, [], error)
            self._last = time.monotonic()
            self._linger()

    # Subscribing

    def _want(self) -> None:
        """Take the next step towards a consumer with the credit that the waiters ask for."""
        connection = self._link.connection
        if not self._waiters or self._busy or connection is None:
            return
        if not self._declared:
            self._busy = True
            self._link.perform(topology.declare(self.spec, self._publisher.layout), self._on_declared)
            return
        self._shards.want()
        if self._channel is None:
            self._busy = True
            channel: Any = connection.channel(on_open_callback=self._on_channel)
            channel.add_on_close_callback(self._on_channel_closed)
            return
        asked = sum(waiter.most for waiter in self._waiters if not waiter.future.cancelled())
        demand = self._in_use - len(self._buffer) + asked
        if not asked:
            return
        if self._consumer is None:
            self._subscribe(asked)
        elif self._in_use < self._credit:
            # What is on its way to a consumer that ends, a quorum queue takes back and counts as delivered: another credit waits
            # until this one is used up. While it is not, there is nothing more to get.
            return
        elif demand > self._credit:
            self._unsubscribe()
            self._subscribe(max(asked, 2 * self._credit))
        elif self._oversized(demand):
            self._unsubscribe()
            self._subscribe(asked)

    def _oversized(self, demand: int) -> bool:
        """Whether the credit has been far too large for a while."""
        if demand * 4 > self._credit:
            self._low_since = None
            return False
        if self._low_since is None:
            self._low_since = time.monotonic()
        return time.monotonic() - self._low_since > _SHRINK_AFTER

    def _subscribe(self, credit: int) -> None:
        self._credit = min(credit, _MOST_CREDIT)
        self._fresh = time.monotonic()
        self._in_use = 0
        self._low_since = None
        epoch = self._epoch

        def accepted(_: Any) -> None:
            if epoch == self._epoch:
                self._live = True

        channel = self._channel
        channel.basic_qos(prefetch_count=self._credit)
        self._consumer = channel.basic_consume(self.spec.name, self._on_delivery, callback=accepted)

    def _renew(self) -> None:
        """Take a new channel after a silence: one whose queue was deleted and made anew may be left without word or message."""
        if self._outstanding or self._busy or not self._live or time.monotonic() - self._fresh < _SILENCE:
            return
        channel, self._busy = self._channel, True

        def cancelled() -> None:
            if channel is self._channel:
                self._busy = False
                if not self._outstanding and channel.is_open:
                    self._reset("it was replaced")
                    self._declared = True
                    channel.close()
                self._want()

        self._unsubscribe(cancelled)

    def _unsubscribe(self, done: Callable[[], None] | None = None) -> None:
        consumer, self._consumer = self._consumer, None
        self._live = False
        self._epoch += 1
        self._in_use = 0
        if consumer is not None and self._channel is not None and self._channel.is_open:
            # Until the broker answers, what still comes is ours; pika would refuse it, which counts as a delivery.
            self._channel.basic_cancel(consumer, callback=_dropping(done or _nothing))
            self._channel._cancelled.discard(consumer)
        elif done is not None:
            done()

    def _linger(self) -> None:
        """End the consumer when nobody receives for a while."""
        if (self._consumer is not None or self._buffer or self._shards.held_here) and not self._lingering:
            self._lingering = True
            self._link.later(_LINGER, self._lingered)

    def _lingered(self) -> None:
        self._lingering = False
        if self._waiters:
            return
        left = self._last + _LINGER - time.monotonic()
        if left > 0:
            self._lingering = True
            self._link.later(left, self._lingered)
            return
        if self._buffer or (self._consumer is not None and self._in_use < self._credit):
            self._pause()
        if not self.held:
            self._shards.leave()  # but not beside slow handlers: going to and fro would count as deliveries
        self._linger()  # a consumer without credit, which brings nothing

    def _pause(self, done: Callable[[], None] | None = None) -> None:
        ending = object()
        self._under_way.add(ending)

        def cancelled() -> None:
            self._serve()  # whoever came meanwhile
            unasked = [(one.token, RELEASE) for one in self._buffer if isinstance(one.token, Token)]
            self._buffer.clear()
            if unasked and self._channel is not None:
                for token, _ in unasked:
                    token.settling = True
                self._copy(unasked, _dropping(done or _nothing))
            elif done is not None:
                done()
            self._ended(ending)

        self._unsubscribe(cancelled)

    def _on_declared(self, _: object, error: BrokerError | None) -> None:
        self._busy = False
        self._declared = error is None
        if error is not None and self._link.connection is not None:
            while self._waiters:
                self._answer(self._waiters.popleft(), [], error)
        self._want()

    def _on_channel(self, channel: Any) -> None:
        channel.add_on_cancel_callback(self._on_cancelled)
        self._busy = False
        self._channel = channel
        self._want()

    def _on_cancelled(self, _frame: Any) -> None:
        """The broker has ended the consumer: the queue was deleted, or has moved."""
        self._tell("the broker has ended the consumer of %s: the queue was deleted, or has moved", self.spec.name)
        self._consumer, self._live, self._declared = None, False, False
        self._epoch += 1
        self._link.later(_AGAIN, self._want)

    def _on_channel_closed(self, channel: Any, reason: Exception) -> None:
        if isinstance(reason, ChannelClosedByClient) or (self._channel is not None and channel is not self._channel):
            return
        error = translate(reason)
        if self._channel is None:
            self._busy = False
        if self._link.connection is not None:
            self._tell("the broker has closed the channel of %s: %s", self.spec.name, error)
        self._reset(str(error))
        if self._link.connection is not None and error.code is not ErrorCode.NOT_FOUND:
            self._link.later(_AGAIN, self._want)
        elif self._link.connection is not None:
            self._want()

    def _reset(self, why: str) -> None:
        """The channel is gone, and every lease with it."""
        self._tenure.over, self._tenure = why, Tenure()
        self._under_way.clear()
        self._ended(None)
        self._channel = self._consumer = None
        self._live = self._declared = False
        self._credit = self._in_use = 0
        self._generation += 1
        self._epoch += 1
        self._outstanding.clear()
        self._buffer.clear()

    def _resubscribe(self, missing: bool) -> None:
        if missing:
            self._declared = False
        self._want()

    def up(self) -> None:
        """The connection is there."""
        self._busy = False
        self._want()

    def down(self, error: BrokerError, *, ended: bool) -> None:
        """The connection is lost; who waits goes on waiting, unless it has `ended` for good."""
        self._busy = False
        why = f"the connection was lost: {error}"
        self._reset(why)
        self._shards.down(why)
        while ended and self._waiters:
            self._answer(self._waiters.popleft(), [], closed())

    # Deliveries

    def _on_delivery(self, _channel: Any, method: Any, found: Any, body: bytes) -> None:
        message = envelope(found, body, 1)
        gone = abandoned(found)
        token = Token(self._tenure, self._generation, self._epoch, method.delivery_tag, message, abandoned=gone)
        self._fresh = time.monotonic()
        self._outstanding[token.tag] = token
        self._in_use += 1
        if self._classic and method.redelivered:  # such a queue counts nothing: the copy does
            token.settling = token.abandoned = True
            self._copy([(token, Retry())], lambda _: None, lost=True)
            return
        self._buffer.append(Received(message, token, gone))
        waiters = self._waiters
        if not waiters:
            return
        if self._in_use >= self._credit:
            self._want()
        if len(self._buffer) >= waiters[0].most:
            self._serve()
        else:
            self._serve_soon()

    # Looking after it

    def count(self, future: Future[int]) -> bool:
        """How many messages nobody holds, those on their way to us included; False when there is no channel to ask on."""
        channel = self._channel
        if channel is None or not channel.is_open:
            return False

        def ask(tries: int) -> None:
            before = len(self._buffer)

            def counted(frame: Any) -> None:
                ready: int = frame.method.message_count

                def arrived() -> None:
                    if len(self._buffer) == before or not tries:
                        self._shards.count(settle_sum(future, ready + len(self._buffer)))
                    else:
                        ask(tries - 1)

                # A second answer of the broker comes after the deliveries that the first left out.
                channel.basic_qos(prefetch_count=self._credit, callback=_dropping(arrived))

            channel.queue_declare(self.spec.name, passive=True, callback=counted)

        ask(_COUNTS)
        return True

    def purge(self, future: Future[int]) -> bool:
        """Delete what nobody holds; False when there is no channel to do it on."""
        channel = self._channel
        if channel is None or not channel.is_open:
            return False

        def purged(frame: Any) -> None:
            self._shards.purge(settle_sum(future, int(frame.method.message_count)))

        self._pause(lambda: channel.queue_purge(self.spec.name, callback=purged))
        return True


def _nothing() -> None:
    """Nobody waits."""


def _dropping(done: Callable[[], None]) -> Callable[[object], None]:
    """A callback that has no use for the broker's answer."""
    return lambda _: done()
