# ruff: noqa: ARG002  (arguments of the contract that RabbitMQ has no use for)
"""The queue drivers of RabbitMQ.

Two connections, one for publishing and one for consuming, each with its I/O thread; what the broker holds back from publishers then holds
nobody's settlements back. Callers hand a batch over with one callback and wait for one future, in a thread or in an event loop.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from concurrent.futures import wait as wait_all
from typing import Any, Final, TypeVar

from infra.driver import Cause
from infra.errors import ErrorCode
from infra.queue.model import (
    Action,
    DeadLetter,
    Message,
    QueueFeature,
    QueueLimits,
    QueueSpec,
    QueueStats,
    Receipt,
    Received,
    SendFailure,
    Settled,
)
from infra_rabbitmq import administration, topology
from infra_rabbitmq.errors import BrokerError, classify, explain
from infra_rabbitmq.link import Link, Procedure, settle_future
from infra_rabbitmq.parameters import parameters_of
from infra_rabbitmq.publisher import Answer, Publisher, outgoing
from infra_rabbitmq.settings import RabbitMQQueueSettings
from infra_rabbitmq.shards import KeyedToken
from infra_rabbitmq.subscription import Subscription
from infra_rabbitmq.waiting import Token

T = TypeVar("T")

_CLASSIC: Final = frozenset({QueueFeature.EXTEND, QueueFeature.DURABLE, QueueFeature.SHARED, QueueFeature.DEAD_LETTERS, QueueFeature.PURGE})
_SLACK: Final = 30.0  # seconds beyond its wait after which a receive that was never answered ends


class _RabbitMQQueues:
    """What both doors share: every method hands its work to an I/O thread and gives a future."""

    def __init__(self, settings: RabbitMQQueueSettings, name: str, logger: logging.Logger | None = None) -> None:
        quorum = settings.queue_type == "quorum"
        optional = [QueueFeature.DELAY] * quorum + [QueueFeature.ORDERING] * (settings.shards > 0)
        self.features = frozenset(str(one) for one in _CLASSIC.union(optional))
        self.limits = QueueLimits(
            batch=500,
            in_flight=2,
            message_bytes=16 * 1024 * 1024,
            batch_bytes=16 * 1024 * 1024,
            delay=topology.LONGEST if quorum else None,
        )
        self._layout = topology.Layout(settings.queue_type, settings.shards)
        self._specs: dict[str, QueueSpec] = {}
        self._subscriptions: dict[str, Subscription] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._log = logger or logging.getLogger(__name__)
        self._place = settings.place()
        self._lost: set[str] = set()  # connections that were there and are not
        self._publisher = Publisher(
            lambda: parameters_of(settings, f"{name} publish"), self._specs, self._layout, settings.confirm_window, self._heard
        )
        self._publishing = self._publisher.link
        self._consuming = Link("consume", lambda: parameters_of(settings, f"{name} consume"), self._up, self._down)

    def classify(self, error: BaseException) -> ErrorCode | None:
        """See `infra_rabbitmq.errors`."""
        return classify(error)

    def explain(self, error: BaseException) -> Cause | None:
        """See `infra_rabbitmq.errors`."""
        return explain(error)

    def unwrap(self) -> Sequence[object]:
        """The connection for consuming, once something was received, else the one for publishing; use it in its own thread only."""
        connection = self._consuming.connection or self._publishing.connection
        return () if connection is None else (connection,)

    def _heard(self, link: Link, error: BrokerError | None) -> None:
        """A connection was lost for a reason, or is there. Both go together as a rule, and are worth one line."""
        with self._lock:
            lost = bool(self._lost)
            if error is None:
                self._lost.discard(link.name)
            elif link.opened.done() and link.opened.exception() is None and not self._closed:
                self._lost.add(link.name)
            now_lost = bool(self._lost)
        if now_lost and not lost:
            self._log.warning("the connection to RabbitMQ at %s was lost: %s; connecting again", self._place, error)
        elif lost and not now_lost:
            self._log.info("the connection to RabbitMQ at %s is there again", self._place)

    def _tell(self, text: str, *arguments: object) -> None:
        if not self._closed:
            self._log.warning(text, *arguments)

    def lease_over(self, token: object) -> str | None:
        """The broker's reason why the lease of a delivery has ended with its connection or channel; None while it may last."""
        tenure = token.tenure if isinstance(token, Token) else token.held.tenure if isinstance(token, KeyedToken) else None
        return None if tenure is None else tenure.over

    def _up(self) -> None:
        self._heard(self._consuming, None)
        for subscription in list(self._subscriptions.values()):
            subscription.up()

    def _down(self, error: BrokerError) -> None:
        self._heard(self._consuming, error)
        for subscription in list(self._subscriptions.values()):
            subscription.down(error, ended=self._closed)

    def _subscription(self, queue: str) -> Subscription:
        found = self._subscriptions.get(queue)
        if found is None:
            with self._lock:
                spec = self._specs.get(queue) or QueueSpec(name=queue, topology="none")
                found = self._subscriptions.setdefault(queue, Subscription(spec, self._consuming, self._publisher, self._tell))
        return found

    @property
    def _administrating(self) -> Link:
        """The connection for consuming where there is one: the broker reads it even when it holds publishers back."""
        return self._consuming if self._consuming.connection is not None else self._publishing

    def _open(self) -> Future[None]:
        return self._publishing.start()

    def _ping(self) -> Future[None]:
        return self._administrating.ask(_nothing)

    def _declare(self, spec: QueueSpec) -> Future[None]:
        future: Future[None] = Future()
        shards = self._layout.shards

        def declared(_: None, error: BrokerError | None) -> None:
            if error is None:
                self._specs[spec.name] = spec
            if error is None and shards and spec.topology != "none":
                self._publishing.perform(topology.no_shards_beyond(spec.name, shards), looked)
            else:
                lead(error)

        def looked(_: None, error: BrokerError | None) -> None:
            lead(None if error is None or error.code is ErrorCode.NOT_FOUND else error)

        def lead(error: BrokerError | None) -> None:
            if error is None and spec.topology == "ensure" and QueueFeature.DELAY in self.features:
                self._publishing.perform(topology.lead_to(spec.name), led)
            else:
                settle_future(future, None, error)

        def led(_: None, error: BrokerError | None) -> None:
            # An account that may not configure the ladder can do without delays.
            settle_future(future, None, None if error is None or error.code is ErrorCode.PERMISSION_DENIED else error)

        try:
            self._publishing.call(lambda: self._publishing.perform(topology.declare(spec, self._layout), declared))
        except BrokerError as error:
            future.set_exception(error)
        return future

    def _send(self, queue: str, batch: Sequence[Message], timeout: float) -> Future[list[Answer]]:
        return self._publisher.send([outgoing(queue, message, self._layout) for message in batch], timeout)

    def _receive(self, queue: str, most: int, wait: float) -> Future[list[Received]]:
        subscription = self._subscription(queue)
        future: Future[list[Received]] = Future()
        self._consuming.start()
        self._consuming.call(lambda: subscription.receive(most, wait, future))
        return future

    def _give_back(self, queue: str, future: Future[list[Received]]) -> None:
        """Whoever waited for `future` is gone."""

        def give_back(done: Future[list[Received]]) -> None:
            if done.cancelled() or done.exception() is not None or not done.result():
                return
            received, subscription = done.result(), self._subscription(queue)
            try:
                self._consuming.call(lambda: subscription.give_back(received))
            except BrokerError:
                pass  # closed: the broker has taken them back itself

        if not future.cancel():
            future.add_done_callback(give_back)

    def interrupt_now(self, queue: str) -> None:
        """End the waiting receives of `queue`."""
        subscription = self._subscriptions.get(queue)
        if subscription is not None and self._consuming.started and not self._closed:
            self._consuming.call(subscription.interrupt)

    def _settle(self, queue: str, batch: Sequence[tuple[object, Action]]) -> Future[list[Settled | BaseException]]:
        subscription = self._subscription(queue)
        future: Future[list[Settled | BaseException]] = Future()
        self._consuming.call(lambda: subscription.settle(batch, future))
        return future

    def _ready(self, queue: str) -> Future[int]:
        return self._counted(queue, Subscription.count, administration.ready(queue, *self._layout.shards_of(queue)))

    def _dead(self, queue: str) -> Future[int]:
        return self._administrating.ask(administration.ready(topology.dead_queue(queue)))

    def _purge(self, queue: str) -> Future[int]:
        return self._counted(queue, Subscription.purge, administration.purge(queue, *self._layout.shards_of(queue)))

    def _purge_dead(self, queue: str) -> Future[int]:
        return self._administrating.ask(administration.purge(topology.dead_queue(queue)))

    def _purge_delayed(self, queue: str) -> Future[int]:
        """What is delayed; 0 where nothing can be."""
        future: Future[int] = Future()
        link = self._administrating
        if QueueFeature.DELAY not in self.features:
            future.set_result(0)
            return future

        def done(count: int | None, error: BrokerError | None) -> None:
            missing = error is not None and error.code is ErrorCode.NOT_FOUND
            settle_future(future, 0 if missing else count, None if missing else error)

        link.call(lambda: link.perform(administration.purge_delayed(link, queue), done))
        return future

    def _counted(self, queue: str, ask: Callable[[Subscription, Future[int]], bool], otherwise: Procedure[int]) -> Future[int]:
        """Ask the queue's subscription, which knows what is on its way to us, or where there is none the broker."""
        subscription = self._subscriptions.get(queue)
        if subscription is None or self._consuming.connection is None:
            return self._administrating.ask(otherwise)
        future: Future[int] = Future()

        def start() -> None:
            if not ask(subscription, future):
                self._consuming.perform(otherwise, answer)

        def answer(count: int | None, error: BrokerError | None) -> None:
            settle_future(future, count, error)

        self._consuming.call(start)
        return future

    def _stats(self, queue: str, ready: int, dead: int | None) -> QueueStats:
        subscription = self._subscriptions.get(queue)
        held = 0 if subscription is None else subscription.held
        return QueueStats(ready=ready, delayed=None, in_flight=held, dead=dead, approximate=True)

    def _dead_letters(self, queue: str, most: int) -> Future[list[DeadLetter]]:
        return self._administrating.ask(administration.dead_letters(queue, most))

    def _redrive(self, queue: str, ids: Sequence[str] | None, most: int, timeout: float) -> Future[int]:
        link = self._administrating
        return link.ask(administration.redrive(link, self._publisher, queue, ids, most, timeout))

    def _close(self) -> list[Future[None]]:
        if self._closed:
            return []
        self._closed = True
        ending = list(self._subscriptions.values()) if self._consuming.connection is not None else []
        left = len(ending)

        def flushed() -> None:
            nonlocal left
            left -= 1
            if left <= 0:
                self._publishing.close()
                self._consuming.close()

        for subscription in ending:
            self._consuming.call(lambda subscription=subscription: subscription.end(flushed))
        if not ending:
            flushed()
        return [self._publishing.ended, self._consuming.ended]

    def _abandon(self) -> None:
        for link in (self._publishing, self._consuming):
            link.close()
            link.abandon()


