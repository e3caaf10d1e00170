"""The settings of SQS queues."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, ClassVar, Self, cast
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from infra.kernel.settings import Seconds
from infra.plugin import Secret
from infra.queue.settings import QueueSettings
from infra_sqs import names

#: What SQS takes in one call, and in one message, since August 2025; 256 KiB before, and on queues that were made before.
_LARGEST = 1 << 20


class SQSQueueSettings(QueueSettings):
    """A queue of SQS; a name that ends in ``.fifo`` is a FIFO queue. Queues of one kind, account and endpoint share their clients."""

    url_fields: ClassVar[Mapping[str, str]] = {
        "username": "access_key_id",
        "password": "secret_access_key",
        "host": "region",
        "path": "queue",
    }

    queue: str | None = Field(None, description="The queue's name or URL; the resource's name when not given. FIFO queues end in `.fifo`.")
    region: str | None = Field(None, description="The region, such as `eu-central-1`; else the queue's URL or the SDK says it.")
    endpoint: str | None = Field(None, description="The server, when it is not Amazon's: `http://localhost:4566`.")
    access_key_id: Secret | None = Field(None, description="The access key; without one the SDK's own chain finds the credentials.")
    secret_access_key: Secret | None = Field(None, description="The secret of the access key.")
    session_token: Secret | None = Field(None, description="The token of temporary credentials.")
    profile: str | None = Field(None, description="A profile of the SDK's own configuration files.")
    tls_ca: str | None = Field(None, description="A file of certificate authorities to trust instead of the usual ones.")
    connect_timeout: Seconds = Field(10.0, gt=0, description="Seconds that a connection may take.")
    read_timeout: Seconds = Field(30.0, ge=1, description="Seconds that an answer may take; a long poll has 30 at least.")
    attempts: int = Field(3, ge=1, le=10, description="How often a request is tried in all, in the SDK's standard mode.")
    parallel: int = Field(4, ge=1, le=64, description="Calls of ten messages each that a large batch has under way at once.")
    batch_bytes: int = Field(
        _LARGEST,
        ge=1024,
        le=_LARGEST,
        description="The most bytes of a call and of a message, attributes included; some servers take 262144.",
    )
    dead_letter_queue: str | None = Field(
        None, description="The dead-letter queue's name; else the one of the queue's redrive policy, else the queue's own name and `-dead`."
    )
    default_group: str | None = Field(
        None, pattern=r"^[!-~]{1,128}$", description="FIFO: the group of messages without key; each is a group of its own when not given."
    )
    attributes: dict[str, str] = Field(
        default_factory=dict[str, str],
        description="Attributes of queues that are created, such as `MessageRetentionPeriod`.",
    )

    @model_validator(mode="before")
    @classmethod
    def _place_of_the_url(cls, values: Any) -> Any:
        """A queue's URL says where its server is, unless the settings do."""
        if not isinstance(values, dict):
            return values
        found = dict(cast("dict[str, Any]", values))
        queue = found.get("queue")
        if isinstance(queue, str) and names.is_url(queue):
            if region := names.region_of(queue):
                found["region"] = region  # SQS of another region does not know it
            if not found.get("endpoint") and not names.on_amazon(queue):
                found["endpoint"] = names.origin(queue)
        return found

    @field_validator("queue", "dead_letter_queue")
    @classmethod
    def _check_name(cls, value: str | None) -> str | None:
        if value is not None and not names.is_valid(value):
            raise ValueError(
                "should be up to 80 letters, digits, hyphens and underscores, with .fifo at the end for a FIFO queue, or a queue's URL"
            )
        return value

    @field_validator("endpoint")
    @classmethod
    def _check_endpoint(cls, value: str | None) -> str | None:
        if value is not None and (urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).hostname):
            raise ValueError("should be a URL such as http://localhost:4566")
        return value.rstrip("/") if value else None

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("access_key_id and secret_access_key belong together: set both or neither")
        if self.dead_letter_queue is not None and names.is_fifo(self.dead_letter_queue) != self.fifo:
            raise ValueError("dead_letter_queue must be FIFO when the queue is, and only then")
        return self

    @property
    def fifo(self) -> bool:
        """Whether it is a FIFO queue."""
        return self.queue is not None and names.is_fifo(self.queue)

    def share_key(self) -> Hashable | None:
        """One driver for all queues of a kind on the same terms."""
        return (self.fifo, self.connection_key())
