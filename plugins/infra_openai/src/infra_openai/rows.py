"""How the servers differ, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from infra.llm.model import LLMFeature

_ALL: Final = frozenset(LLMFeature)
_OPTIONS: Final = frozenset(
    {
        "model",
        "max_output_tokens",
        "temperature",
        "top_p",
        "stop",
        "seed",
        "frequency_penalty",
        "presence_penalty",
        "tool_choice",
        "parallel_tool_calls",
        "reasoning",
    }
)
_LOCAL: Final = _ALL - {LLMFeature.FILES}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One provider.

    Args:
        telemetry: Its name in telemetry.
        base_url: Where it is when no setting says so; None when a setting must.
        keyed: Whether it serves nobody without a key at `base_url`.
        model: The model when neither options nor settings name one.
        embedding_model: The same for embeddings.
        limit_name: By which name it takes the token limit.
        features: What it has.
        options: The portable options that it honours.
    """

    telemetry: str
    base_url: str | None = None
    keyed: bool = False
    model: str = ""
    embedding_model: str = ""
    limit_name: str = "max_completion_tokens"
    features: frozenset[LLMFeature] = _ALL
    options: frozenset[str] = _OPTIONS


ROWS: Final[Mapping[str, Row]] = {
    "openai": Row(
        telemetry="openai",
        base_url="https://api.openai.com/v1",
        keyed=True,
        model="gpt-4.1-mini",
        embedding_model="text-embedding-3-small",
    ),
    "azure": Row(telemetry="azure.ai.openai", keyed=True),
    "vllm": Row(
        telemetry="vllm", base_url="http://127.0.0.1:8000/v1", limit_name="max_tokens", features=_LOCAL, options=_OPTIONS | {"top_k"}
    ),
    "ollama": Row(telemetry="ollama", base_url="http://127.0.0.1:11434/v1", limit_name="max_tokens", features=_LOCAL),
    "lmstudio": Row(
        telemetry="lmstudio",
        base_url="http://127.0.0.1:1234/v1",
        limit_name="max_tokens",
        features=_LOCAL - {LLMFeature.JSON_MODE},
        options=_OPTIONS | {"top_k"},
    ),
}
