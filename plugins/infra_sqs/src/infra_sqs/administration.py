"""Looking after queues: numbers, dead letters, emptying."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from infra.errors import ErrorCode
from infra.queue.model import DeadLetter, Message, QueueStats
from infra_sqs.calls import Calls, failure, succeeded
from infra_sqs.client import Clients
from infra_sqs.envelope import RESERVED, dead_letter, entry
from infra_sqs.failures import Refusal
from infra_sqs.places import Place, Places
from infra_sqs.sending import Outgoing, group_of, pack
from infra_sqs.settings import SQSQueueSettings

SYSTEM_ATTRIBUTES: Final = ("ApproximateReceiveCount", "SentTimestamp", "MessageGroupId")
_READY: Final = "ApproximateNumberOfMessages"
_DELAYED: Final = "ApproximateNumberOfMessagesDelayed"
_HELD: Final = "ApproximateNumberOfMessagesNotVisible"
_SLACK: Final = 30  # seconds beyond a call's timeout during which what it looks at is nobody else's
_MOST: Final = 10
_WAIT: Final = 1  # a poll without wait asks only some of the servers

Found = Mapping[str, Any]


class Administration:
    """What only SQS does in this way: looking at messages takes them for a while.

    Args:
        clients: Of the driver.
        calls: Of the driver.
        places: Of the driver.
        settings: Of the resource that opened it.
    """

    def __init__(self, clients: Clients, calls: Calls, places: Places, settings: SQSQueueSettings) -> None:
        self._clients = clients
        self._calls = calls
        self._places = places
        self._settings = settings

    def stats(self, place: Place) -> QueueStats:
        """Numbers of messages, as SQS estimates them."""
        found = self._numbers(place.url, _READY, _DELAYED, _HELD)
        try:
            dead = self._numbers(self._places.dead_url(place), _READY)[_READY]
        except Refusal:
            dead = None
        return QueueStats(ready=found[_READY], delayed=found[_DELAYED], in_flight=found[_HELD], dead=dead, approximate=True)

    def dead_letters(self, place: Place, most: int, timeout: float) -> list[DeadLetter]:
        """Up to `most` dead letters, the oldest of those that SQS gave first."""
        url, deadline = self._places.dead_url(place), time.monotonic() + timeout
        found: list[Found] = []
        try:
            for some in self._take(url, most, timeout):
                found += some
                if len(found) >= most or time.monotonic() > deadline:
                    break
        finally:
            self._put_back(url, found)
        return sorted((dead_letter(one, place.fifo) for one in found), key=lambda letter: letter.died_at)[:most]

    def redrive(self, place: Place, ids: Sequence[str] | None, most: int, timeout: float) -> int:
        """Send dead letters back as new, and delete those whose copy arrived."""
        url, deadline = self._places.dead_url(place), time.monotonic() + timeout
        wanted = None if ids is None else set(ids)
        others: list[Found] = []
        moved = 0
        try:
            for some in self._take(url, most if wanted is None else None, timeout):
                letters = {one["ReceiptHandle"]: dead_letter(one, place.fifo).message for one in some}
                chosen = [one for one in some if wanted is None or letters[one["ReceiptHandle"]].id in wanted][: most - moved]
                going = {one["ReceiptHandle"] for one in chosen}
                others += [one for one in some if one["ReceiptHandle"] not in going]
                moved += self._move(place, url, chosen, [letters[one["ReceiptHandle"]] for one in chosen], others)
                if wanted is not None and moved >= len(wanted):
                    break
                if moved >= most:
                    break
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{moved} dead letters are redriven, and there may be more")
        finally:
            self._put_back(url, others)
        return moved

    def purge(self, place: Place, dead: bool, timeout: float) -> int:
        """Receive and delete until there is nothing: SQS's own purge takes what is held, and does not say how many it was."""
        url, deadline = self._places.dead_url(place) if dead else place.url, time.monotonic() + timeout
        count = 0
        for some in self._take(url, None, timeout):
            answers = self._calls.batch("DeleteMessageBatch", url, [{"ReceiptHandle": one["ReceiptHandle"]} for one in some])
            count += sum(map(succeeded, answers))
            failed = [answer for answer in answers if not succeeded(answer)]
            if failed:
                raise failure(failed[0])
            if time.monotonic() > deadline:
                raise TimeoutError(f"{count} messages are deleted, and there may be more")
        return count

    def _numbers(self, url: str, *wanted: str) -> dict[str, int]:
        found = self._clients.main().get_queue_attributes(QueueUrl=url, AttributeNames=list(wanted)).get("Attributes", {})
        return {name: int(found.get(name, 0)) for name in wanted}

    def _take(self, url: str, most: int | None, timeout: float) -> Iterator[Sequence[Found]]:
        """Messages, ten at a time, until there are none, or none that were not here before; no more than `most`."""
        seen: set[str] = set()
        while most is None or len(seen) < most:
            found: Sequence[Found] = (
                self._clients.receiving()
                .receive_message(
                    QueueUrl=url,
                    MaxNumberOfMessages=_MOST if most is None else min(_MOST, most - len(seen)),
                    VisibilityTimeout=int(timeout) + _SLACK,
                    WaitTimeSeconds=_WAIT,
                    MessageAttributeNames=["All"],
                    MessageSystemAttributeNames=list(SYSTEM_ATTRIBUTES),
                )
                .get("Messages", ())
            )
            new = [one for one in found if one["MessageId"] not in seen]
            if not new:
                return
            seen.update(one["MessageId"] for one in new)
            yield new

    def _put_back(self, url: str, found: Sequence[Found]) -> None:
        if found:
            self._calls.batches(
                "ChangeMessageVisibilityBatch", url, [{"ReceiptHandle": one["ReceiptHandle"], "VisibilityTimeout": 0} for one in found]
            )

    def _move(self, place: Place, url: str, chosen: Sequence[Found], messages: Sequence[Message], others: list[Found]) -> int:
        """Send copies, delete the originals of those that arrived, and add what failed to `others`; how many arrived."""
        going: list[Outgoing] = []
        for number, (one, message) in enumerate(zip(chosen, messages, strict=True)):
            made, size = entry(
                replace(message, attempt=0, deliver_at=None),
                place.fifo,
                place.largest + RESERVED,
                group=group_of(message, place, self._settings),
                dedup=f"{one['MessageId']}-redriven",  # its own may have been used within the window
            )
            going.append(Outgoing(number, message, made, size))
        sent: list[Found] = []
        failed: list[BaseException] = []
        for part in pack(going, self._settings.batch_bytes):
            for one, answer in zip(part, self._calls.batch("SendMessageBatch", place.url, [one.entry for one in part]), strict=True):
                if isinstance(answer, BaseException):
                    failed.append(answer)
                    others.append(chosen[one.place])
                else:
                    sent.append(chosen[one.place])
        if sent:
            self._calls.batch("DeleteMessageBatch", url, [{"ReceiptHandle": one["ReceiptHandle"]} for one in sent])
        if failed and not sent:
            raise failed[0]
        return len(sent)


def refused_peek() -> Refusal:
    """There is no looking without taking."""
    return Refusal(ErrorCode.UNSUPPORTED, "a look at the queue would count as a delivery")
