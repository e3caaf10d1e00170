"""Receiving from one queue: a consumer with as much credit as is asked for, and the deliveries that are not settled."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Final

from infra.errors import ErrorCode
from infra.queue.model import Ack, Action, Dead, Extend, Message, QueueSpec, Receipt, Received, Retry, Settled, now
from infra_rabbitmq import topology
from infra_rabbitmq.envelope import envelope, properties
from infra_rabbitmq.errors import BrokerError, closed, translate
from infra_rabbitmq.link import Link, settle_future
from infra_rabbitmq.publisher import Answer, Outgoing, Publisher

_LINGER: Final = 2.0  # seconds without a receive until the broker may give to others what was not asked for
_SHORTEST_WAIT: Final = 0.1  # the way of a message from the broker
_PATIENCE: Final = 0.05  # seconds between looks at a queue that holds messages, while none comes
_LOOKS: Final = 40
_SHRINK_AFTER: Final = 5.0  # seconds with a quarter of the credit in use
_COUNTS: Final = 20  # how often to count again while deliveries come
_MOST_CREDIT: Final = 65535
_COPY_TIMEOUT: Final = 10.0
_AGAIN: Final = 0.2  # seconds before subscribing again


class Token:
    """A delivery. It can be settled as long as the channel lives that it came on."""

    __slots__ = ("epoch", "generation", "message", "settling", "tag")

    def __init__(self, generation: int, epoch: int, tag: int, message: Message) -> None:
        self.generation = generation  # of the channel
        self.epoch = epoch  # of the consumer
        self.tag = tag
        self.message = message
        self.settling = False


class _Waiter:
    __slots__ = ("deadline", "future", "looks", "most", "timer")

    def __init__(self, most: int, deadline: float, future: Future[list[Received]]) -> None:
        self.most = most
        self.deadline = deadline
        self.future = future
        self.looks = 0
        self.timer: object = None


class Subscription:
    """One queue's consumer. All but `held` is used in the link's thread only.

    Args:
        spec: The queue.
        link: The connection for consuming.
        publisher: Where copies go.
        queue_type: ``quorum`` or ``classic``.
    """

    def __init__(self, spec: QueueSpec, link: Link, publisher: Publisher, queue_type: str) -> None:
        self.spec = spec
        self._link = link
        self._publisher = publisher
        self._queue_type = queue_type
        self._classic = queue_type == "classic"
        self._channel: Any = None
        self._busy = False  # something that `_want` began is under way
        self._declared = False
        self._consumer: str | None = None
        self._live = False  # the broker has accepted the consumer
        self._credit = 0
        self._in_use = 0  # unsettled deliveries of this consumer
        self._low_since: float | None = None
        self._generation = 0
        self._epoch = 0
        self._outstanding: dict[int, Token] = {}  # by delivery tag, in order
        self._buffer: deque[Received] = deque()
        self._waiters: deque[_Waiter] = deque()
        self._serving = False
        self._last = 0.0
        self._lingering = False

    @property
    def held(self) -> int:
        """Deliveries in the hands of receivers."""
        return max(0, len(self._outstanding) - len(self._buffer))

    # Receiving

    def receive(self, most: int, wait: float, future: Future[list[Received]]) -> None:
        """Answer `future` with up to `most` deliveries, or with none after `wait` seconds."""
        span = max(wait, _SHORTEST_WAIT)
        waiter = _Waiter(most, time.monotonic() + span, future)
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

    def give_back(self, received: Sequence[Received]) -> None:
        """Take back deliveries that reached nobody; the next receive gets them."""
        mine = [one for one in received if isinstance(one.token, Token) and one.token.generation == self._generation]
        self._buffer.extendleft(reversed(mine))
        self._last = time.monotonic()
        self._serve()
        self._linger()

    def _answer(self, waiter: _Waiter, received: list[Received], error: BrokerError | None) -> bool:
        if waiter.timer is not None:
            self._link.forget(waiter.timer)
            waiter.timer = None
        return settle_future(waiter.future, received, error)

    def _serve(self) -> None:
        self._serving = False
        waiters, buffer = self._waiters, self._buffer
        while waiters and buffer:
            waiter = waiters.popleft()
            if waiter.future.cancelled():
                self._answer(waiter, [], None)
                continue
            given = [buffer.popleft() for _ in range(min(waiter.most, len(buffer)))]
            if not self._answer(waiter, given, None):
                buffer.extendleft(reversed(given))
        self._last = time.monotonic()
        if not waiters:
            self._linger()

    def _expired(self, waiter: _Waiter) -> None:
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
        elif not self._live or self._channel is None:  # among it the first connection, which a first receive asks for
            self._look_later(waiter)
        else:
            channel = self._channel

            def counted(frame: Any) -> None:
                ready: int = frame.method.message_count
                # A second answer of the broker comes after the deliveries that the first left out.
                channel.basic_qos(prefetch_count=self._credit, callback=_dropping(lambda: looked(ready)))

            def looked(ready: int) -> None:
                if self._buffer:
                    self._serve()
                if waiter in self._waiters and ready:
                    self._look_later(waiter)
                else:
                    self._drop(waiter, None)

            def unanswered() -> None:
                self._link.doubt()
                self._drop(waiter, None)

            waiter.timer = self._link.later(_PATIENCE * _LOOKS, unanswered)
            channel.queue_declare(self.spec.name, passive=True, callback=counted)

    def _look_later(self, waiter: _Waiter) -> None:
        waiter.looks += 1
        if waiter.timer is not None:
            self._link.forget(waiter.timer)
        waiter.timer = self._link.later(_PATIENCE, lambda: self._expired(waiter))

    def _drop(self, waiter: _Waiter, error: BrokerError | None) -> None:
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
            self._link.perform(topology.declare(self.spec, self._queue_type), self._on_declared)
            return
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
        self._in_use = 0
        self._low_since = None
        epoch = self._epoch

        def accepted(_: Any) -> None:
            if epoch == self._epoch:
                self._live = True

        channel = self._channel
        channel.basic_qos(prefetch_count=self._credit)
        self._consumer = channel.basic_consume(self.spec.name, self._on_delivery, callback=accepted)

    def _unsubscribe(self, done: Callable[[], None] | None = None) -> None:
        consumer, self._consumer = self._consumer, None
        self._live = False
        self._epoch += 1
        self._in_use = 0
        if consumer is not None and self._channel is not None and self._channel.is_open:
            # What still comes is refused by pika, and so goes to others.
            self._channel.basic_cancel(consumer, callback=None if done is None else _dropping(done))
        elif done is not None:
            done()

    def _linger(self) -> None:
        """End the consumer when nobody receives for a while."""
        if (self._consumer is not None or self._buffer) and not self._lingering:
            self._lingering = True
            self._link.later(_LINGER, self._lingered)

    def _lingered(self) -> None:
        self._lingering = False
        if self._waiters or (self._consumer is None and not self._buffer):
            return
        left = self._last + _LINGER - time.monotonic()
        if left > 0:
            self._lingering = True
            self._link.later(left, self._lingered)
        elif self._buffer or self._in_use < self._credit:
            self._pause()
        else:
            self._linger()  # without credit it brings nothing

    def _pause(self, done: Callable[[], None] | None = None) -> None:
        self._unsubscribe(done)
        if self._channel is not None and self._channel.is_open:
            for one in self._buffer:
                self._requeue(one.token)
        self._buffer.clear()

    def _requeue(self, token: object) -> None:
        assert isinstance(token, Token)
        self._forget(token)
        self._channel.basic_nack(token.tag, requeue=True)

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
        self._consumer, self._live, self._declared = None, False, False
        self._epoch += 1
        self._link.later(_AGAIN, self._want)

    def _on_channel_closed(self, channel: Any, reason: Exception) -> None:
        if self._channel is not None and channel is not self._channel:
            return
        error = translate(reason)
        if self._channel is None:
            self._busy = False
        self._reset()
        if self._link.connection is not None and error.code is not ErrorCode.NOT_FOUND:
            self._link.later(_AGAIN, self._want)
        elif self._link.connection is not None:
            self._want()

    def _reset(self) -> None:
        """The channel is gone, and every lease with it."""
        self._channel = self._consumer = None
        self._live = self._declared = False
        self._credit = self._in_use = 0
        self._generation += 1
        self._epoch += 1
        self._outstanding.clear()
        self._buffer.clear()

    def up(self) -> None:
        """The connection is there."""
        self._busy = False
        self._want()

    def down(self, *, ended: bool) -> None:
        """The connection is lost; who waits goes on waiting, unless it has `ended` for good."""
        self._busy = False
        self._reset()
        while ended and self._waiters:
            self._answer(self._waiters.popleft(), [], closed())

    # Deliveries

    def _on_delivery(self, _channel: Any, method: Any, found: Any, body: bytes) -> None:
        message = envelope(found, body, 1)
        token = Token(self._generation, self._epoch, method.delivery_tag, message)
        self._outstanding[token.tag] = token
        self._in_use += 1
        if self._classic and method.redelivered:  # such a queue counts nothing: the copy does
            token.settling = True
            self._copy([(token, Retry())], lambda _: None)
            return
        self._buffer.append(Received(message, token))
        waiters = self._waiters
        if not waiters:
            return
        if len(self._buffer) >= waiters[0].most:
            self._serve()
        elif not self._serving:  # after whatever else has arrived with it
            self._serving = True
            self._link.later(0, self._serve)

    # Settling

    def settle(self, batch: Sequence[tuple[object, Action]], future: Future[list[Settled | BaseException]]) -> None:
        """Settle deliveries; answers when the copies that it takes are confirmed."""
        answers: list[Settled | BaseException] = [Settled.LOST] * len(batch)
        copies: list[tuple[Token, Action]] = []
        places: list[int] = []
        done: list[Token] = []
        for place, (token, action) in enumerate(batch):
            assert isinstance(token, Token)
            if token.generation != self._generation or token.tag not in self._outstanding or token.settling:
                continue
            answers[place] = Settled.DONE
            if isinstance(action, Ack):
                token.settling = True
                done.append(token)
            elif isinstance(action, Retry) and not action.counted and action.delay <= 0 and not self._classic:
                self._requeue(token)
            elif not isinstance(action, Extend):
                token.settling = True
                copies.append((token, action))
                places.append(place)
        self._acknowledge(done)
        if not copies:
            settle_future(future, answers, None)
            return

        def copied(outcomes: list[Settled | BaseException]) -> None:
            for place, outcome in zip(places, outcomes, strict=True):
                answers[place] = outcome
            settle_future(future, answers, None)

        self._copy(copies, copied)

    def _copy(self, settlements: list[tuple[Token, Action]], done: Callable[[list[Settled | BaseException]], None]) -> None:
        """Publish copies, and acknowledge the originals when the copies are confirmed: twice is possible, never is not."""
        sending = self._publisher.send([self._copy_of(token.message, action) for token, action in settlements], _COPY_TIMEOUT)

        def confirmed(future: Future[list[Answer]]) -> None:
            answers = future.result()
            try:
                self._link.call(lambda: finish(answers))
            except BrokerError:
                finish(answers)

        def finish(answers: list[Answer]) -> None:
            copied = [token for (token, _), answer in zip(settlements, answers, strict=True) if isinstance(answer, Receipt)]
            for token, _ in settlements:
                token.settling = False
            self._acknowledge([token for token in copied if token.generation == self._generation])
            done([Settled.DONE if isinstance(answer, Receipt) else answer.error for answer in answers])

        sending.add_done_callback(confirmed)

    def _copy_of(self, message: Message, action: Action) -> Outgoing:
        name = self.spec.name
        if isinstance(action, Dead):
            letter = properties(message, message.attempt, reason=action.reason, died_at=now())
            return Outgoing(topology.dead_queue(name), message.id, letter, message.body)
        assert isinstance(action, Retry)
        copy = properties(message, message.attempt if action.counted else max(0, message.attempt - 1))
        return Outgoing(name, message.id, copy, message.body, time.time() + action.delay if action.delay > 0 else None)

    def _acknowledge(self, tokens: list[Token]) -> None:
        """Acknowledge: with one frame as far as nothing before is open, one by one beyond."""
        if not tokens or self._channel is None or not self._channel.is_open:
            return
        done = {token.tag for token in tokens}
        prefix: list[int] = []
        for tag in self._outstanding:
            if tag not in done:
                break
            prefix.append(tag)
        if prefix:
            self._channel.basic_ack(prefix[-1], multiple=len(prefix) > 1)
            done.difference_update(prefix)
        for tag in sorted(done):
            self._channel.basic_ack(tag)
        for token in tokens:
            self._forget(token)

    def _forget(self, token: Token) -> None:
        if self._outstanding.pop(token.tag, None) is not None and token.epoch == self._epoch:
            self._in_use -= 1

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
                        settle_future(future, ready + len(self._buffer), None)
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
            settle_future(future, int(frame.method.message_count), None)

        self._pause(lambda: channel.queue_purge(self.spec.name, callback=purged))
        return True


def _dropping(done: Callable[[], None]) -> Callable[[object], None]:
    """A callback that has no use for the broker's answer."""
    return lambda _: done()