def _nothing(_channel: object) -> Any:
    """Opening a channel is a round trip."""
    return
    yield


def _late(timeout: float) -> TimeoutError:
    return TimeoutError(f"no answer within {timeout:g} s")


class RabbitMQQueueDriver(_RabbitMQQueues):
    """Blocking driver; the contracts are those of `infra.queue.driver.QueueDriver`."""

    def open(self, timeout: float) -> None:
        """Connect for publishing; consuming connects when something is received."""
        self._wait(self._open(), timeout)

    def _wait(self, future: Future[T], timeout: float) -> T:
        try:
            return future.result(timeout)
        except FutureTimeoutError:
            if future.done():
                raise
            future.cancel()
            raise _late(timeout) from None

    def ping(self, timeout: float) -> None:
        """Open a channel."""
        self._wait(self._ping(), timeout)

    def close(self, timeout: float) -> None:
        """Flush, end both connections and their threads."""
        ending = self._close()
        if wait_all(ending, timeout).not_done:
            self._abandon()

    def declare(self, spec: QueueSpec, timeout: float) -> None:
        """Make `spec.name` usable."""
        self._wait(self._declare(spec), timeout)

    def send(self, queue: str, batch: Sequence[Message], timeout: float) -> Sequence[Receipt | SendFailure]:
        """Publish all messages; returns when the broker has confirmed them."""
        return self._send(queue, batch, timeout).result(timeout + _SLACK)

    def receive(self, queue: str, most: int, wait: float, lease: float) -> Sequence[Received]:
        """Take messages."""
        future = self._receive(queue, most, wait)
        try:
            return future.result(wait + _SLACK)
        except BaseException:
            self._give_back(queue, future)
            raise

    def interrupt(self, queue: str) -> None:
        """End the waiting receives."""
        self.interrupt_now(queue)

    def settle(self, queue: str, batch: Sequence[tuple[object, Action]], timeout: float) -> Sequence[Settled | BaseException]:
        """Settle deliveries."""
        return self._wait(self._settle(queue, batch), timeout)

    def stats(self, queue: str, timeout: float) -> QueueStats:
        """Numbers of messages now; of those in flight, this connection's."""
        until = time.monotonic() + timeout
        ready = self._wait(self._ready(queue), timeout)
        try:
            dead = self._wait(self._dead(queue), max(0.001, until - time.monotonic()))
        except BrokerError as error:
            if error.code is not ErrorCode.NOT_FOUND:
                raise
            dead = None
        return self._stats(queue, ready, dead)

    def peek(self, queue: str, most: int, timeout: float) -> Sequence[Message]:
        """Not a feature: looking counts as delivering."""
        raise BrokerError("a look at the queue would count as a delivery", ErrorCode.UNSUPPORTED)

    def dead_letters(self, queue: str, most: int, timeout: float) -> Sequence[DeadLetter]:
        """The oldest dead letters."""
        return self._wait(self._dead_letters(queue, most), timeout)

    def redrive(self, queue: str, ids: Sequence[str] | None, most: int, timeout: float) -> int:
        """Put dead letters back as new."""
        return self._wait(self._redrive(queue, ids, most, timeout), timeout)

    def purge(self, queue: str, dead: bool, timeout: float) -> int:
        """Delete messages or dead letters."""
        if dead:
            return self._wait(self._purge_dead(queue), timeout)
        until = time.monotonic() + timeout
        delayed = self._wait(self._purge_delayed(queue), timeout)
        return delayed + self._wait(self._purge(queue), max(0.001, until - time.monotonic()))


