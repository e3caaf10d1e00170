"""What settling takes in the main queue and in a shard alike."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future
from typing import Any, Final

from infra.queue.model import Message, now
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
    """Publish `copies`; `done` gets the answers, in the thread of `link`."""
    sending = publisher.send(copies, _COPY_TIMEOUT)

    def confirmed(future: Future[list[Answer]]) -> None:
        answers = future.result()
        try:
            link.call(lambda: done(answers))
        except BrokerError:
            done(answers)

    sending.add_done_callback(confirmed)


def dead_copy(queue: str, message: Message, reason: str) -> Outgoing:
    """The dead letter of a message of `queue`."""
    letter = properties(message, message.attempt, reason=reason, died_at=now())
    return Outgoing(topology.dead_queue(queue), message.id, letter, message.body)
