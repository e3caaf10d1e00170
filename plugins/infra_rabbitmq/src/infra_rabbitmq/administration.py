"""What looks after a queue: its numbers, its dead letters."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from typing import Any, cast

from pika import BasicProperties, spec
from pika.channel import Channel

from infra.queue.model import DeadLetter, Receipt
from infra_rabbitmq import topology
from infra_rabbitmq.envelope import dead_letter, envelope, properties
from infra_rabbitmq.errors import BrokerError
from infra_rabbitmq.link import Link, Step
from infra_rabbitmq.publisher import Outgoing, Publisher
from infra_rabbitmq.topology import dead_queue

Found = tuple[int, BasicProperties, bytes]
_MOST = 1_000_000
_SCANNED = 65535  # messages that one consumer may hold
_QUIET = 0.5  # seconds after which a queue has brought all that it has


def ready(*queues: str) -> Callable[[Channel], Generator[Step, Any, int]]:
    """How many messages of `queues` are ready."""

    def steps(channel: Channel) -> Generator[Step, Any, int]:
        count = 0
        for queue in queues:
            frame = yield lambda done, queue=queue: channel.queue_declare(queue, passive=True, callback=done)
            count += frame.method.message_count
        return count

    return steps


def purge(*queues: str) -> Callable[[Channel], Generator[Step, Any, int]]:
    """Delete what is ready; how many it was."""

    def steps(channel: Channel) -> Generator[Step, Any, int]:
        count = 0
        for queue in queues:
            frame = yield lambda done, queue=queue: channel.queue_purge(queue, callback=done)
            count += frame.method.message_count
        return count

    return steps


def purge_delayed(link: Link, queue: str) -> Callable[[Channel], Generator[Step, Any, int]]:
    """Delete what waits for `queue` in the ladder; how many it was. Messages of other queues are held meanwhile, and given back."""

    def steps(channel: Channel) -> Generator[Step, Any, int]:
        count = held = 0
        yield lambda done: channel.basic_qos(prefetch_count=_SCANNED, callback=done)
        while True:
            found: list[tuple[int, str]] = yield lambda done: _look_through(link, channel, topology.rungs(), done)
            for tag, routing_key in found:
                if topology.is_for(queue, routing_key):
                    channel.basic_ack(tag)
                    count += 1
                else:
                    held += 1
            if len(found) < _SCANNED:
                break
        yield from _put_back(channel, held)
        frame = yield lambda done: channel.queue_purge(topology.due_queue(queue), callback=done)
        return count + frame.method.message_count

    return steps


def _look_through(link: Link, channel: Channel, queues: Sequence[str], done: Callable[[Any], None]) -> None:
    """Take what is in `queues`, as far as the channel does not hold it already: tags and routing keys.

    All at once, so that what goes from one to another meanwhile is seen as well. Counts are 0 where the broker is busy.
    """
    found: list[tuple[int, str]] = []
    consumers: list[str] = []
    timer: object = None
    left = len(queues)

    def came(_channel: object, method: Any, _properties: object, _body: bytes) -> None:
        found.append((method.delivery_tag, method.routing_key))
        wait()

    def accepted(_: object) -> None:
        nonlocal left
        left -= 1
        wait()

    def wait() -> None:
        nonlocal timer
        if timer is not None:
            link.forget(timer)
        timer = None if left else link.later(_QUIET, end)

    def end() -> None:
        nonlocal left
        left = len(consumers)
        for consumer in consumers if channel.is_open else ():
            channel.basic_cancel(consumer, callback=ended)
            cast("Any", channel)._cancelled.discard(consumer)  # what still comes is to be looked at as well

    def ended(_: object) -> None:
        nonlocal left
        left -= 1
        if not left:
            done(found)

    consumers += [channel.basic_consume(queue, came, callback=accepted) for queue in queues]


def dead_letters(queue: str, most: int) -> Callable[[Channel], Generator[Step, Any, list[DeadLetter]]]:
    """The oldest dead letters; they go back when the channel closes."""

    def steps(channel: Channel) -> Generator[Step, Any, list[DeadLetter]]:
        taken = yield from _take(channel, dead_queue(queue), most)
        yield from _put_back(channel, len(taken))
        return [dead_letter(found, body) for _, found, body in taken]

    return steps


def redrive(
    link: Link, publisher: Publisher, queue: str, ids: Sequence[str] | None, most: int, timeout: float
) -> Callable[[Channel], Generator[Step, Any, int]]:
    """Publish dead letters as new messages, and delete those whose copy is confirmed."""

    def steps(channel: Channel) -> Generator[Step, Any, int]:
        wanted = None if ids is None else set(ids)
        found = yield from _take(channel, dead_queue(queue), most if wanted is None else _MOST)
        chosen: list[tuple[int, Outgoing]] = []
        for tag, head, body in found:
            message = envelope(head, body)
            if (wanted is None or message.id in wanted) and len(chosen) < most:
                place = publisher.layout.place(queue, message.key)
                chosen.append((tag, Outgoing(place, message.id, properties(message), body, ordered=place != queue)))
        failure: BrokerError | None = None
        moved = 0
        if chosen:
            sending = publisher.send([message for _, message in chosen], timeout)

            def wait(done: Callable[[Any], None]) -> None:
                def sent(future: Future[Any]) -> None:
                    link.call(lambda: done(future.result()))

                sending.add_done_callback(sent)

            answers = yield wait
            for (tag, _), answer in zip(chosen, answers, strict=True):
                if isinstance(answer, Receipt):
                    channel.basic_ack(tag)
                    moved += 1
                else:
                    failure = answer.error
        yield from _put_back(channel, len(found) - moved)
        if failure is not None and not moved:
            raise failure
        return moved

    return steps


def _take(channel: Channel, queue: str, most: int) -> Generator[Step, Any, list[Found]]:
    """Up to `most` messages from the head of `queue`, held by the channel."""
    answer: list[Callable[[Any], None]] = []

    def empty(_: object) -> None:
        answer[-1](None)

    channel.add_callback(empty, [spec.Basic.GetEmpty], one_shot=False)  # pyright: ignore[reportUnknownMemberType]
    found: list[Found] = []
    for _ in range(most):

        def get(done: Callable[[Any], None]) -> None:
            answer[:] = [done]
            channel.basic_get(queue, lambda _, method, head, body: done((method.delivery_tag, head, body)))

        one = yield get
        if one is None:
            break
        found.append(one)
    return found


def _put_back(channel: Channel, count: int) -> Generator[Step, Any, None]:
    """Return what the channel still holds, and wait until the broker has heard of it."""
    if count:
        channel.basic_nack(0, multiple=True, requeue=True)
        yield lambda done: channel.basic_qos(prefetch_count=0, callback=done)
