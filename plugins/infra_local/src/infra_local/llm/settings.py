"""Settings of the provider ``offline``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from infra.kernel.settings import Seconds
from infra.llm.settings import LLMSettings


class OfflineSettings(LLMSettings):
    """Rules and delays."""

    url_fields: ClassVar[Mapping[str, str]] = {}

    rules: Path | None = Field(None, description="A TOML or JSON file with scripted answers.")
    script: list[dict[str, Any]] = Field(
        default_factory=list[dict[str, Any]], description="Scripted answers given here, before those of the file."
    )
    latency: Seconds = Field(0.0, description="Seconds that an answer takes; a stream spreads them over its events.")
    dimensions: int = Field(256, ge=8, le=4096, description="The length of embeddings.")
