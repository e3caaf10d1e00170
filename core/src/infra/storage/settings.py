"""What every storage resource can be told."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from infra.kernel.settings import ProviderSettings, Seconds


class StorageSettings(ProviderSettings):
    """The portable settings; providers add their own."""

    portable_fields: ClassVar[frozenset[str]] = ProviderSettings.portable_fields | {
        "prefix",
        "timeout",
        "chunk_size",
        "verify_reads",
        "concurrency",
        "public_base_url",
    }

    prefix: str = Field("", description="Keys of this resource live below this prefix, such as `media/`.")
    timeout: Seconds = Field(30.0, description="Seconds that one exchange with the server may take; not the whole of a large body.")
    chunk_size: int = Field(1 << 20, ge=1 << 12, le=1 << 26, description="Bytes read from and written to streams at a time.")
    verify_reads: bool = Field(True, description="Check whole reads against the SHA-256 that was recorded on writing.")
    concurrency: int = Field(8, ge=1, le=256, description="The most requests that get_many has under way at once.")
    public_base_url: str | None = Field(None, description="Where the objects are public, such as a CDN: `https://cdn.example.com/media`.")
