"""What settling takes in the main queue and in a shard alike."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, Final

from infra.errors import ErrorCode
from infra.queue.model import Message, PublishOutcome, QueueSpec, SendFailure, now
from infra_rabbitmq import topology
from infra_rabbitmq.envelope import properties
from infra_rabbitmq.errors import BrokerError
from infra_rabbitmq.link import Link
from infra_rabbitmq.publisher import Answer, Outgoing, Publisher

_COPY_TIMEOUT: Final = 10.0


def acknowledge(channel: Any, outstanding: Iterable[int], tags: Collection[int]) -> None:
    """Acknowledge `tags`: with one frame as far as nothing before is open, one by one beyond.

    Args:
        channel: Where they came.
        outstanding: All delivery tags of the channel that are open, in order.
        tags: Some of them.
    """
    done = set(tags)
    prefix: list[int] = []
    for tag in outstanding:
        if tag not in done:
            break
        prefix.append(tag)
    if prefix:
        channel.basic_ack(prefix[-1], multiple=len(prefix) > 1)
        done.difference_update(prefix)
    for tag in sorted(done):
        channel.basic_ack(tag)


def send_copies(publisher: Publisher, link: Link, copies: Sequence[Outgoing], done: Callable[[list[Answer]], None]) -> None:
    """Publish `copies`; `done` gets the answers, in the thread of `link`. A queue that is missing is made, where the copy says how."""

    def send(line: Sequence[Outgoing], then: Callable[[list[Answer]], None]) -> None:
        sending = publisher.send(line, _COPY_TIMEOUT)

        def confirmed(future: Future[list[Answer]]) -> None:
            answers = future.result()
            try:
                link.call(lambda: then(answers))
            except BrokerError:
                then(answers)

        sending.add_done_callback(confirmed)

    def sent(answers: list[Answer]) -> None:
        missing = [place for place, answer in enumerate(answers) if copies[place].make is not None and _is_missing(answer)]
        if not missing:
            done(answers)
            return

        def made(_: object, error: BrokerError | None) -> None:
            if error is not None:
                done([SendFailure(PublishOutcome.REFUSED, error) if place in missing else answer for place, answer in enumerate(answers)])
            else:
                again = [replace(copies[place], make=None, batch=None, returned=None) for place in missing]
                send(again, lambda late: done(_put(answers, missing, late)))

        make = copies[missing[0]].make  # all of one call are copies from one queue
        assert make is not None
        link.perform(make, made)

    send(copies, sent)


def _is_missing(answer: Answer) -> bool:
    return isinstance(answer, SendFailure) and isinstance(answer.error, BrokerError) and answer.error.code is ErrorCode.NOT_FOUND


def _put(answers: list[Answer], places: Sequence[int], late: Sequence[Answer]) -> list[Answer]:
    for place, answer in zip(places, late, strict=True):
        answers[place] = answer
    return answers


def dead_copy(spec: QueueSpec, layout: topology.Layout, message: Message, reason: str) -> Outgoing:
    """The dead letter of a message of a queue."""
    letter = properties(message, message.attempt, reason=reason, died_at=now())
    make = None if spec.topology == "none" else topology.dead(spec.name, layout)
    return Outgoing(topology.dead_queue(spec.name), message.id, letter, message.body, make=make)
