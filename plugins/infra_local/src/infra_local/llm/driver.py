"""The drivers: one for threads, one for tasks, over the same engine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Generator, Iterator, Sequence

from infra.errors import ErrorCode
from infra.llm.driver import SPEC_VERSION, CallContext, DriverInfo, EmbedRequest, LLMRequest
from infra.llm.errors import Failure
from infra.llm.events import StreamEvent, replayed
from infra.llm.model import Embeddings, LLMFeature, Response
from infra.plugin import OpenContext
from infra_local.llm.engine import EMBEDDING_MODEL, MODEL, Answer, answer, embeddings
from infra_local.llm.failures import OfflineFailure, classify, failure_of
from infra_local.llm.rules import Script, load_script
from infra_local.llm.settings import OfflineSettings

# temperature and seed: answers are always the likeliest, and equal requests give equal ones.
_HONOURED = frozenset({"max_output_tokens", "stop", "tool_choice", "parallel_tool_calls", "temperature", "seed"})


class OfflineBehaviour:
    """What both drivers are.

    Args:
        settings: Delays and dimensions.
        script: The scripted answers.
    """

    spec_version = SPEC_VERSION
    features = frozenset({LLMFeature.TOOLS, LLMFeature.PARALLEL_TOOLS, LLMFeature.JSON_SCHEMA, LLMFeature.JSON_MODE, LLMFeature.EMBEDDINGS})

    def __init__(self, settings: OfflineSettings, script: Script) -> None:
        self.script = script
        self._latency = settings.latency
        self._dimensions = settings.dimensions
        self.info = DriverInfo(
            provider="offline",
            model=MODEL,
            embedding_model=EMBEDDING_MODEL,
            options=_HONOURED,
            identity={"script": repr(script.rules)} if script.rules else {},
            embed_batch=256,
            degraded="rules answer instead of a language model",
        )

    def classify(self, error: BaseException) -> ErrorCode | None:
        """What an exception stands for."""
        return classify(error)

    def failure(self, error: BaseException) -> Failure | None:
        """What is known about an exception."""
        return failure_of(error)

    def unwrap(self) -> Sequence[object]:
        """The scripted answers."""
        return (self.script,)

    def _answer(self, request: LLMRequest) -> tuple[Answer, float]:
        """The answer, and the seconds that it takes."""
        found = answer(request, self.script)
        return found, self._latency + (found.rule.delay if found.rule else 0.0)

    def _timed(self, request: LLMRequest, context: CallContext) -> Iterator[tuple[float, StreamEvent]]:
        """The events of a stream, each after the seconds to wait for it; a wait beyond its limit is negative, and fatal after that long."""
        found, _ = self._answer(request)
        events = list(replayed(found.response))
        rule = found.rule
        for number, event in enumerate(events):
            if rule is not None and rule.break_after == number:
                raise OfflineFailure("a rule breaks the stream off")
            wait = self._latency / len(events)
            if rule is not None and rule.delay and rule.delay_after == number:
                wait += rule.delay
            limit = context.first_event_timeout if number <= 1 else context.idle_timeout  # the first is only a start
            yield wait if limit is None or wait < limit else -limit, event


class OfflineDriver(OfflineBehaviour):
    """For threads."""

    def ping(self, timeout: float) -> None:
        """There is nothing to reach."""

    def generate(self, request: LLMRequest, context: CallContext) -> Response:
        """One answer."""
        found, wait = self._answer(request)
        _wait(wait if context.timeout is None or wait < context.timeout else -context.timeout)
        return found.response

    def stream(self, request: LLMRequest, context: CallContext) -> Generator[StreamEvent]:
        """One answer in pieces."""
        for wait, event in self._timed(request, context):
            _wait(wait)
            yield event

    def embed(self, request: EmbedRequest, context: CallContext) -> Embeddings:  # noqa: ARG002
        """One vector for each text."""
        return embeddings(request, self._dimensions)

    def close(self, timeout: float) -> None:
        """There is nothing to release."""


class AsyncOfflineDriver(OfflineBehaviour):
    """For tasks."""

    async def ping(self, timeout: float) -> None:
        """There is nothing to reach."""

    async def generate(self, request: LLMRequest, context: CallContext) -> Response:  # noqa: ARG002
        """One answer."""
        found, wait = self._answer(request)
        if wait:
            await asyncio.sleep(wait)
        return found.response

    async def stream(self, request: LLMRequest, context: CallContext) -> AsyncGenerator[StreamEvent]:
        """One answer in pieces."""
        for wait, event in self._timed(request, context):
            if wait:
                await asyncio.sleep(abs(wait))
            if wait < 0:
                raise TimeoutError
            yield event

    async def embed(self, request: EmbedRequest, context: CallContext) -> Embeddings:  # noqa: ARG002
        """One vector for each text."""
        return embeddings(request, self._dimensions)

    async def close(self, timeout: float) -> None:
        """There is nothing to release."""


def _wait(seconds: float) -> None:
    if seconds:
        time.sleep(abs(seconds))
    if seconds < 0:
        raise TimeoutError


def open_driver(settings: OfflineSettings, context: OpenContext) -> OfflineDriver:
    """The blocking driver."""
    return OfflineDriver(settings, load_script(settings.rules, settings.script, context.resource))


async def open_driver_async(settings: OfflineSettings, context: OpenContext) -> AsyncOfflineDriver:
    """The asyncio driver; its rules are read from a small file, once."""
    return AsyncOfflineDriver(settings, load_script(settings.rules, settings.script, context.resource))
