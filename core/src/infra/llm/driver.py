"""What a provider of language models implements. The comments are the contract.

A driver turns one request into one answer. It never retries, caches, logs, validates or reads the environment. It may add to a
response's warnings what only it can know. Exceptions of its SDK pass as they are; `failure` says what they stand for.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from infra.driver import AsyncDriver, Driver, DriverIdentity
from infra.llm.errors import Failure
from infra.llm.events import StreamEvent
from infra.llm.model import Embeddings, Message, Options, Response
from infra.llm.output import OutputFormat

#: The version of this contract.
SPEC_VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverInfo:
    """What does not change while a driver is open.

    Args:
        provider: The provider's name, as in telemetry: ``openai``, ``azure.ai.openai``, ``offline``.
        model: The model when neither options nor settings name one.
        embedding_model: The same for `embed`; empty when it has none.
        options: The names of the `Options` that it honours. Any other that is set gives a warning, or an error under ``strict``.
        identity: All of the endpoint that changes answers: base URL, API version, organisation, deployment. Part of the cache key;
            never holds a key or another secret.
        embed_batch: The most texts that one `embed` takes.
        context_tokens: What the default model can hold; None when not known.
        degraded: Why it serves less than a language model would; None for a real one.
    """

    provider: str
    model: str
    embedding_model: str = ""
    options: frozenset[str] = frozenset()
    identity: Mapping[str, str] = field(default_factory=dict[str, str])
    embed_batch: int = 2048
    context_tokens: int | None = None
    degraded: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LLMRequest:
    """One question. All that changes the answer is in here, and nothing else.

    Args:
        model: The model's name, resolved.
        messages: The conversation, at least one.
        options: What was asked for; ``model``, ``output`` and what the portable class does itself are to be ignored here.
        output: The form that the answer must have, and by which means to ask for it; None for any.
        variables: The values that the prompt was filled with; empty when it was not a `Prompt`.
    """

    model: str
    messages: tuple[Message, ...]
    options: Options
    output: OutputFormat | None = None
    variables: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedRequest:
    """Texts to turn into vectors; at most ``info.embed_batch``."""

    model: str
    texts: Sequence[str]
    dimensions: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallContext:
    """How to carry out one attempt. Nothing in here changes the answer. Durations are seconds; None is no limit.

    Args:
        timeout: For the whole attempt.
        connect_timeout: To reach the server.
        first_event_timeout: Until a stream's first content (`infra.llm.events.CONTENT`).
        idle_timeout: Between two events of a stream, once content has come.
        api_key: The key to use, leased for this attempt; None when the driver has its own.
        attempt: 1 for the first.
    """

    timeout: float | None = None
    connect_timeout: float | None = None
    first_event_timeout: float | None = None
    idle_timeout: float | None = None
    api_key: str | None = None
    attempt: int = 1


class LLMIdentity(DriverIdentity, Protocol):
    """The part that is the same for sync and async drivers."""

    @property
    def spec_version(self) -> int:
        """The `SPEC_VERSION` that it was written for."""
        ...

    @property
    def info(self) -> DriverInfo:
        """What it is and what it honours."""
        ...

    def failure(self, error: BaseException) -> Failure | None:
        """What is known about an exception of the SDK; None when it is not the SDK's. Never does I/O.

        ``classify`` answers ``code_of(failure)`` for the same exception.
        """
        ...


class LLMDriver(LLMIdentity, Driver, Protocol):
    """A blocking driver. It keeps the timeouts of its `CallContext` itself: a thread cannot be interrupted."""

    def generate(self, request: LLMRequest, context: CallContext) -> Response:
        """One answer, from exactly one attempt. ``finish_raw`` and ``usage_stats`` are the provider's own."""
        ...

    def stream(self, request: LLMRequest, context: CallContext) -> Generator[StreamEvent]:
        """One answer in pieces, from exactly one attempt.

        Begins with `Start` and ends with exactly one `Finish`, whose response equals what `generate` would return. A connection that
        ends before the provider's own end mark raises. Closing the generator early frees the connection.
        """
        ...

    def embed(self, request: EmbedRequest, context: CallContext) -> Embeddings:
        """One vector for each text, in order. Called only with the feature ``embeddings``."""
        ...


class AsyncLLMDriver(LLMIdentity, AsyncDriver, Protocol):
    """An asyncio driver. A cancelled call gives its connection back."""

    async def generate(self, request: LLMRequest, context: CallContext) -> Response:
        """As `LLMDriver.generate`."""
        ...

    def stream(self, request: LLMRequest, context: CallContext) -> AsyncGenerator[StreamEvent]:
        """As `LLMDriver.stream`."""
        ...

    async def embed(self, request: EmbedRequest, context: CallContext) -> Embeddings:
        """As `LLMDriver.embed`."""
        ...
