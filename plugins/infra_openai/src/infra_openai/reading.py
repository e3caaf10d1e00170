"""Answers of the protocol as values of ours. The package's models are not built: decoding JSON straight to these costs a tenth."""

from __future__ import annotations

import json
import sys
from array import array
from base64 import b64decode
from collections.abc import Mapping
from typing import Any, Final, cast

from infra.llm.driver import EmbedRequest
from infra.llm.events import (
    Assembler,
    Finish,
    ReasoningDelta,
    Start,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    ToolCallEnd,
    ToolCallStart,
    UsageUpdate,
)
from infra.llm.model import Embeddings, FinishReason, Part, Reasoning, Response, Text, ToolCall, Usage
from infra_openai.failures import AnswerError
from infra_openai.sse import DONE

_FINISH: Final[Mapping[str, FinishReason]] = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "tool_calls": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.CONTENT_FILTER,
}
_METADATA: Final = ("system_fingerprint", "service_tier")


def decoded(data: bytes) -> dict[str, Any]:
    """The JSON object that `data` holds.

    Raises:
        AnswerError: It holds none, or one that tells of a failure.
    """
    try:
        value = json.loads(data)
    except ValueError:
        raise AnswerError.malformed("it is not JSON") from None
    if not isinstance(value, dict):
        raise AnswerError.malformed("it is not a JSON object")
    found = cast("dict[str, Any]", value)
    if found.get("error"):
        raise AnswerError.told(found["error"])
    return found


def response_of(data: bytes, model: str) -> Response:
    """A whole answer; `model` where it names none.

    Raises:
        AnswerError: It cannot be understood.
    """
    answer = decoded(data)
    try:
        choice: dict[str, Any] = answer["choices"][0]
        message: dict[str, Any] = choice["message"]
        parts: list[Part] = []
        thought = message.get("reasoning_content") or message.get("reasoning")
        if isinstance(thought, str) and thought:
            parts.append(Reasoning(thought))
        content: str = message.get("content") or message.get("refusal") or ""
        if content:
            parts.append(Text(content))
        for index, call in enumerate(message.get("tool_calls") or ()):
            function = call["function"]
            parts.append(ToolCall(call.get("id") or f"call_{index}", function["name"], _arguments(function.get("arguments"))))
        raw = choice.get("finish_reason")
        return Response(
            content=content,
            parts=tuple(parts),
            finish=finish_of(raw, bool(message.get("tool_calls")), bool(message.get("refusal"))),
            finish_raw=raw,
            usage_stats=usage_of(answer.get("usage")),
            metadata={name: answer[name] for name in _METADATA if answer.get(name) is not None},
            id=answer.get("id"),
            model=answer.get("model") or model,
        )
    except (LookupError, TypeError, AttributeError) as error:
        raise AnswerError.malformed(f"it lacks the form of a chat completion ({type(error).__name__}: {error})") from None


def finish_of(raw: str | None, calls: bool, refused: bool) -> FinishReason:
    """Why an answer ended. A tool that had to be called ends it with ``stop``; a refusal does so too."""
    if refused:
        return FinishReason.CONTENT_FILTER
    finish = _FINISH.get(raw or "", FinishReason.OTHER)
    return FinishReason.TOOL_CALLS if calls and finish in (FinishReason.STOP, FinishReason.OTHER) else finish


def usage_of(usage: Any) -> Usage:
    """Tokens as the server counted them. A server that counts none says 0 of both, which no request has: that is not known."""
    if not isinstance(usage, dict):
        return Usage()
    said = cast("dict[str, Any]", usage)
    read, written = said.get("prompt_tokens"), said.get("completion_tokens")
    if not read and not written:
        return Usage()
    of_input: dict[str, Any] = said.get("prompt_tokens_details") or {}
    of_output: dict[str, Any] = said.get("completion_tokens_details") or {}
    return Usage(
        input=read,
        cached_input=of_input.get("cached_tokens"),
        cache_write=of_input.get("cache_write_tokens"),
        output=written,
        reasoning=of_output.get("reasoning_tokens"),
        raw=said,
    )


