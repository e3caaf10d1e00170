"""Settling: deletions, changes of visibility, and copies for what must live on elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final

from botocore.exceptions import ClientError

from infra.errors import ErrorCode
from infra.queue.model import Ack, Action, Dead, Extend, Message, Retry, Settled, now
from infra_sqs.calls import Answer, Calls, Operation
from infra_sqs.envelope import RESERVED, entry
from infra_sqs.failures import Refusal, is_lost
from infra_sqs.inbox import Held, Token
from infra_sqs.places import Place, Places
from infra_sqs.polling import Poller
from infra_sqs.sending import LONGEST_DELAY, Outgoing, pack, seconds_until
from infra_sqs.settings import SQSQueueSettings

#: Seconds that SQS lends a message, from when it was received.
LONGEST_LEASE: Final = 43200
_LONGEST_REASON: Final = 2000


@dataclass(slots=True)
class _Batch:
    """What one call of `settle` has to do.

    Args:
        answers: For each settlement.
        deletions: Number of the settlement, and its message.
        changes: The same with the seconds; without number for those that wait behind a message.
        copies: What is sent elsewhere, before the original is deleted.
        staying: Numbers of the retries that wait here.
    """

    answers: list[Settled | BaseException]
    deletions: list[tuple[int, Held]] = field(default_factory=list[tuple[int, Held]])
    changes: list[tuple[int | None, Held, int]] = field(default_factory=list[tuple[int | None, Held, int]])
    copies: dict[str, list[Outgoing]] = field(default_factory=dict[str, list[Outgoing]])
    staying: set[int] = field(default_factory=set[int])


class Settler:
    """Settles deliveries.

    Args:
        calls: Of the driver.
        places: Of the driver.
        settings: Of the resource that opened it.
    """

    def __init__(self, calls: Calls, places: Places, settings: SQSQueueSettings) -> None:
        self._calls = calls
        self._places = places
        self._settings = settings

    def settle(self, place: Place, poller: Poller, batch: Sequence[tuple[object, Action]]) -> list[Settled | BaseException]:
        """An answer for each, in order."""
        todo = _Batch([Settled.LOST] * len(batch))
        held: list[Held] = []
        for number, (token, action) in enumerate(batch):
            assert isinstance(token, Token)
            held.append(token.held)
            if not token.holds():
                if token.held.serial == token.serial:
                    poller.lost(token.held)
                continue
            try:
                self._plan(place, poller, todo, number, token.held, action)
            except Exception as error:
                todo.answers[number] = error
        for url, copies in todo.copies.items():
            for number in self._copy(url, copies, todo):
                todo.deletions.append((number, held[number]))
        started = time.monotonic()
        deleted = self._run("DeleteMessageBatch", place, [{"ReceiptHandle": one.receipt} for _, one in todo.deletions])
        changed = self._run(
            "ChangeMessageVisibilityBatch",
            place,
            [{"ReceiptHandle": one.receipt, "VisibilityTimeout": seconds} for _, one, seconds in todo.changes],
        )
        for (number, one), answer in zip(todo.deletions, deleted, strict=True):
            todo.answers[number] = self._settled(poller, one, answer)
            if todo.answers[number] is Settled.DONE:
                poller.settled(one)
        for (number, one, seconds), answer in zip(todo.changes, changed, strict=True):
            settled = self._settled(poller, one, answer)
            if settled is Settled.DONE:
                one.ends = started + seconds
            if number is not None:
                todo.answers[number] = settled
                action = batch[number][1]
                if settled is Settled.DONE and isinstance(action, Retry):
                    if number in todo.staying:
                        one.message = replace(one.message, attempt=one.message.attempt + 1)
                        poller.retried(one, action.delay)
                    else:
                        poller.returned(one)
        return todo.answers

    def extend(self, place: Place, poller: Poller, line: Sequence[Held], lease: int) -> None:
        """Give messages, and those that wait behind them, a new lease; those whose lease is lost are forgotten."""
        started = time.monotonic()
        together = [one for held in line for one in (held, *poller.behind(held))]
        entries = [{"ReceiptHandle": one.receipt, "VisibilityTimeout": self._capped(one, lease)} for one in together]
        for one, answer in zip(together, self._run("ChangeMessageVisibilityBatch", place, entries), strict=True):
            if self._settled(poller, one, answer) is Settled.DONE:
                one.ends, one.lease = started + lease, lease

    def give_back(self, place: Place, line: Sequence[Held]) -> None:
        """Make messages visible, as well as that goes: their leases end anyway."""
        clock = time.monotonic()
        entries = [
            {"ReceiptHandle": one.receipt, "VisibilityTimeout": max(0, math.ceil(one.due - clock) if one.due else 0)} for one in line
        ]
        self._run("ChangeMessageVisibilityBatch", place, entries)

    def _plan(self, place: Place, poller: Poller, todo: _Batch, number: int, held: Held, action: Action) -> None:
        match action:
            case Ack():
                todo.deletions.append((number, held))
            case Extend(seconds):
                lease = self._capped(held, max(1, math.ceil(seconds)))
                todo.changes.append((number, held, lease))
                todo.changes += [(None, one, lease) for one in poller.behind(held)]
            case Dead(reason):
                copy, url = self._dead(place, held, reason), self._places.dead_url(place)
                todo.copies.setdefault(url, []).append(replace(copy, place=number))
            case Retry(delay, counted):
                self._plan_retry(place, poller, todo, number, held, delay, counted)

    def _plan_retry(self, place: Place, poller: Poller, todo: _Batch, number: int, held: Held, delay: float, counted: bool) -> None:
        behind = poller.behind(held)
        left = LONGEST_LEASE - math.ceil(time.monotonic() - held.since) - 1
        if behind and counted and delay + held.lease <= left:
            # It waits here, and the others with it: given back, each of them would be delivered once more for nothing.
            seconds = math.ceil(delay + held.lease)
            todo.staying.add(number)
            todo.changes += [(number, held, seconds), *((None, one, seconds) for one in behind)]
        elif (counted or delay <= 0) and delay <= left:
            todo.changes += [(number, held, math.ceil(delay)), *((None, one, 0) for one in behind)]
        elif place.fifo:
            raise Refusal(ErrorCode.UNSUPPORTED, f"a FIFO queue of SQS keeps a delivery for {LONGEST_LEASE} seconds at most")
        else:
            message = replace(held.message, attempt=held.message.attempt - (not counted))
            if counted or message.deliver_at is None:
                message = replace(message, deliver_at=now() + timedelta(seconds=delay))
            todo.copies.setdefault(place.url, []).append(replace(self._hop(place, message), place=number))

    def _hop(self, place: Place, message: Message) -> Outgoing:
        """A copy that waits as long as SQS lets a message wait; its deliveries so far are in it."""
        made, size = entry(message, place.fifo, place.largest + RESERVED)
        made["DelaySeconds"] = min(max(1, seconds_until(message)), LONGEST_DELAY)
        return Outgoing(0, message, made, size)

    def _dead(self, place: Place, held: Held, reason: str) -> Outgoing:
        died_at = now().isoformat()
        for text in (reason[:_LONGEST_REASON], reason[:60], ""):
            try:
                made, size = entry(
                    held.message,
                    place.fifo,
                    place.largest + RESERVED,
                    dedup=f"{held.sqs_id}-dead",  # the message's own id was used when it was published
                    group=held.sqs_id,  # nobody waits for anybody there
                    reason=text,
                    died_at=died_at,
                )
                return Outgoing(0, held.message, made, size)
            except Refusal as error:
                failed = error
        raise failed

    def _copy(self, url: str, copies: Sequence[Outgoing], todo: _Batch) -> list[int]:
        """Send copies; the numbers of those that arrived."""
        parts = pack(copies, self._settings.batch_bytes)
        arrived: list[int] = []
        calls = self._calls
        done = calls.together([lambda part=part: calls.batch("SendMessageBatch", url, [one.entry for one in part]) for part in parts])
        for part, answers in zip(parts, done, strict=True):
            for one, answer in zip(part, answers, strict=True):
                if isinstance(answer, BaseException):
                    todo.answers[one.place] = answer
                else:
                    arrived.append(one.place)
        return arrived

    def _run(self, operation: Operation, place: Place, entries: Sequence[dict[str, Any]]) -> list[Answer]:
        return self._calls.batches(operation, place.url, entries) if entries else []

    @staticmethod
    def _settled(poller: Poller, held: Held, answer: Answer) -> Settled | BaseException:
        if not isinstance(answer, BaseException):
            return Settled.DONE
        if isinstance(answer, ClientError) and is_lost(answer):
            poller.lost(held)
            return Settled.LOST
        return answer

    @staticmethod
    def _capped(held: Held, seconds: int) -> int:
        return max(0, min(seconds, LONGEST_LEASE - math.ceil(time.monotonic() - held.since) - 1))
