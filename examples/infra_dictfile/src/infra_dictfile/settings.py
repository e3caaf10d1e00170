"""Settings of the provider."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from infra.cache.settings import CacheSettings
from infra.plugin import Seconds


class DictFileSettings(CacheSettings):
    """A cache in a JSON file."""

    path: Path | None = Field(None, description="The file; else cache-NAME.json in the data folder.")
    timeout: Seconds = Field(5.0, gt=0, description="Seconds that one call of the provider may take.")
