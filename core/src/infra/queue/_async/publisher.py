"""Publishing: validation, batches, and retries with the same id."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from infra.errors import ErrorCode, UnsupportedError
from infra.queue.arguments import flaw
from infra.queue.errors import PublishError
from infra.queue.model import Message, PublishOutcome, QueueFeature, Receipt, SendFailure
from infra.runtime.aio import Batcher, sleep, within
from infra.runtime.deadline import Deadline

if TYPE_CHECKING:
    from infra.queue._async.queue import AsyncQueue

#: What an exception for a whole batch must stand for, to know that nothing of it was taken and never will be.
_REFUSING = frozenset(
    {
        ErrorCode.INVALID_ARGUMENT,
        ErrorCode.PERMISSION_DENIED,
        ErrorCode.UNAUTHENTICATED,
        ErrorCode.NOT_FOUND,
        ErrorCode.UNSUPPORTED,
        ErrorCode.CONFIGURATION,
    }
)
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 2.0


class AsyncPublisher:
    """Sends the messages of one queue.

    Args:
        queue: Whose messages they are.
    """

    def __init__(self, queue: AsyncQueue) -> None:
        self._queue = queue
        self._name = queue.queue
        self._driver = queue.driver
        self._limits = queue.driver.limits
        limits = [limit for limit in (queue.settings.message_bytes, self._limits.message_bytes) if limit is not None]
        self._largest = min(limits, default=None)
        self._attempts = queue.settings.publish_attempts
        self._timeout = queue.settings.timeout
        self._delays = QueueFeature.DELAY in queue.features
        self._orders = QueueFeature.ORDERING in queue.features
        self._deduplicates = QueueFeature.DEDUPLICATION in queue.features
        self._batcher: Batcher[tuple[Message, Deadline], Receipt | SendFailure] = Batcher(
            self._send_together, limit=self._limits.batch, in_flight=self._limits.in_flight
        )

    async def publish(self, message: Message, timeout: float | None) -> Receipt:
        """Send one message, together with whatever is being published at the same time."""
        self.validate(message)
        if timeout is None:
            return await self._publish(message, Deadline(self._timeout))
        timeout = self._queue.arguments.duration("publish", "timeout", timeout)
        try:
            return await within(timeout, self._publish, message, Deadline(timeout))
        except TimeoutError as error:
            raise self._failed(message, SendFailure(PublishOutcome.UNKNOWN, error)) from error

    async def publish_many(self, items: Iterable[object], timeout: float | None) -> list[Receipt | PublishError]:
        """Send all; an answer for each, in order."""
        arguments = self._queue.arguments
        arguments.messages(items)
        deadline = Deadline(self._timeout if timeout is None else arguments.duration("publish_many", "timeout", timeout))
        answers: list[Receipt | PublishError] = []
        chunk: list[Message] = []
        places: list[int] = []
        size = 0
        envelope, validate, most, most_bytes = self._queue.message, self.validate, self._limits.batch, self._limits.batch_bytes
        for item in items:
            try:
                message = item if isinstance(item, Message) else envelope(item)
                validate(message)
            except PublishError as error:
                answers.append(error)
                continue
            except UnsupportedError as error:
                refused = self._refused(item if isinstance(item, Message) else None, error.message, ErrorCode.UNSUPPORTED, error.remedy)
                refused.__cause__ = error
                answers.append(refused)
                continue
            length = len(message.body)
            if len(chunk) == most or (most_bytes is not None and chunk and size + length > most_bytes):
                await self._send_chunk(chunk, places, answers, deadline)
                chunk, places, size = [], [], 0
            places.append(len(answers))
            chunk.append(message)
            size += length
            answers.append(_PENDING)
        if chunk:
            await self._send_chunk(chunk, places, answers, deadline)
        return answers

    async def drain(self) -> None:
        """Wait until nothing is under way."""
        await self._batcher.drain()

    def validate(self, message: Message) -> None:
        """Refuse what this provider cannot carry.

        Raises:
            UnsupportedError: It needs a feature that the provider lacks.
            PublishError: It is too large, or not an envelope.
        """
        if (
            message.key is message.dedup_key is message.deliver_at is None
            and not message.headers
            and type(message.body) is bytes
            and (type(message.id) is type(message.content_type) is str and message.id and message.id.isascii())
            and (type(message.created_at) is datetime and message.created_at.tzinfo is not None)
            and (self._largest is None or len(message.body) <= self._largest)
        ):
            return  # the usual case, at the cost of a few comparisons
        why = flaw(message)
        if why is not None:
            raise self._refused(message, why, ErrorCode.INVALID_ARGUMENT, "correct the message")
        if message.key is not None and not self._orders:
            self._queue.need(QueueFeature.ORDERING, "publish without key, or choose a provider with ordering")
        if message.dedup_key is not None and not self._deduplicates:
            self._queue.need(
                QueueFeature.DEDUPLICATION, "publish without dedup_key and use the inbox, or choose a provider with deduplication"
            )
        if message.deliver_at is not None and not self._delays:
            self._queue.need(QueueFeature.DELAY, "publish without delay, or choose a provider with delays")
        if type(message.body) is not bytes:
            raise self._refused(message, f"its body is {type(message.body).__name__}, not bytes", ErrorCode.INVALID_ARGUMENT)
        most = self._largest
        size = len(message.body)
        if message.headers:
            size += sum(len(name) + len(value) for name, value in message.headers.items())
        if most is not None and size > most:
            raise self._refused(
                message,
                f"it has {size} bytes, and {most} is the most here",
                ErrorCode.INVALID_ARGUMENT,
                "store the content and publish its address",
            )

    async def _publish(self, message: Message, deadline: Deadline) -> Receipt:
        attempt, doubted = 0, False
        while True:
            attempt += 1
            outcome = await self._batcher.submit((message, deadline))
            if type(outcome) is Receipt:
                return outcome
            assert isinstance(outcome, SendFailure)
            if outcome.outcome is PublishOutcome.REFUSED or not await self._pause(attempt, deadline):
                raise self._failed(message, outcome, doubted) from outcome.error
            doubted = doubted or outcome.outcome is PublishOutcome.UNKNOWN

    async def _send_together(self, batch: list[tuple[Message, Deadline]]) -> Sequence[Receipt | SendFailure]:
        if len(batch) == 1:
            return await self._send([batch[0][0]], batch[0][1].remaining(self._timeout) or 0.001)
        if self._limits.batch_bytes is not None and sum(len(message.body) for message, _ in batch) > self._limits.batch_bytes:
            return [(await self._send_together([one]))[0] for one in batch]
        longest = max(deadline.remaining(self._timeout) or 0.001 for _, deadline in batch)
        return await self._send([message for message, _ in batch], longest)

    async def _send_chunk(self, chunk: list[Message], places: list[int], answers: list[Receipt | PublishError], deadline: Deadline) -> None:
        attempt, doubted = 0, set[int]()
        while True:
            attempt += 1
            outcomes = await self._send(chunk, max(0.001, deadline.remaining(self._timeout) or 0.0))
            again: list[tuple[Message, int]] = []
            failures: list[SendFailure] = []
            for message, place, outcome in zip(chunk, places, outcomes, strict=True):
                if type(outcome) is Receipt:
                    answers[place] = outcome
                    continue
                assert isinstance(outcome, SendFailure)
                if outcome.outcome is PublishOutcome.REFUSED:
                    answers[place] = self._failed(message, outcome, place in doubted)
                else:
                    again.append((message, place))
                    failures.append(outcome)
            if not again:
                return
            if not await self._pause(attempt, deadline):
                for (message, place), failure in zip(again, failures, strict=True):
                    answers[place] = self._failed(message, failure, place in doubted)
                return
            doubted.update(place for (_, place), failure in zip(again, failures, strict=True) if failure.outcome is PublishOutcome.UNKNOWN)
            chunk, places = [message for message, _ in again], [place for _, place in again]

    async def _send(self, messages: list[Message], timeout: float) -> Sequence[Receipt | SendFailure]:
        try:
            return await self._driver.send(self._name, messages, timeout)
        except Exception as error:
            refused = self._driver.classify(error) in _REFUSING
            return [SendFailure(PublishOutcome.REFUSED if refused else PublishOutcome.UNKNOWN, error)] * len(messages)

    async def _pause(self, attempt: int, deadline: Deadline) -> bool:
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** (attempt - 1)) * (0.5 + random.random())  # noqa: S311
        left = deadline.remaining()
        if attempt >= self._attempts or (left is not None and left <= pause):
            return False
        await sleep(pause)
        return True

    def _failed(self, message: Message, failure: SendFailure, doubted: bool = False) -> PublishError:
        """The error for a message; `doubted` when what became of an earlier attempt is not known, whatever is known of the last one."""
        queue = self._queue
        outcome = PublishOutcome.UNKNOWN if doubted else failure.outcome
        code = queue.driver.classify(failure.error)
        if code is None:
            code = ErrorCode.TIMEOUT if isinstance(failure.error, TimeoutError) else ErrorCode.UNAVAILABLE
        error = PublishError(
            f"{queue.describe(failure.error, 'publish')} (message {message.id}: {outcome})",
            outcome=outcome,
            message_id=message.id,
            code=code,
            resource=queue.name,
            provider=queue.provider,
            operation="publish",
            retryable=failure.outcome is not PublishOutcome.REFUSED,
            remedy=queue.advise(failure.error, code),
        )
        error.__cause__ = failure.error
        return error

    def _refused(self, message: Message | None, why: str, code: ErrorCode, remedy: str | None = None) -> PublishError:
        return self._queue.refused(str(message.id) if message is not None else "", why, code, remedy)


#: Stands in an answer's place until the batch that holds the message was sent.
_PENDING = PublishError("not sent yet", outcome=PublishOutcome.NOT_SENT, message_id="")
