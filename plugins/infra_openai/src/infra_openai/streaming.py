"""Streams of the protocol as events of ours."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, cast

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
    replayed,
)
from infra.llm.model import FinishReason, Part, Reasoning, ToolCall, Usage
from infra_openai.contents import (
    HANDED_BACK,
    THOUGHTS,
    FormError,
    arguments_of,
    extra_of,
    finish_of,
    flat,
    function_of,
    listed,
    mapping,
    pieces_of,
    reasoning_of,
    told_apart,
    usage_of,
    word,
)
from infra_openai.failures import AnswerError
from infra_openai.reading import METADATA, MISFITS, answer_in, fail_with, in_words, no_json, response_in, text_of_bytes
from infra_openai.sse import ErrorEvent
from infra_openai.telling import plain_text

_DONE: Final = b"[DONE]"
_DECODER: Final = json.JSONDecoder()
_LEGACY: Final = -1  # the place of what `function_call` asks for
_KEPT: Final = frozenset({FinishReason.LENGTH, FinishReason.CONTENT_FILTER})  # no later word makes such an answer whole
_JOINED: Final = frozenset({"text", "summary", "data", "thinking"})  # what comes in pieces within the details of a thought


@dataclass(slots=True)
class _Call:
    """A tool call under way.

    Args:
        ours: Its index among the events.
        id: The server's identifier; None as long as none has come.
        name: Its name, as far as it has come.
        arguments: The pieces of its arguments.
        extra: What goes back with the next turn.
        started: Whether its start was told; not before its name is whole.
    """

    ours: int
    id: str | None = None
    name: str = ""
    arguments: list[str] = field(default_factory=list[str])
    extra: dict[str, Any] = field(default_factory=dict[str, Any])
    started: bool = False

    @property
    def text(self) -> str:
        """Its arguments so far."""
        return "".join(self.arguments)

    @property
    def whole(self) -> bool:
        """Whether its arguments are a whole JSON value."""
        try:
            json.loads(self.text)
        except (ValueError, RecursionError):
            return False
        return True


class StreamReader:
    """Turns the chunks of one stream into events.

    Args:
        model: The model that was asked.
        tools: The names of the tools that it may ask for.

    Attributes:
        done: Whether the server's end mark has come.
    """

    def __init__(self, model: str, tools: frozenset[str] = frozenset()) -> None:
        self.done = False
        self._made = Assembler()
        self._model = model
        self._tools = tools
        self._id: str | None = None
        self._started = False
        self._refused = False
        self._finish_raw: str | None = None
        self._metadata: dict[str, Any] = {}
        self._details: dict[str, Any] = {}  # of the thoughts, to go back with the next turn
        self._calls: list[_Call] = []
        self._places: dict[int, _Call] = {}  # by the server's index
        self._whole: list[StreamEvent] | None = None

    @property
    def finished(self) -> bool:
        """Whether the server has said how the answer ends."""
        return self.done or self._finish_raw is not None

    def feed(self, data: bytes) -> list[StreamEvent]:
        """The events of the data of one event of the wire; often one, and none for a chunk that holds nothing new.

        Raises:
            AnswerError: It cannot be understood, or tells of a failure.
        """
        if data == _DONE:
            self.done = True
            return []
        if not data:
            return []
        try:
            chunk = json.loads(data)
        except (ValueError, RecursionError) as error:
            return [event for each in self._several(data, error) for event in self._chunk(each)]
        if isinstance(data, ErrorEvent):
            raise AnswerError.told(chunk)
        if isinstance(chunk, str):
            self._words(chunk)
            return []
        return self._chunk(chunk)

    def body(self, data: bytes) -> list[StreamEvent]:
        """The events of an answer that came in one piece, from a server that does not stream.

        Raises:
            AnswerError: It cannot be understood, or tells of a failure.
        """
        text = text_of_bytes(data)
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError) as error:
            return [event for each in self._several(text.encode(), error) for event in self._chunk(each)]
        answer = answer_in(answer)
        try:
            if "delta" in mapping(listed(answer.get("choices"), "choices")[0], "a choice"):
                return self._chunk(answer)
            response = response_in(answer, self._model)
        except MISFITS as error:
            raise AnswerError.malformed(f"it lacks the form of a chat completion ({_why(error)})") from None
        self._whole = list(replayed(response))
        return self._whole[:-1]

    def end(self) -> list[StreamEvent]:
        """What ends the stream, once the connection has given all.

        Raises:
            AnswerError: Neither the end mark nor the reason of the end had come.
        """
        if self._whole is not None:
            return self._whole[-1:]
        if not self._started or not self.finished:
            raise AnswerError.cut_off()
        events: list[StreamEvent] = []
        for call in self._calls:
            if not call.started and (call.name or call.text.strip()):
                if not call.name:
                    raise AnswerError.malformed("a tool call has no name")
                self._begin(call, events)
        calls = self._told()
        response = self._made.response(
            finish=finish_of(self._finish_raw, bool(calls), self._refused),
            finish_raw=self._finish_raw,
            metadata=self._metadata,
            id=self._id,
            model=self._model,
        )
        if self._details or calls:
            response = replace(response, parts=tuple(self._parts(response.parts, calls)))
        return [*events, *(ToolCallEnd(index, call) for index, call in enumerate(calls)), Finish(response)]

    def _parts(self, parts: tuple[Part, ...], calls: list[ToolCall]) -> Iterator[Part]:
        """The parts, with what is to go back with the next turn."""
        thought = "".join(part.text for part in parts if isinstance(part, Reasoning))
        details = {name: thought if name in THOUGHTS else value for name, value in self._details.items()}
        if (reasoning := reasoning_of(thought, details)) is not None:
            yield reasoning
        yield from (part for part in parts if not isinstance(part, Reasoning | ToolCall))
        yield from calls

    def _told(self) -> list[ToolCall]:
        started = sorted((call for call in self._calls if call.started), key=lambda call: call.ours)
        return told_apart(ToolCall(call.id or f"call_{call.ours}", call.name, call.text, call.extra or None) for call in started)

    def _words(self, text: str) -> None:
        """An end mark in any writing, or a failure in words."""
        if not text.strip("\"' ").upper().startswith("[DONE]"):
            raise AnswerError.told({"message": plain_text(text)})
        self.done = True

    def _several(self, data: bytes, error: Exception) -> Iterator[Any]:
        """The values in data that is not one JSON value: several, with an end mark after them, or a failure in words."""
        text, at = text_of_bytes(data).strip(), 0
        if in_words(text):
            self._words(text)
            return
        while at < len(text):
            if text.startswith("[DONE]", at):
                self.done = True
                return
            try:
                value, at = _DECODER.raw_decode(text, at)
            except (ValueError, RecursionError):
                raise no_json(text[at:], error) if at else AnswerError.malformed("it is not JSON") from None
            yield value
            while at < len(text) and text[at] in " \r\n\t,":
                at += 1

    def _chunk(self, value: Any) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        if not isinstance(value, dict) or "error" in value or not cast("dict[str, Any]", value).get("choices"):
            value = answer_in(value)
        chunk = cast("dict[str, Any]", value)
        try:
            self._take(chunk, events)
        except MISFITS as error:
            raise AnswerError.malformed(f"it lacks the form of a chunk ({_why(error)})") from None
        return events

    def _take(self, chunk: dict[str, Any], events: list[StreamEvent]) -> None:
        if not self._started:
            self._started = True
            self._id = word(chunk.get("id"))
            self._add(Start(word(chunk.get("model")) or self._model, self._id), events)
        self._note(chunk)
        usage = chunk.get("usage")
        for choice in listed(chunk.get("choices"), "choices"):
            choice = mapping(choice, "a choice")
            if choice.get("index"):
                continue  # a further answer, asked for by provider_options
            delta = choice.get("delta")
            if delta is None and choice.get("message") is not None:
                delta = choice["message"]  # some end a stream so, some send nothing else
                if self._made.text or self._calls:
                    delta = None
            if delta:
                self._delta(mapping(delta, "the delta"), events)
            raw = word(choice.get("finish_reason"))
            fail_with(choice, raw)
            if raw is not None and finish_of(self._finish_raw, False, False) not in _KEPT:
                self._finish_raw = raw
            usage = usage or choice.get("usage")
        if usage is not None and (known := usage_of(usage)).raw is not None and known != self._made.usage:
            self._add(UsageUpdate(_never_less(known, self._made.usage)), events)

    def _add(self, event: StreamEvent, events: list[StreamEvent]) -> None:
        self._made.add(event)
        events.append(event)

    def _note(self, chunk: dict[str, Any]) -> None:
        """What each chunk repeats; Azure's first names neither id nor model."""
        if model := chunk.get("model"):
            self._model = word(model) or self._model
        if self._id is None:
            self._id = word(chunk.get("id"))
        for name in METADATA:
            if chunk.get(name) is not None:
                self._metadata[name] = chunk[name]

    def _delta(self, delta: Mapping[str, Any], events: list[StreamEvent]) -> None:
        content = delta.get("content")
        for name in THOUGHTS:
            if thought := flat(delta.get(name)):
                self._details.setdefault(name, "")
                self._add(ReasoningDelta(thought), events)
                break
        for name in HANDED_BACK:
            if found := delta.get(name):
                self._details[name] = merged(self._details.get(name), found)
        if type(content) is str:
            if content:
                self._add(TextDelta(content), events)
        elif content is not None:
            self._pieces(content, events)
        if refusal := flat(delta.get("refusal")):
            self._refused = True
            self._add(TextDelta(refusal), events)
        for fragment in listed(delta.get("tool_calls"), "tool_calls"):
            self._fragment(mapping(fragment, "a tool call"), events)
        if legacy := delta.get("function_call"):
            self._fragment({"index": _LEGACY, "function": legacy}, events)

    def _pieces(self, content: Any, events: list[StreamEvent]) -> None:
        """Content as parts."""
        for kind, text in pieces_of(content):
            self._refused = self._refused or kind == "refusal"
            self._add(ReasoningDelta(text) if kind == "thought" else TextDelta(text), events)

    def _fragment(self, fragment: Mapping[str, Any], events: list[StreamEvent]) -> None:
        """A piece of a call."""
        function = function_of(fragment)
        name, arguments = word(function.get("name")), arguments_of(function.get("arguments"))
        id_, place = word(fragment.get("id")), _place(fragment.get("index"))
        call = self._known(place, id_)
        if call is not None and self._is_further(call, id_, name, arguments):
            call = None
        if call is None:
            call = _Call(len(self._calls))
            self._calls.append(call)
        if place is not None:
            self._places[place] = call
        call.id = call.id or id_
        call.extra = merged(call.extra, extra_of(fragment)) or {}
        if name and name != call.name:
            if not call.name:
                call.name = name
            elif self._in_pieces(call.name + name):
                call.name += name
        if call.name and not call.started and (arguments or not self._in_pieces(call.name) or call.name in self._tools):
            self._begin(call, events)
        if arguments:
            call.arguments.append(arguments)
            if call.started:
                self._add(ToolCallDelta(call.ours, arguments), events)

    def _known(self, place: int | None, id_: str | None) -> _Call | None:
        """The call that a fragment may go on. Some servers number no calls, or all the same."""
        if place is not None:
            return self._places.get(place)
        if id_ is not None:
            same = next((call for call in reversed(self._calls) if call.id == id_), None)
            if same is not None or not self._calls or self._calls[-1].id is not None:
                return same
        return self._calls[-1] if self._calls else None

    def _is_further(self, call: _Call, id_: str | None, name: str | None, arguments: str) -> bool:
        """Whether a fragment, in spite of its place, begins a further call."""
        if name is None or not call.name or (name != call.name and not call.arguments and self._in_pieces(call.name + name)):
            return False
        if id_ is not None and call.id is not None and id_ != call.id:
            return name != call.name or not call.arguments or call.whole
        if name != call.name:
            return True
        return bool(arguments) and bool(call.arguments) and call.whole

    def _in_pieces(self, name: str) -> bool:
        """Whether a name is the beginning of a tool's."""
        return any(tool.startswith(name) for tool in self._tools)

    def _begin(self, call: _Call, events: list[StreamEvent]) -> None:
        """Tell of a call whose name has come; its index among the told is the order of that."""
        call.started = True
        call.ours = sum(other.started for other in self._calls) - 1
        self._add(ToolCallStart(call.ours, call.id or f"call_{call.ours}", call.name), events)
        for arguments in call.arguments:
            self._add(ToolCallDelta(call.ours, arguments), events)


