"""Publishing: entries packed into calls, and what became of each."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import ClientError

from infra.errors import ErrorCode
from infra.queue.model import Durability, Message, PublishOutcome, Receipt, SendFailure, now
from infra_sqs.calls import MOST, Answer, Calls
from infra_sqs.envelope import entry
from infra_sqs.failures import Refusal, classify, resent
from infra_sqs.places import Place
from infra_sqs.settings import SQSQueueSettings

#: Seconds of the longest delay that SQS keeps by itself.
LONGEST_DELAY: Final = 900
_DEDUP_WINDOW: Final = 300.0
_PURGE_DEDUP_AT: Final = 10_000
_REFUSING: Final = frozenset(
    {
        ErrorCode.INVALID_ARGUMENT,
        ErrorCode.PERMISSION_DENIED,
        ErrorCode.UNAUTHENTICATED,
        ErrorCode.NOT_FOUND,
        ErrorCode.UNSUPPORTED,
        ErrorCode.CONFIGURATION,
    }
)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message on its way.

    Args:
        place: Its number in the batch that was to be sent.
        message: Its envelope.
        entry: Its entry, without id.
        size: In bytes.
    """

    place: int
    message: Message
    entry: dict[str, Any]
    size: int


class Duplicates:
    """Which message stands for a deduplication key. SQS takes a duplicate in silence, and answers with the number of the first one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, str], tuple[str, str, float]] = {}

    def is_duplicate(self, url: str, message: Message, number: str) -> bool:
        """Whether another message, sent through this driver, has this sequence number."""
        assert message.dedup_key is not None
        clock, key = time.monotonic(), (url, message.dedup_key)
        with self._lock:
            known = self._seen.get(key)
            if known is not None and known[0] == number:
                return known[1] != message.id
            if len(self._seen) >= _PURGE_DEDUP_AT:
                self._seen = {key: one for key, one in self._seen.items() if one[2] > clock}
            self._seen[key] = (number, message.id, clock + _DEDUP_WINDOW)
            return False


class Sender:
    """Sends batches.

    Args:
        calls: Of the driver.
        settings: Of the resource that opened it.
        durability: What the server keeps.
    """

    def __init__(self, calls: Calls, settings: SQSQueueSettings, durability: Durability) -> None:
        self._calls = calls
        self._settings = settings
        self._durability = durability
        self._duplicates = Duplicates()

    def send(self, place: Place, batch: Sequence[Message]) -> list[Receipt | SendFailure]:
        """An answer for each message, in order."""
        answers: list[Receipt | SendFailure | None] = [None] * len(batch)
        ready: list[Outgoing] = []
        for number, message in enumerate(batch):
            try:
                ready.append(self._outgoing(place, number, message))
            except Refusal as error:
                answers[number] = SendFailure(PublishOutcome.REFUSED, error)
        parts = pack(ready, self._settings.batch_bytes)
        if place.fifo:
            self._send_in_order(place, parts, answers)
        elif parts:
            for part, done in zip(parts, self._calls.together([lambda part=part: self._call(place, part) for part in parts]), strict=True):
                self._note(place, part, done, answers)
        return [answer for answer in answers if answer is not None]

    def _outgoing(self, place: Place, number: int, message: Message) -> Outgoing:
        made, size = entry(message, place.fifo, place.largest, group=group_of(message, place, self._settings))
        if (seconds := seconds_until(message)) > 0:
            if place.fifo:
                raise Refusal(ErrorCode.UNSUPPORTED, "a FIFO queue of SQS cannot delay a single message")
            made["DelaySeconds"] = min(seconds, LONGEST_DELAY)
        return Outgoing(number, message, made, size)

    def _send_in_order(self, place: Place, parts: Sequence[list[Outgoing]], answers: list[Receipt | SendFailure | None]) -> None:
        """One call after the other; what follows a message that failed for now, in its group, waits for its next attempt."""
        held: set[str] = set()
        for part in parts:
            going = [one for one in part if one.entry["MessageGroupId"] not in held]
            for one in part:
                if one.entry["MessageGroupId"] in held:
                    reason = Refusal(ErrorCode.UNAVAILABLE, "an earlier message of its group was not sent")
                    answers[one.place] = SendFailure(PublishOutcome.NOT_SENT, reason)
            if going:
                self._note(place, going, self._call(place, going), answers)
            for one in going:
                answer = answers[one.place]
                if isinstance(answer, SendFailure) and answer.outcome is not PublishOutcome.REFUSED:
                    held.add(one.entry["MessageGroupId"])

    def _call(self, place: Place, part: Sequence[Outgoing]) -> list[Answer]:
        answers = self._calls.batch("SendMessageBatch", place.url, [one.entry for one in part])
        first = answers[0]
        if isinstance(first, BaseException) and len(part) > 1 and all(answer is first for answer in answers):
            alone = classify(first) is ErrorCode.INVALID_ARGUMENT  # some servers refuse all for the sake of one
        else:
            alone = False
        if alone:
            return [answer for one in part for answer in self._calls.batch("SendMessageBatch", place.url, [one.entry])]
        return answers

    def _note(self, place: Place, part: Sequence[Outgoing], done: Sequence[Answer], answers: list[Receipt | SendFailure | None]) -> None:
        for one, answer in zip(part, done, strict=True):
            if isinstance(answer, BaseException):
                answers[one.place] = SendFailure(outcome(answer), answer)
                continue
            number = answer.get("SequenceNumber")
            message = one.message
            duplicate = message.dedup_key is not None and bool(number) and self._duplicates.is_duplicate(place.url, message, str(number))
            answers[one.place] = Receipt(message.id, self._durability, duplicate)


def group_of(message: Message, place: Place, settings: SQSQueueSettings) -> str | None:
    """The group in a FIFO queue of a message that is published; None for the usual one."""
    return message.key or settings.default_group or (message.dedup_key if place.by_group else None)


def pack(ready: Sequence[Outgoing], most_bytes: int) -> list[list[Outgoing]]:
    """Calls of up to ten messages and so many bytes, in order."""
    parts: list[list[Outgoing]] = []
    size = 0
    for one in ready:
        if not parts or len(parts[-1]) == MOST or size + one.size > most_bytes:
            parts.append([])
            size = 0
        parts[-1].append(one)
        size += one.size
    return parts


def seconds_until(message: Message) -> int:
    """Whole seconds until a message is due."""
    return 0 if message.deliver_at is None else math.ceil((message.deliver_at - now()).total_seconds())


def outcome(error: BaseException) -> PublishOutcome:
    """What is known of a message whose sending failed."""
    code = classify(error)
    if code in _REFUSING:
        return PublishOutcome.REFUSED
    # Throttled means not taken, unless the SDK has sent it before and lost the answer.
    if code is ErrorCode.RATE_LIMITED and isinstance(error, ClientError) and not resent(error):
        return PublishOutcome.NOT_SENT
    return PublishOutcome.UNKNOWN
