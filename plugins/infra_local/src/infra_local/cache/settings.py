"""Settings of the embedded cache providers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from infra.cache.settings import CacheSettings
from infra.plugin import Seconds


class MemoryCacheSettings(CacheSettings):
    """A cache in this process's memory: ``memory://``."""

    url_fields: ClassVar[Mapping[str, str]] = {}

    max_entries: int = Field(100_000, ge=1, description="Most entries; beyond, the least recently used go.")
    max_bytes: int = Field(64 * 1024 * 1024, ge=1024, description="Most bytes of keys, values and their overhead.")
    batch: int = Field(1, ge=1, description="Most gets that travel as one; memory has no distance to save.")
    generation_trust: Seconds = Field(0.0, description="Seconds for which a `set` relies on a generation seen before.")


class SQLiteCacheSettings(CacheSettings):
    """A cache in a SQLite file: ``sqlite:///relative.db``, ``sqlite:////absolute.db``."""

    path: Path | None = Field(None, description="The file; else cache-NAME.db in the data folder. Not on a network file system.")
    synchronous: Literal["off", "normal", "full"] = Field("normal", description="SQLite's durability against loss of power.")
    max_bytes: int = Field(1 << 30, ge=1 << 20, description="Most bytes of entries in the file; beyond, those written first go.")
    timeout: Seconds = Field(5.0, gt=0, description="Seconds that one call may take, waiting for other writers included.")