def _arguments(value: Any) -> str:
    """Arguments as JSON text; some servers give them as an object."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


class StreamReader:
    """Turns the chunks of one stream into events.

    Args:
        model: The model that was asked.

    Attributes:
        done: Whether the server's end mark has come.
    """

    def __init__(self, model: str) -> None:
        self.done = False
        self._made = Assembler()
        self._model = model
        self._id: str | None = None
        self._started = False
        self._refused = False
        self._finish_raw: str | None = None
        self._metadata: dict[str, Any] = {}
        self._calls: dict[int, tuple[int, str | None]] = {}  # the server's index: ours, and the call's id
        self._last = 0

    def feed(self, data: bytes) -> list[StreamEvent]:
        """The events of one chunk; often one, and none for a chunk that holds nothing new.

        Raises:
            AnswerError: The chunk cannot be understood, or tells of a failure.
        """
        if data == DONE:
            self.done = True
            return []
        chunk = decoded(data)
        events: list[StreamEvent] = []
        try:
            if not self._started:
                self._started = True
                self._id = chunk.get("id") or None
                events.append(Start(chunk.get("model") or self._model, self._id))
            self._note(chunk)
            for choice in chunk.get("choices") or ():
                if choice.get("index"):
                    continue  # a further answer, asked for by provider_options
                if (delta := choice.get("delta")) is not None:
                    self._delta(delta, events)
                if choice.get("finish_reason") is not None:
                    self._finish_raw = choice["finish_reason"]
            if (usage := chunk.get("usage")) is not None and (known := usage_of(usage)) != self._made.usage and known.raw is not None:
                events.append(UsageUpdate(known))
        except (LookupError, TypeError, AttributeError) as error:
            raise AnswerError.malformed(f"it lacks the form of a chunk ({type(error).__name__}: {error})") from None
        for event in events:
            self._made.add(event)
        return events

    def end(self) -> list[StreamEvent]:
        """What ends the stream, once the connection has given all.

        Raises:
            AnswerError: Neither the end mark nor the reason of the end had come.
        """
        if not self._started or not (self.done or self._finish_raw is not None):
            raise AnswerError.cut_off()
        calls = list(self._made.calls())
        response = self._made.response(
            finish=finish_of(self._finish_raw, bool(calls), self._refused),
            finish_raw=self._finish_raw,
            metadata=self._metadata,
            id=self._id,
            model=self._model,
        )
        return [*(ToolCallEnd(index, call) for index, call in calls), Finish(response)]

    def _note(self, chunk: dict[str, Any]) -> None:
        """What each chunk repeats; Azure's first names neither id nor model."""
        if chunk.get("model"):
            self._model = chunk["model"]
        if self._id is None:
            self._id = chunk.get("id") or None
        for name in _METADATA:
            if chunk.get(name) is not None:
                self._metadata[name] = chunk[name]

    def _delta(self, delta: dict[str, Any], events: list[StreamEvent]) -> None:
        if text := delta.get("content"):
            events.append(TextDelta(text))
        if thought := delta.get("reasoning_content") or delta.get("reasoning"):
            events.append(ReasoningDelta(thought))
        if refusal := delta.get("refusal"):
            self._refused = True
            events.append(TextDelta(refusal))
        for fragment in delta.get("tool_calls") or ():
            self._fragment(fragment, events)

    def _fragment(self, fragment: dict[str, Any], events: list[StreamEvent]) -> None:
        """A piece of a call. Some servers number no calls, or all the same: a further id begins a further call."""
        function: dict[str, Any] = fragment.get("function") or {}
        place = fragment.get("index")
        place = self._last if place is None else place
        known = self._calls.get(place)
        id_ = fragment.get("id")
        if known is None or (id_ and function.get("name") and id_ != known[1]):
            ours = len(list(self._made.calls())) + sum(isinstance(event, ToolCallStart) for event in events)
            known = self._calls[place] = (ours, id_)
            events.append(ToolCallStart(ours, id_ or f"call_{ours}", function["name"]))
        self._last = place
        if arguments := _arguments(function.get("arguments")):
            events.append(ToolCallDelta(known[0], arguments))


def embeddings_of(data: bytes, request: EmbedRequest) -> Embeddings:
    """The vectors, in the order of the texts.

    Raises:
        AnswerError: They cannot be understood.
    """
    answer = decoded(data)
    try:
        entries: list[dict[str, Any]] = sorted(answer["data"], key=lambda entry: entry.get("index", 0))
        vectors = tuple(_vector(entry["embedding"]) for entry in entries)
        used: dict[str, Any] = answer.get("usage") or {}
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise AnswerError.malformed(f"it lacks the form of embeddings ({type(error).__name__}: {error})") from None
    usage = Usage(input=used.get("prompt_tokens") or None, raw=used) if used else Usage()
    return Embeddings(vectors=vectors, model=answer.get("model") or request.model, usage_stats=usage)


def _vector(value: Any) -> tuple[float, ...]:
    """A vector given as numbers, or as base64 of little-endian 32-bit floats."""
    if not isinstance(value, str):
        return tuple(map(float, value))
    numbers = array("f", b64decode(value))
    if sys.byteorder == "big":
        numbers.byteswap()
    return tuple(numbers)
