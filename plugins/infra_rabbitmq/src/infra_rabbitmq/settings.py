"""Settings of RabbitMQ queues."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field

from infra.kernel.settings import Secret
from infra.queue.settings import QueueSettings


class RabbitMQQueueSettings(QueueSettings):
    """A queue of a RabbitMQ broker; resources with the same connection share one pair of connections."""

    url_fields: ClassVar[Mapping[str, str]] = {
        "username": "username",
        "password": "password",
        "host": "host",
        "port": "port",
        "path": "vhost",
    }

    enabling: ClassVar[Mapping[str, str]] = {"ordering": "set `shards`, the same for all who use the queue"}

    host: str = Field("localhost", min_length=1, description="The broker's host.")
    port: int | None = Field(None, ge=1, le=65535, description="Its port; 5672, or 5671 with TLS, when not given.")
    username: str = Field("guest", description="The account.")
    password: Secret = Field(Secret("guest"), description="Its password.")
    vhost: str = Field("/", min_length=1, description="The virtual host.")
    tls: bool = Field(False, description="Whether to use TLS; the scheme amqps sets it.")
    ca_file: Path | None = Field(None, description="Certificates to trust; those of the system when not given.")
    cert_file: Path | None = Field(None, description="The client's certificate, with its key unless `key_file` is given.")
    key_file: Path | None = Field(None, description="The key of the client's certificate.")
    heartbeat: int = Field(30, ge=0, le=65535, description="Seconds between heartbeats; two that are missing end the connection. 0: none.")
    queue_type: Literal["quorum", "classic"] = Field(
        "quorum", description="quorum: replicated where the broker is a cluster, and can delay; classic: neither."
    )
    shards: int = Field(
        0,
        ge=0,
        le=256,
        description="Queues beside the main one for messages with a key, which keep their order; 0: none, and no keys. "
        "The same for all who use the queue.",
    )
    confirm_window: int = Field(1000, ge=1, description="The most published messages that wait for the broker's confirmation.")

    @classmethod
    def expand_url(cls, url: str) -> dict[str, object]:
        """The fields that ``amqp[s]://username:password@host:port/vhost`` stands for; the path ``/%2F`` or none is the virtual host /."""
        fields = super().expand_url(url)
        if urlsplit(url).scheme == "amqps":
            fields.setdefault("tls", True)
        return fields

    def actual_port(self) -> int:
        """The port, or the usual one."""
        return self.port or (5671 if self.tls else 5672)

    def place(self) -> str:
        """Host and port, for messages."""
        return f"{self.host}:{self.actual_port()}"

    def share_key(self) -> Hashable | None:
        """One pair of connections for all queues of an account."""
        return self.connection_key()
