"""The portable queue."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal, TypeVar

from infra.errors import ErrorCode, InfraError
from infra.plugin import OpenContext
from infra.queue._async.consumer import AsyncConsumer
from infra.queue._async.dead_letters import AsyncDeadLetters
from infra.queue._async.delivery import AsyncDelivery
from infra.queue._async.publisher import AsyncPublisher
from infra.queue.arguments import Arguments, delay_of
from infra.queue.codecs import Decoders, codec_named
from infra.queue.driver import AsyncQueueDriver
from infra.queue.errors import DecodeError, LeaseLostError, PublishError, QueueError, QueueMissingError
from infra.queue.history import History
from infra.queue.model import (
    NO_HEADERS,
    OCTETS,
    Ack,
    Action,
    ConsumerOptions,
    ConsumeSummary,
    KillSwitch,
    Message,
    PublishOutcome,
    QueueFeature,
    QueueSpec,
    QueueStats,
    Receipt,
    Received,
    Retry,
    RetryPolicy,
    Settled,
    later,
    new_id,
    now,
)
from infra.queue.settings import QueueSettings
from infra.queue.tracing import traceparent
from infra.resource._async import AsyncResource
from infra.runtime.aio import Batcher, Stop, sleep
from infra.runtime.deadline import Deadline

T = TypeVar("T")
_SETTLE_ATTEMPTS = 4
_EARLIEST = 0.5  # seconds that a delivery may come before its `deliver_at`: delays of some providers count whole seconds


class AsyncQueue(AsyncResource[AsyncQueueDriver, QueueSettings]):
    """A queue: at-least-once delivery of envelopes.

    A `publish` that returned survives what its receipt's `durability` names, and is delivered until a handler has settled it.
    """

    error_type = QueueError

    def __init__(self, driver: AsyncQueueDriver, settings: QueueSettings, context: OpenContext, *, owned: bool = True) -> None:
        super().__init__(driver, settings, context, owned=owned)
        self.queue = settings.queue or context.name
        self.codec = codec_named(settings.codec, context.resource)
        self.dead_letters = AsyncDeadLetters(self)
        self._publisher = AsyncPublisher(self)
        self._settler: Batcher[tuple[AsyncDelivery, Action], Settled] = Batcher(
            self.settle_many, limit=driver.limits.batch, in_flight=driver.limits.in_flight
        )
        self._decoders = Decoders(None, self.codec)
        self._hops = driver.limits.delay is not None
        self._consumers: set[AsyncConsumer] = set()
        self.history = History()
        self.arguments = Arguments(self.name, self.provider)
        self._declared = False

    @property
    def features(self) -> frozenset[str]:
        """See `Resource.features`; who can delay a message can delay its retry."""
        found = self.driver.features
        return found | {QueueFeature.RETRY_DELAY} if QueueFeature.DELAY in found else found

    async def start(self) -> None:
        """Check what the host requires, and that the queue is there."""
        await super().start()
        settings = self.settings
        spec = QueueSpec(name=self.queue, topology=settings.topology, dedup_window=settings.dedup_window)
        try:
            await self.driver.declare(spec, settings.open_timeout)
        except Exception as error:
            raise self.error(error, "declare") from error
        self._declared = True

    async def release(self, timeout: float) -> None:
        """Stop consuming and let everything under way end."""
        deadline = Deadline(timeout)
        for consumer in list(self._consumers):
            await consumer.drained(deadline)
        await self._publisher.drain()
        await self._settler.drain()
        if self._declared:
            await self.driver.interrupt(self.queue)

    # Publishing

    def message(
        self,
        value: object,
        *,
        key: str | None = None,
        dedup_key: str | None = None,
        delay: float | timedelta | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Message:
        """The envelope for `value`: bytes as they are, anything else by the queue's codec.

        Raises:
            PublishError: The codec cannot encode it, or an argument is of the wrong kind.
        """
        if isinstance(value, bytes):
            body, content_type = value, OCTETS
        else:
            content_type = self.codec.content_type
            try:
                body = self.codec.encode(value)
            except Exception as error:
                raise self.refused(
                    "",
                    f"the {self.codec.name} codec cannot encode a {type(value).__name__}: {self.context.redact(str(error))[:200]}",
                    ErrorCode.INVALID_ARGUMENT,
                    "publish a pydantic model or plain values, or set `codec`",
                ) from error
        try:
            due = None if delay is None else later(delay_of(delay))
        except ValueError as error:
            raise self.refused("", str(error), ErrorCode.INVALID_ARGUMENT, "give seconds or a timedelta") from error
        # By position: of the cost of publishing, naming ten fields was a third.
        return Message(body, new_id(), content_type, headers or NO_HEADERS, now(), key, dedup_key, due, 0, traceparent.get())

    async def publish(
        self,
        value: object,
        *,
        key: str | None = None,
        dedup_key: str | None = None,
        delay: float | timedelta | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Receipt:
        """Put one message into the queue. Concurrent calls share a batch.

        Args:
            value: Bytes, an envelope (which the other arguments then do not touch), or an object for the codec.
            key: Messages of one key are handled in order (feature ``ordering``).
            dedup_key: A second message with it is dropped within the window (feature ``deduplication``).
            delay: Seconds before it may be delivered (feature ``delay``).
            headers: Text values that travel with it.
            timeout: Seconds in all, retries included; the setting `timeout` when not given.

        Raises:
            PublishError: It is not, or perhaps not, in the queue; `outcome` says which.
            UnsupportedError: It asks for what the provider lacks.
        """
        self.check()
        if not isinstance(value, Message):
            value = self.message(value, key=key, dedup_key=dedup_key, delay=delay, headers=headers)
        return await self._publisher.publish(value, timeout)

    async def publish_many(self, messages: Iterable[object], *, timeout: float | None = None) -> list[Receipt | PublishError]:
        """Put many messages into the queue, in batches of whatever size the provider takes.

        Args:
            messages: Envelopes (`Queue.message` makes them), bytes, or objects for the codec.
            timeout: Seconds in all, retries included; the setting `timeout` when not given.

        Returns:
            A receipt or an error for each, in order. One bad message fails alone.
        """
        self.check()
        return await self._publisher.publish_many(messages, timeout)

    # Receiving

    async def receive(
        self,
        max: int = 10,  # noqa: A002
        wait: float | timedelta | None = None,
        lease: float | timedelta | None = None,
    ) -> list[AsyncDelivery]:
        """Take up to `max` messages, as soon as there is one; none after `wait` seconds. Nobody renews their lease: see `consume`.

        Args:
            max: The most deliveries.
            wait: Seconds to wait for the first; the setting `wait` when not given.
            lease: Seconds that they stay ours; the setting `lease` when not given.
        """
        self.check()
        check = self.arguments
        deadline = Deadline(self.settings.wait if wait is None else check.duration("receive", "wait", wait))
        span = self.settings.lease if lease is None else check.duration("receive", "lease", lease, positive=True)
        most = min(check.count("receive", "max", max), self.driver.limits.batch)
        while True:
            try:
                received = await self.driver.receive(self.queue, most, deadline.remaining() or 0.0, span)
            except Exception as error:
                raise self.error(error, "receive") from error
            if received and self._hops:
                received = await self.due(received)
            if received or deadline.passed:
                return [AsyncDelivery(self, one, span) for one in received]
            self.check()

    async def consume(
        self,
        handler: Callable[..., Any],
        *,
        message: Any = None,
        concurrency: int = 8,
        retry: RetryPolicy | None = None,
        on_poison: Literal["dead", "discard"] = "dead",
        until: Literal["empty"] | float | timedelta | None = None,
        stop: Stop | None = None,
        abort: Stop | None = None,
        prefetch: int | None = None,
        lease: float | timedelta | None = None,
        kill_switch: KillSwitch | None = None,
        summary: ConsumeSummary | None = None,
    ) -> ConsumeSummary:
        """Hand every message to `handler`: acknowledged when it returns, retried when it raises, until asked to stop.

        Args:
            handler: ``handler(value)`` or ``handler(value, delivery)``; without `message` the value is the delivery. A coroutine function
                runs in the loop, any other in a thread.
            message: The type to decode bodies to, such as a pydantic model; a body that does not decode is poison.
            concurrency: How many handlers run at once.
            retry: How often and when to try again; `RetryPolicy()` when not given.
            on_poison: What becomes of a message that does not decode or has used its attempts up: ``dead`` letters, or ``discard``.
            until: Stop after so many seconds, or as soon as nothing is ``empty``: no message ready and none in work. None goes on.
            stop: Stops it when set: handlers finish within the setting `drain_timeout`, what they have not begun is given back.
            abort: Ends it at once when set: handlers in tasks are cancelled, their messages will be delivered again.
            prefetch: The most unsettled deliveries held; when not given, it adapts to about `prefetch_seconds` of work.
            lease: Seconds; it is renewed at 0.7 of it as long as a handler runs, and losing it cancels the handler.
            kill_switch: Pauses when too many handlers fail.
            summary: Counts while it runs; a new one when not given.

        Returns:
            What was done.

        Raises:
            QueueError: An argument is wrong (INVALID_ARGUMENT), before anything is received; or the queue is gone or closed to us. A server
                that is merely down is waited for.
        """
        self.check()
        options = ConsumerOptions(
            concurrency=concurrency,
            retry=RetryPolicy() if retry is None else retry,
            on_poison=on_poison,
            until=until if until is None or isinstance(until, str) else self.arguments.duration("consume", "until", until),
            prefetch=prefetch,
            lease=self.settings.lease if lease is None else self.arguments.duration("consume", "lease", lease, positive=True),
            kill_switch=kill_switch,
        )
        self.arguments.consuming(options, summary, (stop, abort))
        consumer = AsyncConsumer(self, handler, message, options, ConsumeSummary() if summary is None else summary)
        self._consumers.add(consumer)
        try:
            return await consumer.run(stop, abort)
        finally:
            self._consumers.discard(consumer)

    async def due(self, received: Sequence[Received]) -> list[Received]:
        """Those whose time has come; the others go on waiting. For providers whose delays are shorter than what was asked for."""
        clock = now().timestamp()
        ready: list[Received] = []
        early: list[tuple[object, Action]] = []
        longest = self.driver.limits.delay or 0.0
        for one in received:
            at = one.message.deliver_at
            left = 0.0 if at is None else at.timestamp() - clock
            if left > _EARLIEST:
                early.append((one.token, Retry(min(left, longest), counted=False)))
            else:
                ready.append(one)
        if early:
            await self.driver.settle(self.queue, early, self.settings.timeout)
        return ready

    def decode(self, message: Message, model: Any = None) -> Any:
        """The body of `message` as an object of type `model`, or as whatever it holds.

        Raises:
            DecodeError: It is not one.
        """
        decoders = self._decoders if model is None else Decoders(model, self.codec)
        try:
            return decoders(message.content_type, message.body)
        except Exception as error:
            raise self.undecodable(message, error) from error

    def decoders(self, model: Any) -> Decoders:
        """Decoders to `model`.

        Raises:
            QueueError: It is no type that the queue's codec can decode to.
        """
        found = Decoders(model, self.codec)
        try:
            found.prepare(self.codec)
        except Exception as error:
            why = f"`message` is nothing to decode to: {self.context.redact(str(error))[:200]}"
            raise self.arguments.wrong("consume", why, "give a pydantic model or another type") from error
        return found

    # Looking after it

    async def stats(self) -> QueueStats:
        """Numbers of messages now."""
        self.check()
        try:
            return await self.driver.stats(self.queue, self.settings.timeout)
        except Exception as error:
            raise self.error(error, "stats") from error

    async def peek(self, most: int = 10) -> Sequence[Message]:
        """The next messages, without taking them (feature ``peek``)."""
        self.check()
        self.arguments.count("peek", "most", most)
        self.need(QueueFeature.PEEK, "use stats, or receive and release")
        try:
            return await self.driver.peek(self.queue, most, self.settings.timeout)
        except Exception as error:
            raise self.error(error, "peek") from error

    async def purge(self) -> int:
        """Delete all messages that nobody holds (feature ``purge``), delayed ones too but on SQS; how many it was. Dead letters stay."""
        self.check()
        self.need(QueueFeature.PURGE, "receive and ack them")
        try:
            return await self.driver.purge(self.queue, False, self.settings.timeout)
        except Exception as error:
            raise self.error(error, "purge") from error

    # Settling; deliveries and consumers call these

    def retry_action(self, delay: float) -> Retry:
        """`Retry`, where the provider can."""
        if delay > 0:
            self.need(QueueFeature.RETRY_DELAY, "retry without delay, or choose a provider with delays")
        return Retry(delay)

    async def settle_one(self, delivery: AsyncDelivery, action: Action) -> None:
        """Settle together with whatever else is being settled; raises `LeaseLostError` when the lease is over."""
        self.check()
        if await self._settler.submit((delivery, action)) is Settled.LOST:
            raise self.lease_lost(delivery.message, type(action).__name__.lower(), "its lease is over")

    async def settle_many(self, batch: Sequence[tuple[AsyncDelivery, Action]]) -> Sequence[Settled | BaseException]:
        """Settle a batch, trying again what failed for now; an answer for each, in order."""
        deadline = Deadline(self.settings.timeout)
        answers = await self._settle(batch, deadline)
        attempt = 1
        while attempt < _SETTLE_ATTEMPTS and (failed := [place for place, answer in enumerate(answers) if _may_pass(answer)]):
            await sleep(min(0.05 * 2.0**attempt, deadline.remaining() or 0.0))
            attempt += 1
            again = await self._settle([batch[place] for place in failed], deadline)
            answers = list(answers)
            for place, answer in zip(failed, again, strict=True):
                # The failed try may have deleted it; then nobody has it, and this is what was asked for.
                acked = answer is Settled.LOST and isinstance(batch[place][1], Ack)
                answers[place] = Settled.DONE if acked else answer
        return answers

    async def _settle(self, batch: Sequence[tuple[AsyncDelivery, Action]], deadline: Deadline) -> Sequence[Settled | BaseException]:
        tokens = [(delivery._token, action) for delivery, action in batch]
        try:
            answers = await self.driver.settle(self.queue, tokens, deadline.remaining() or 0.001)
        except Exception as error:
            return [self.error(error, "settle")] * len(batch)
        for answer in answers:
            if not isinstance(answer, Settled):
                return [one if isinstance(one, Settled) else self.error(one, "settle") for one in answers]
        return answers

    # Errors

    def error(self, cause: BaseException, operation: str, **details: Any) -> InfraError:
        """See `AsyncResource.error`; a queue that is not there gets its own."""
        if not isinstance(cause, InfraError) and self.driver.classify(cause) is ErrorCode.NOT_FOUND:
            return QueueMissingError(
                f"there is no queue {self.queue!r}",
                resource=self.name,
                provider=self.provider,
                operation=operation,
                remedy=f'create it, correct {self.context.origins(("queue",)) or "`queue`"}, or set `topology = "ensure"`',
            )
        return super().error(cause, operation, **details)

    def remedy(self, code: ErrorCode) -> str | None:
        """See `AsyncResource.remedy`; a queue may be a file."""
        if code is ErrorCode.UNAVAILABLE:
            return "check that the queue's server runs, or that its file is neither locked nor on a full disk"
        return super().remedy(code)

    def refused(self, message_id: str, why: str, code: ErrorCode, remedy: str | None = None) -> PublishError:
        """A message that cannot be published, now or ever."""
        return PublishError(
            f"the message cannot be published: {why}",
            outcome=PublishOutcome.REFUSED,
            message_id=message_id,
            code=code,
            resource=self.name,
            provider=self.provider,
            operation="publish",
            retryable=False,
            remedy=remedy,
        )

    def lease_lost(self, message: Message, operation: str, why: str) -> LeaseLostError:
        """A delivery that can no longer be settled."""
        return LeaseLostError(
            f"message {message.id} cannot be settled: {why}",
            resource=self.name,
            provider=self.provider,
            operation=operation,
            remedy="raise `lease`, extend it while working, or use consume, which renews it",
        )

    def undecodable(self, message: Message, cause: Exception) -> DecodeError:
        """A body that does not fit what was asked for."""
        return DecodeError(
            f"message {message.id} ({message.content_type}) does not decode: {_reason(cause, self.context.redact)}",
            resource=self.name,
            provider=self.provider,
            operation="decode",
            remedy="look at it with `infra queue peek`, and at what its publisher sends",
        )


def _may_pass(answer: Settled | BaseException) -> bool:
    return isinstance(answer, InfraError) and answer.retryable


def _reason(error: Exception, redact: Callable[[str], str]) -> str:
    errors = getattr(error, "errors", None)
    if callable(errors):  # pydantic: its text would hold the input
        found: Any = errors(include_input=False, include_context=False, include_url=False)
        return "; ".join(f"{'.'.join(map(str, one['loc'])) or 'body'}: {one['msg']}" for one in found[:5])[:400]
    return f"{type(error).__name__}: {redact(str(error))[:300]}"
