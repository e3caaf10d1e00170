"""The queue driver of SQS, standard and FIFO. asyncio hosts get it over a pool of threads."""

from __future__ import annotations

import math
import threading
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Final

from infra.driver import Cause
from infra.errors import ErrorCode
from infra.plugin import OpenContext
from infra.queue.model import (
    Action,
    DeadLetter,
    Durability,
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
from infra_sqs import names
from infra_sqs.administration import SYSTEM_ATTRIBUTES, Administration, refused_peek
from infra_sqs.calls import MOST, Calls
from infra_sqs.client import MOST_POLLS, Clients
from infra_sqs.envelope import RESERVED, envelope, received_before, system_attributes
from infra_sqs.failures import classify, explain
from infra_sqs.inbox import Held, Token
from infra_sqs.places import Place, Places
from infra_sqs.polling import Poller
from infra_sqs.sending import LONGEST_DELAY, Sender
from infra_sqs.settings import SQSQueueSettings
from infra_sqs.settling import LONGEST_LEASE, Settler

_BOTH: Final = frozenset(
    {
        QueueFeature.RETRY_DELAY,
        QueueFeature.EXTEND,
        QueueFeature.DURABLE,
        QueueFeature.SHARED,
        QueueFeature.DEAD_LETTERS,
        QueueFeature.PURGE,
    }
)
_STANDARD: Final = _BOTH | {QueueFeature.DELAY}
_FIFO: Final = _BOTH | {QueueFeature.ORDERING, QueueFeature.DEDUPLICATION}
#: A lease of which less is left is renewed before its message is handed out.
_ENOUGH: Final = 0.8


class SQSQueueDriver:
    """Queues of one kind, standard or FIFO; the contracts are those of `infra.queue.driver.QueueDriver`.

    Args:
        settings: The validated settings.
        context: Where it is opened.
        client: A client of the host's own, to use instead of those made from the settings. It is not closed.
    """

    def __init__(self, settings: SQSQueueSettings, context: OpenContext, client: Any = None) -> None:
        fifo = settings.fifo
        self.features = frozenset(map(str, _FIFO if fifo else _STANDARD))
        self.limits = QueueLimits(
            purges_delayed=False,
            batch=MOST * settings.parallel,
            in_flight=1 if fifo else settings.parallel,  # two batches of one group could overtake each other
            message_bytes=settings.batch_bytes - RESERVED,
            delay=None if fifo else LONGEST_DELAY,
            lease=LONGEST_LEASE,
        )
        self._clients = Clients(settings, context, client)
        self._places = Places(self._clients, settings)
        self._calls = Calls(self._clients, settings.parallel)
        amazon = settings.endpoint is None or names.on_amazon(settings.endpoint)
        self._sender = Sender(self._calls, settings, Durability.REPLICATED if amazon else Durability.PROCESS)
        self._settler = Settler(self._calls, self._places, settings)
        self._administration = Administration(self._clients, self._calls, self._places, settings)
        self._lock = threading.Lock()
        self._polls = ThreadPoolExecutor(MOST_POLLS, thread_name_prefix=f"infra-{context.resource}-polls")
        self._pollers: dict[str, Poller] = {}
        self._closed = False

    # -- what every driver has

    def classify(self, error: BaseException) -> ErrorCode | None:
        """See `infra_sqs.failures`."""
        return classify(error)

    def explain(self, error: BaseException) -> Cause | None:
        """See `Explains`."""
        return explain(error)

    def unwrap(self) -> Sequence[object]:
        """The SDK's client."""
        return (self._clients.main(),)

    def ping(self, timeout: float) -> None:  # noqa: ARG002 (the probe has a short timeout of its own)
        """Ask for a queue that is known, else for any."""
        probe, url = self._clients.probe(), self._places.known()
        if url is None:
            probe.list_queues(MaxResults=1)
        else:
            probe.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])

    def close(self, timeout: float) -> None:
        """Let the polls under way end, and give back what they bring."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            pollers = list(self._pollers.values())
        deadline = time.monotonic() + timeout
        for poller in pollers:
            poller.interrupt()
        for poller in pollers:
            poller.close(max(0.0, deadline - time.monotonic()))
        self._polls.shutdown(wait=False)
        self._calls.close()
        self._clients.close()

    # -- messages

    def declare(self, spec: QueueSpec, timeout: float) -> None:  # noqa: ARG002 (the SDK's timeouts are the clients')
        """See `QueueDriver`, as with all methods here."""
        self._places.declare(spec)

    def send(self, queue: str, batch: Sequence[Message], timeout: float) -> Sequence[Receipt | SendFailure]:  # noqa: ARG002
        """Publish all messages, ten a call."""
        return self._sender.send(self._places.get(queue), batch)

    def receive(self, queue: str, most: int, wait: float, lease: float) -> Sequence[Received]:
        """Take messages; `wait` and `lease` are rounded up to whole seconds."""
        whole = min(LONGEST_LEASE, max(1, math.ceil(lease)))
        place, poller = self._places.get(queue), self._poller(queue)
        taken = poller.receive(most, wait, whole)
        soon = time.monotonic() + _ENOUGH * whole
        if short := [held for held in taken if held.ends < soon]:
            self._settler.extend(place, poller, short, whole)
        return [Received(held.message, Token(held, held.serial)) for held in taken if held.serial > 0]

    def interrupt(self, queue: str) -> None:
        """Let waiting receives return; their polls go on, for the next receive or for nobody."""
        poller = self._pollers.get(queue)
        if poller is not None:
            poller.interrupt()

    def settle(self, queue: str, batch: Sequence[tuple[object, Action]], timeout: float) -> Sequence[Settled | BaseException]:  # noqa: ARG002
        """Settle deliveries, ten a call."""
        return self._settler.settle(self._places.get(queue), self._poller(queue), batch)

    # -- looking after them

    def stats(self, queue: str, timeout: float) -> QueueStats:  # noqa: ARG002
        """Numbers of messages, as SQS estimates them."""
        return self._administration.stats(self._places.get(queue))

    def peek(self, queue: str, most: int, timeout: float) -> Sequence[Message]:  # noqa: ARG002
        """Not a feature."""
        raise refused_peek()

    def dead_letters(self, queue: str, most: int, timeout: float) -> Sequence[DeadLetter]:
        """Dead letters, taken for a moment and put back."""
        return self._administration.dead_letters(self._places.get(queue), most, timeout)

    def redrive(self, queue: str, ids: Sequence[str] | None, most: int, timeout: float) -> int:
        """Put dead letters back as new."""
        return self._administration.redrive(self._places.get(queue), ids, most, timeout)

    def purge(self, queue: str, dead: bool, timeout: float) -> int:
        """Delete messages or dead letters."""
        return self._administration.purge(self._places.get(queue), dead, timeout)

    # -- inside

    def _poller(self, queue: str) -> Poller:
        poller = self._pollers.get(queue)
        if poller is None:
            place = self._places.get(queue)
            with self._lock:
                poller = self._pollers.get(queue)
                if poller is None:
                    poller = self._pollers[queue] = Poller(
                        lambda most, wait, lease: self._fetch(place, most, wait, lease),
                        lambda line: self._settler.give_back(place, line),
                        self._polls,
                        self._calls.later,
                        fifo=place.fifo,
                        most_polls=MOST_POLLS,
                    )
        return poller

    def _fetch(self, place: Place, most: int, wait: int, lease: int) -> list[Held]:
        attempt = {"ReceiveRequestAttemptId": uuid.uuid4().hex} if place.fifo else {}  # what an answer that was lost held comes again
        answer = self._clients.receiving().receive_message(
            QueueUrl=place.url,
            MaxNumberOfMessages=most,
            WaitTimeSeconds=wait,
            VisibilityTimeout=lease,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=list(SYSTEM_ATTRIBUTES),
            **attempt,
        )
        since = time.monotonic()
        held: list[Held] = []
        for found in answer.get("Messages", ()):
            message, _ = envelope(found, place.fifo)
            message = replace(message, attempt=message.attempt + received_before(found))
            group = system_attributes(found).get("MessageGroupId", "") if place.fifo else ""
            held.append(Held(message, found["MessageId"], found["ReceiptHandle"], group, lease, since, since + lease))
        return held


def open_driver(settings: SQSQueueSettings, context: OpenContext) -> SQSQueueDriver:
    """The driver; its clients are made on first use."""
    return SQSQueueDriver(settings, context)
