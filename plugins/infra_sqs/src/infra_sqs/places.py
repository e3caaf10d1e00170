"""Which queue a name stands for: its URL, its dead-letter queue and its limits."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from typing import Any, Final, cast

from botocore.exceptions import ClientError

from infra.errors import ErrorCode
from infra.queue.model import QueueSpec
from infra_sqs import names
from infra_sqs.client import Clients
from infra_sqs.envelope import RESERVED
from infra_sqs.failures import Refusal, classify
from infra_sqs.settings import SQSQueueSettings

_RETENTION: Final = 14 * 86400  # seconds that a dead letter is kept in a queue of ours, the longest that SQS takes


@dataclass(slots=True)
class Place:
    """A queue.

    Args:
        name: As the core calls it: a name or a URL.
        url: Its URL.
        fifo: Whether it is FIFO.
        largest: The most bytes of one message.
        dead_name: The name of its dead-letter queue.
        dead_account: The account of that, when it is another one's.
        dead_url: Its URL, once it is known.
        by_group: Whether it deduplicates within a message group only.
    """

    name: str
    url: str
    fifo: bool
    largest: int
    dead_name: str
    dead_account: str | None = None
    dead_url: str | None = None
    by_group: bool = False


class Places:
    """The queues of one driver.

    Args:
        clients: Of the driver.
        settings: Of the resource that opened it.
    """

    def __init__(self, clients: Clients, settings: SQSQueueSettings) -> None:
        self._clients = clients
        self._settings = settings
        self._lock = threading.Lock()
        self._places: dict[str, Place] = {}

    def known(self) -> str | None:
        """The URL of any queue that was declared."""
        return next((place.url for place in list(self._places.values())), None)

    def get(self, name: str) -> Place:
        """The queue called `name`; looked for when it was not declared."""
        return self._places.get(name) or self._keep(self._place(name, self._url(name)))

    def declare(self, spec: QueueSpec) -> None:
        """See `QueueDriver.declare`."""
        name = spec.name
        if spec.topology == "none":
            return  # not even a look: the account may be allowed to send, and nothing else
        ensure = spec.topology == "ensure"
        try:
            place = self._place(name, self._url(name))
            self._look_at(place)
        except ClientError as error:
            if not ensure or classify(error) is not ErrorCode.NOT_FOUND:
                raise
            place = self._place(name, self._create(name, {}))
        if ensure:
            self._ensure_dead(place)
        self._keep(place)

    def dead_url(self, place: Place) -> str:
        """The URL of the dead-letter queue.

        Raises:
            Refusal: There is none.
        """
        if place.dead_url is None:
            try:
                place.dead_url = self._find(place.dead_name, place.dead_account)
            except ClientError as error:
                if classify(error) is not ErrorCode.NOT_FOUND:
                    raise
                missing = f"the dead-letter queue {place.dead_name!r} does not exist"
                raise Refusal(ErrorCode.CONFIGURATION, missing) from error
        return place.dead_url

    def _keep(self, place: Place) -> Place:
        with self._lock:
            return self._places.setdefault(place.name, place)

    def _place(self, name: str, url: str) -> Place:
        settings = self._settings
        dead = settings.dead_letter_queue or names.dead(name)
        return Place(name, url, names.is_fifo(name), settings.batch_bytes - RESERVED, dead)

    def _url(self, name: str) -> str:
        return name if names.is_url(name) else self._find(name)

    def _find(self, name: str, account: str | None = None) -> str:
        if names.is_url(name):
            return name
        owner = {} if account is None else {"QueueOwnerAWSAccountId": account}
        return self._clients.main().get_queue_url(QueueName=name, **owner)["QueueUrl"]

    def _look_at(self, place: Place) -> None:
        """What the server says of it."""
        wanted = ["MaximumMessageSize", "RedrivePolicy", *(["DeduplicationScope"] if place.fifo else [])]
        found: dict[str, str] = self._clients.main().get_queue_attributes(QueueUrl=place.url, AttributeNames=wanted).get("Attributes", {})
        place.largest = min(place.largest, int(found.get("MaximumMessageSize") or self._settings.batch_bytes) - RESERVED)
        place.by_group = found.get("DeduplicationScope") == "messageGroup"
        if self._settings.dead_letter_queue is None and (policy := found.get("RedrivePolicy")):
            target = str(cast("dict[str, Any]", json.loads(policy)).get("deadLetterTargetArn", ""))
            account, _, name = target.rpartition(":")
            if name:
                place.dead_name, place.dead_account = name, account.rpartition(":")[2] or None

    def _ensure_dead(self, place: Place) -> None:
        try:
            self.dead_url(place)
        except Refusal:
            if place.dead_account is not None:
                raise  # a redrive policy names it
            place.dead_url = self._create(place.dead_name, {"MessageRetentionPeriod": str(_RETENTION)})

    def _create(self, name: str, attributes: dict[str, str]) -> str:
        wanted = {**attributes, **self._settings.attributes, **({"FifoQueue": "true"} if names.is_fifo(name) else {})}
        url: str = self._clients.main().create_queue(QueueName=names.short(name), Attributes=wanted)["QueueUrl"]
        if names.is_url(name) and url.split("/")[3:] != name.rstrip("/").split("/")[3:]:
            raise Refusal(ErrorCode.CONFIGURATION, f"there is no queue {name}; with these credentials the queue of that name is {url}")
        return url
