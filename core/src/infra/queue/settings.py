"""Settings that every queue has, whatever its provider."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from infra.kernel.settings import ProviderSettings, Seconds


class QueueSettings(ProviderSettings):
    """One resource is one queue; resources that differ only in these fields share a connection."""

    portable_fields: ClassVar[frozenset[str]] = ProviderSettings.portable_fields | {
        "queue",
        "topology",
        "codec",
        "lease",
        "wait",
        "timeout",
        "publish_attempts",
        "dedup_window",
        "message_bytes",
        "prefetch_seconds",
        "drain_timeout",
    }

    queue: str | None = Field(None, min_length=1, description="The queue's name at the provider; the resource's name when not given.")
    topology: Literal["ensure", "check", "none"] = Field("ensure", description="Create what is missing, fail when it is, or neither.")
    codec: str = Field("json", description="The codec that encodes published objects, by name.")
    lease: Seconds = Field(60.0, gt=0, description="Seconds that a delivery belongs to its receiver before it comes again.")
    wait: Seconds = Field(20.0, description="Seconds that receive waits for a first message.")
    timeout: Seconds = Field(10.0, gt=0, description="Seconds that publishing, its retries included, and settling may take.")
    publish_attempts: int = Field(5, ge=1, description="How often a message that was not sent, or perhaps not sent, is tried in all.")
    dedup_window: Seconds = Field(300.0, gt=0, description="Seconds during which a dedup_key is remembered, where it can be chosen.")
    message_bytes: int | None = Field(None, ge=1, description="The largest message with its headers; the provider's limit when not given.")
    prefetch_seconds: Seconds = Field(2.0, description="Seconds of work that consume holds in advance, measured while it runs.")
    drain_timeout: Seconds = Field(30.0, description="Seconds that consume waits for its handlers when asked to stop.")