class AsyncRabbitMQQueueDriver(_RabbitMQQueues):
    """Asyncio driver, by futures of the I/O threads; the contracts are those of `infra.queue.driver.AsyncQueueDriver`."""

    async def open(self, timeout: float) -> None:
        """Connect for publishing; consuming connects when something is received."""
        await self._wait(self._open(), timeout)

    async def _wait(self, future: Future[T], timeout: float) -> T:
        scope = asyncio.timeout(timeout)
        try:
            async with scope:
                return await asyncio.wrap_future(future)
        except TimeoutError:
            if not scope.expired():
                raise
            raise _late(timeout) from None

    async def ping(self, timeout: float) -> None:
        """Open a channel."""
        await self._wait(self._ping(), timeout)

    async def close(self, timeout: float) -> None:
        """Flush, end both connections and their threads."""
        ending = self._close()
        try:
            async with asyncio.timeout(timeout):
                for future in ending:
                    await asyncio.wrap_future(future)
        except TimeoutError:
            self._abandon()

    async def declare(self, spec: QueueSpec, timeout: float) -> None:
        """Make `spec.name` usable."""
        await self._wait(self._declare(spec), timeout)

    async def send(self, queue: str, batch: Sequence[Message], timeout: float) -> Sequence[Receipt | SendFailure]:
        """Publish all messages; returns when the broker has confirmed them."""
        return await asyncio.wrap_future(self._send(queue, batch, timeout))

    async def receive(self, queue: str, most: int, wait: float, lease: float) -> Sequence[Received]:
        """Take messages; what comes for a receive that was cancelled goes to the next one, or back."""
        future = self._receive(queue, most, wait)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            self._give_back(queue, future)
            raise

    async def interrupt(self, queue: str) -> None:
        """End the waiting receives."""
        self.interrupt_now(queue)

    async def settle(self, queue: str, batch: Sequence[tuple[object, Action]], timeout: float) -> Sequence[Settled | BaseException]:
        """Settle deliveries."""
        return await self._wait(self._settle(queue, batch), timeout)

    async def stats(self, queue: str, timeout: float) -> QueueStats:
        """Numbers of messages now; of those in flight, this connection's."""
        ready = await self._wait(self._ready(queue), timeout)
        try:
            dead = await self._wait(self._dead(queue), timeout)
        except BrokerError as error:
            if error.code is not ErrorCode.NOT_FOUND:
                raise
            dead = None
        return self._stats(queue, ready, dead)

    async def peek(self, queue: str, most: int, timeout: float) -> Sequence[Message]:
        """Not a feature: looking counts as delivering."""
        raise BrokerError("a look at the queue would count as a delivery", ErrorCode.UNSUPPORTED)

    async def dead_letters(self, queue: str, most: int, timeout: float) -> Sequence[DeadLetter]:
        """The oldest dead letters."""
        return await self._wait(self._dead_letters(queue, most), timeout)

    async def redrive(self, queue: str, ids: Sequence[str] | None, most: int, timeout: float) -> int:
        """Put dead letters back as new."""
        return await self._wait(self._redrive(queue, ids, most, timeout), timeout)

    async def purge(self, queue: str, dead: bool, timeout: float) -> int:
        """Delete messages or dead letters."""
        if dead:
            return await self._wait(self._purge_dead(queue), timeout)
        until = time.monotonic() + timeout
        delayed = await self._wait(self._purge_delayed(queue), timeout)
        return delayed + await self._wait(self._purge(queue), max(0.001, until - time.monotonic()))
