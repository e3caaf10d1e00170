"""Publishing with confirms: batches in, an answer for each message out."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final

import pika
from pika import BasicProperties, spec

from infra.errors import ErrorCode
from infra.queue.model import Durability, Message, PublishOutcome, QueueSpec, Receipt, SendFailure
from infra_rabbitmq import topology
from infra_rabbitmq.envelope import properties
from infra_rabbitmq.errors import BrokerError, refusal, translate
from infra_rabbitmq.link import Link, Procedure, settle_future
from infra_rabbitmq.topology import Layout

Answer = Receipt | SendFailure
_PATIENCE: Final = 5.0  # seconds for declaring everything again after a loss

_UNCONFIRMED: Final = "the broker did not confirm in time, as when the queue has no leader"


@dataclass(slots=True)
class Outgoing:
    """A message on its way.

    Args:
        queue: The queue that it is for, one of its shards, or its dead-letter queue.
        id: Its id.
        properties: Its AMQP properties.
        body: Its body.
        due: When it may be delivered, as a time of `time.time`; None for at once.
        ordered: Whether none of its batch to the same queue may overtake it.
        refused: Why it is not sent at all.
        make: Makes the queue when it is missing.
    """

    queue: str
    id: str
    properties: BasicProperties
    body: bytes
    due: float | None = None
    ordered: bool = False
    refused: BrokerError | None = None
    make: Procedure[None] | None = None
    batch: _Batch | None = None
    place: int = 0
    returned: BrokerError | None = None


class _Batch:
    """Messages that were given over together; their answer is one."""

    __slots__ = ("answers", "future", "left", "timer")

    def __init__(self, size: int, future: Future[list[Answer]]) -> None:
        self.answers: list[Any] = [None] * size  # None where it is open
        self.future = future
        self.left = size
        self.timer: object = None


def outgoing(queue: str, message: Message, layout: Layout) -> Outgoing:
    """A message to publish."""
    due = None if message.deliver_at is None else message.deliver_at.timestamp()
    found = Outgoing(layout.place(queue, message.key), message.id, properties(message), message.body, due)
    if found.queue != queue:
        found.ordered = True
        if due is not None and due > time.time():
            why = "a message with a key cannot be delayed: those behind it would overtake it"
            found.refused = BrokerError(why, ErrorCode.UNSUPPORTED, remedy="publish it without delay, or without key")
        found.due = None
    return found


class Publisher:
    """The publishing half of a driver.

    Args:
        parameters: Makes the connection's parameters.
        specs: The queues declared so far, by name.
        layout: What is made for each queue.
        window: The most messages that wait for their confirmation.
        heard: Called with the error when the connection is lost, and with None when it is there.
    """

    def __init__(
        self,
        parameters: Callable[[], pika.ConnectionParameters],
        specs: Mapping[str, QueueSpec],
        layout: Layout,
        window: int,
        heard: Callable[[Link, BrokerError | None], None],
    ) -> None:
        self._heard = heard
        self.link = Link("publish", parameters, self._up, self._down)
        self.blocked: str | None = None  # why the broker reads nothing
        self.link.held_back = lambda: self.blocked is not None
        self._specs = specs
        self.layout = layout
        self._window = window
        self._begun: Any = None  # the connection whose channel was asked for
        self._channel: Any = None  # only while it can be published on
        self._waiting: deque[Outgoing] = deque()  # not written
        self._unconfirmed: dict[int, Outgoing] = {}  # by delivery tag, in order
        self._tag = 0
        self._ladders: dict[
            str, list[Outgoing] | None
        ] = {}  # queues whose ladder is there (None) or being made, with those who wait for it

    @property
    def ready(self) -> bool:
        """Whether what is sent now is written at once."""
        return self._channel is not None and self.blocked is None

    def send(self, batch: Sequence[Outgoing], timeout: float) -> Future[list[Answer]]:
        """Publish all; may be called from any thread. After `timeout` seconds what is open is answered as not sent or unknown."""
        future: Future[list[Answer]] = Future()
        deadline = time.monotonic() + timeout
        try:
            self.link.call(lambda: self._take(batch, future, deadline))
        except BrokerError as error:
            future.set_result([SendFailure(PublishOutcome.NOT_SENT, error) for _ in batch])
        return future

    # In the I/O thread

    def _take(self, messages: Sequence[Outgoing], future: Future[list[Answer]], deadline: float) -> None:
        batch = _Batch(len(messages), future)
        for place, message in enumerate(messages):
            message.batch, message.place = batch, place
        self._waiting.extend(messages)
        batch.timer = self.link.later(max(0.0, deadline - time.monotonic()), lambda: self._expired(batch))
        self._pump()

    def _pump(self) -> None:
        """Write what the window has room for."""
        channel, unconfirmed, waiting = self._channel, self._unconfirmed, self._waiting
        if channel is None or self.blocked is not None:
            return
        while waiting and len(unconfirmed) < self._window:
            message = waiting.popleft()
            batch = message.batch
            if batch is None or batch.answers[message.place] is not None:
                continue  # it took too long
            if message.refused is not None:
                self._answer(message, SendFailure(PublishOutcome.REFUSED, message.refused))
                continue
            exchange, key = "", message.queue
            if message.due is not None:
                delay = message.due - time.time()
                if delay > 0:
                    if not self._ladder_for(message):
                        continue
                    exchange, key = topology.route(message.queue, delay)
            try:
                channel.basic_publish(exchange, key, message.body, message.properties, mandatory=True)
            except Exception as error:
                if not channel.is_open:
                    waiting.appendleft(message)
                    return
                self._answer(message, SendFailure(PublishOutcome.REFUSED, BrokerError(f"{error}", ErrorCode.INVALID_ARGUMENT)))
                continue
            self._tag += 1
            unconfirmed[self._tag] = message

    def _answer(self, message: Outgoing, answer: Answer) -> None:
        batch = message.batch
        if batch is None or batch.answers[message.place] is not None:
            return
        batch.answers[message.place] = answer
        batch.left -= 1
        if not batch.left:
            if batch.timer is not None:
                self.link.forget(batch.timer)
                batch.timer = None
            settle_future(batch.future, batch.answers, None)

    def _expired(self, batch: _Batch) -> None:
        batch.timer = None
        why = self.blocked or ("" if self._channel is not None else str(self.link.error)) or _UNCONFIRMED
        error = BrokerError(why, ErrorCode.UNAVAILABLE)
        self.link.doubt()
        for message in [one for one in self._unconfirmed.values() if one.batch is batch]:
            self._answer(message, SendFailure(PublishOutcome.UNKNOWN, error))
        batch.answers = [answer or SendFailure(PublishOutcome.NOT_SENT, error) for answer in batch.answers]
        if batch.left:
            batch.left = 0
            settle_future(batch.future, batch.answers, None)

    # The ladder

    def _ladder_for(self, message: Outgoing) -> bool:
        """Whether the ladder leads to the message's queue; if not yet, it is made, and the message waits for it."""
        queue = message.queue
        if queue in self._ladders:
            waiting = self._ladders[queue]
            if waiting is None:
                return True
            waiting.append(message)
            return False
        self._ladders[queue] = [message]
        spec = self._specs.get(queue)
        create = spec is None or spec.topology != "none"

        def led(_: object, error: BrokerError | None) -> None:
            waiting = self._ladders.pop(queue, None) or []
            if error is None:
                self._ladders[queue] = None
                self._waiting.extendleft(reversed(waiting))
                self._pump()
                return
            refused = error.code in (ErrorCode.NOT_FOUND, ErrorCode.PERMISSION_DENIED, ErrorCode.CONFIGURATION)
            if error.code is ErrorCode.NOT_FOUND:
                how = 'open the queue once with `topology = "check"` or "ensure", with an account that may configure it'
                error = BrokerError(f"{error}, which delays of '{queue}' need", ErrorCode.CONFIGURATION, remedy=how)
            for one in waiting:
                self._answer(one, SendFailure(PublishOutcome.REFUSED if refused else PublishOutcome.NOT_SENT, error))

        def made(_: object, error: BrokerError | None) -> None:
            if error is not None:
                led(None, error)
            else:
                self.link.perform(topology.lead_to(queue) if create else topology.leads_to(queue), led)

        def looked(_: object, error: BrokerError | None) -> None:
            if error is not None and error.code is ErrorCode.NOT_FOUND and create:
                self.link.perform(topology.ladder, made)
            elif error is not None and error.code is ErrorCode.NOT_FOUND:
                made(None, BrokerError("there is no ladder for delays in this virtual host", ErrorCode.NOT_FOUND))
            else:
                made(None, error)

        self.link.perform(topology.ladder_is_there, looked)
        return False

    # The connection

    def _up(self) -> None:
        self._heard(self.link, None)
        connection = self.link.connection
        assert connection is not None
        connection.add_on_connection_blocked_callback(self._on_blocked)
        connection.add_on_connection_unblocked_callback(self._on_unblocked)
        # A queue without a leader may keep its declaration waiting for minutes; the others' messages must not wait with it.
        self.link.later(_PATIENCE, lambda: self._begin(connection))
        self._declare(connection, [spec for spec in self._specs.values() if spec.topology == "ensure"])

    def _declare(self, connection: Any, specs: list[QueueSpec]) -> None:
        """What is there already is declared again: a broker that was killed may have forgotten a queue made just before."""
        if self.link.connection is not connection:
            return
        if not specs:
            self._begin(connection)
            return
        # What cannot be declared now fails its own messages, as unroutable.
        self.link.perform(topology.declare(specs[0], self.layout), lambda _, __: self._declare(connection, specs[1:]))

    def _begin(self, connection: Any) -> None:
        """Open the channel for publishing, once for each connection."""
        if self.link.connection is connection and self._begun is not connection:
            self._begun = connection
            connection.channel(on_open_callback=self._on_channel)

    def _on_channel(self, channel: Any) -> None:
        channel.add_on_close_callback(self._on_channel_closed)
        channel.add_on_return_callback(self._on_return)

        def ready(_: object) -> None:
            self._tag = 0
            self._channel = channel
            self._pump()

        channel.confirm_delivery(self._on_confirm, callback=ready)

    def _on_channel_closed(self, channel: Any, reason: Exception) -> None:
        error = translate(reason)
        if channel is self._channel:
            if error.code is ErrorCode.NOT_FOUND:  # somebody has deleted the ladder
                self._ladders = {queue: waiting for queue, waiting in self._ladders.items() if waiting is not None}
            self._lost(error)
        connection = self.link.connection
        if connection is not None and connection.is_open:
            connection.channel(on_open_callback=self._on_channel)

    def _down(self, error: BrokerError) -> None:
        self._heard(self.link, error)
        self.blocked = None
        # Those who wait for a ladder were answered when its channel closed.
        self._ladders.clear()
        self._lost(error)

    def _lost(self, error: BrokerError) -> None:
        """Nobody will ever say what became of the messages that were written."""
        self._channel = None
        unconfirmed, self._unconfirmed = self._unconfirmed, {}
        self._hold_back([message for message in unconfirmed.values() if message.ordered], error)
        for message in unconfirmed.values():
            if message.returned is None:
                self._answer(message, SendFailure(PublishOutcome.UNKNOWN, error))
            else:
                self._answer(message, SendFailure(PublishOutcome.REFUSED, message.returned))

    def _hold_back(self, open_: Sequence[Outgoing], error: BrokerError) -> None:
        """Those behind `open_` must not be written before them: whoever sends them again sends all, in order."""
        lines = {(message.batch, message.queue) for message in open_ if message.batch is not None}
        for message in [one for one in self._waiting if (one.batch, one.queue) in lines] if lines else ():
            self._answer(message, SendFailure(PublishOutcome.NOT_SENT, error))

    def _on_blocked(self, _connection: Any, frame: Any) -> None:
        self.blocked = f"the broker takes no messages for now: {frame.method.reason}"

    def _on_unblocked(self, _connection: Any, _frame: Any) -> None:
        self.blocked = None
        self._pump()

    # Confirms

    def _on_confirm(self, frame: Any) -> None:
        method = frame.method
        tag = method.delivery_tag
        unconfirmed = self._unconfirmed
        taken = isinstance(method, spec.Basic.Ack)
        for one in [one for one in unconfirmed if one <= tag] if method.multiple else [tag]:
            message = unconfirmed.pop(one, None)
            if message is None:
                continue
            if message.returned is not None:
                self._answer(message, SendFailure(PublishOutcome.REFUSED, message.returned))
            elif taken:
                self._answer(message, Receipt(message.id, Durability.DISK))
            else:
                error = BrokerError(
                    "the broker could not take the message, as when the queue is full or has no leader", ErrorCode.UNAVAILABLE
                )
                self._answer(message, SendFailure(PublishOutcome.UNKNOWN, error))
                if message.ordered:
                    self._hold_back([message], error)
        if self._waiting:
            self._pump()

    def _on_return(self, _channel: Any, method: Any, properties: BasicProperties, _body: bytes) -> None:
        """A message that no queue takes comes back before its confirmation."""
        for message in self._unconfirmed.values():
            if message.id == properties.message_id and message.returned is None:
                message.returned = refusal(method.reply_code, f"{method.reply_text} - no queue '{message.queue}'")
                return