def merged(known: Any, further: Any) -> Any:
    """What goes back with the next turn, with a further piece of it; pieces of a list are told apart by index, id and type."""
    if isinstance(further, list) and isinstance(known, list | None):
        found = list(cast("list[Any]", known or []))
        for item in cast("list[Any]", further):
            last = found[-1] if found else None
            if isinstance(item, Mapping) and isinstance(last, Mapping) and _same(cast("Any", last), cast("Any", item)):
                found[-1] = _joined(cast("Mapping[str, Any]", last), cast("Mapping[str, Any]", item))
            else:
                found.append(item)
        return found
    if isinstance(further, Mapping) and isinstance(known, Mapping):
        both = dict(cast("Mapping[str, Any]", known))
        for name, value in cast("Mapping[str, Any]", further).items():
            both[name] = merged(both.get(name), value) if isinstance(value, Mapping) else value
        return both
    return cast("Any", further)


def _same(last: Mapping[str, Any], item: Mapping[str, Any]) -> bool:
    if "index" not in item or any(last.get(name) != item.get(name) for name in ("index", "type")):
        return False
    return last.get("id") is None or item.get("id") is None or last["id"] == item["id"]


def _joined(last: Mapping[str, Any], item: Mapping[str, Any]) -> dict[str, Any]:
    both = dict(last)
    for name, value in item.items():
        before = both.get(name)
        if name in _JOINED and isinstance(value, str) and isinstance(before, str):
            both[name] = before + value
        elif value is not None:
            both[name] = value
    return both


def _never_less(usage: Usage, before: Usage | None) -> Usage:
    """The later count; a server that says the input once and the output later means both."""
    if before is None or (usage.input and usage.output):
        return usage
    return replace(usage, input=usage.input or before.input, output=usage.output or before.output)


def _place(index: Any) -> int | None:
    if isinstance(index, str) and index.isascii() and index.isdigit():
        return int(index[:9])
    return index if isinstance(index, int) and not isinstance(index, bool) else None


def _why(error: BaseException) -> str:
    return str(error) if isinstance(error, FormError) else f"{type(error).__name__}: {error}"[:100]
