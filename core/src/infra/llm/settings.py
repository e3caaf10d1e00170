"""Settings that every LLM resource has, whatever its provider."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AllowInfNan, Field

from infra.kernel.settings import ProviderSettings, Seconds

Finite = Annotated[Seconds, AllowInfNan(False)]


class LLMSettings(ProviderSettings):
    """The portable part; providers extend it with their own fields."""

    portable_fields: ClassVar[frozenset[str]] = ProviderSettings.portable_fields | {
        "model",
        "embedding_model",
        "temperature",
        "max_output_tokens",
        "timeout",
        "connect_timeout",
        "first_event_timeout",
        "idle_timeout",
        "max_concurrency",
        "retries",
        "retry_delay",
        "retry_delay_max",
        "cache",
        "cache_mode",
        "cache_ttl",
        "namespace",
        "strict",
    }

    model: str | None = Field(None, description="The model when a call names none; else the provider's default.")
    embedding_model: str | None = Field(None, description="The same for `embed`.")
    temperature: float | None = Field(None, ge=0, allow_inf_nan=False, description="The temperature when a call names none.")
    max_output_tokens: int | None = Field(None, ge=1, description="The most tokens of an answer when a call names none.")
    timeout: Finite = Field(120.0, gt=0, description="Seconds for a whole call, with all attempts.")
    connect_timeout: Finite = Field(5.0, gt=0, description="Seconds to reach the server.")
    first_event_timeout: Seconds = Field(
        60.0, gt=0, allow_inf_nan=False, description="Seconds until a stream's first content, however lively its beginning."
    )
    idle_timeout: Seconds = Field(
        30.0, gt=0, allow_inf_nan=False, description="Seconds between two contents of a stream; empty ones and heartbeats are none."
    )
    max_concurrency: int | None = Field(
        None, ge=1, description="The most requests under way at once; further ones wait within their timeout. None is no limit."
    )
    retries: int = Field(2, ge=0, le=10, description="Further attempts after a failure that may pass.")
    retry_delay: Seconds = Field(
        0.5, allow_inf_nan=False, description="Seconds before the first further attempt, at most; each next one doubles it."
    )
    retry_delay_max: Seconds = Field(
        8.0, allow_inf_nan=False, description="The longest of these delays. A server's Retry-After is obeyed instead."
    )
    cache: str | None = Field(None, description="The cache resource that keeps answers, such as `main`; none keeps none.")
    cache_mode: Literal["auto", "always", "never", "refresh"] = Field(
        "auto", description="`auto` keeps only answers at temperature 0 or with a seed, `always` all."
    )
    cache_ttl: Finite = Field(86_400.0, gt=0, description="Seconds that an answer is kept.")
    namespace: str | None = Field(None, description="Separates kept answers, such as by tenant, when a call names none.")
    strict: bool = Field(False, description="Make an option that the provider ignores an error instead of a warning.")

    def dependencies(self) -> list[str]:
        """The cache resource opens first."""
        own = [] if self.cache is None else [f"cache.{self.cache}"]
        return list(dict.fromkeys((*self.depends_on, *own)))
