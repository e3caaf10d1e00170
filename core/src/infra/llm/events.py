"""What a stream yields: one `Start`, then deltas, then exactly one `Finish` with the whole response."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from infra.llm.model import LLMWarning, Part, Reasoning, Response, Text, ToolCall, Usage


@dataclass(frozen=True, slots=True)
class Start:
    """The provider began to answer."""

    model: str = ""
    id: str | None = None
    warnings: tuple[LLMWarning, ...] = ()


@dataclass(frozen=True, slots=True)
class TextDelta:
    """Further words of the answer; never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """Further words of what the model thinks."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCallStart:
    """The model begins to ask for a tool. `index` tells calls of one answer apart."""

    index: int
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A further piece of a call's arguments, as JSON text."""

    index: int
    arguments: str


@dataclass(frozen=True, slots=True)
class ToolCallEnd:
    """A call is complete."""

    index: int
    call: ToolCall


@dataclass(frozen=True, slots=True)
class UsageUpdate:
    """Tokens so far; it replaces earlier ones."""

    usage: Usage


@dataclass(frozen=True, slots=True)
class Finish:
    """The end, with all of it."""

    response: Response


StreamEvent: TypeAlias = Start | TextDelta | ReasoningDelta | ToolCallStart | ToolCallDelta | ToolCallEnd | UsageUpdate | Finish

#: Events that show the reader something: after one of these a stream cannot be repeated.
CONTENT = (TextDelta, ReasoningDelta, ToolCallStart, ToolCallDelta, ToolCallEnd)


class Assembler:
    """Puts a response together from the events of its stream; drivers feed it, then make their `Finish`."""

    __slots__ = ("_order", "_reasoning", "_text", "_tools", "usage")

    def __init__(self) -> None:
        self._order: list[str] = []
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._tools: dict[int, tuple[str, str, list[str]]] = {}
        self.usage: Usage | None = None

    def add(self, event: StreamEvent) -> None:
        """Take in the next event."""
        if isinstance(event, TextDelta):
            self._text.append(event.text)
        elif isinstance(event, ReasoningDelta):
            self._reasoning.append(event.text)
        elif isinstance(event, ToolCallStart):
            self._tools[event.index] = (event.id, event.name, [])
        elif isinstance(event, ToolCallDelta):
            self._tools[event.index][2].append(event.arguments)
        elif isinstance(event, UsageUpdate):
            self.usage = event.usage

    @property
    def text(self) -> str:
        """The words so far."""
        return "".join(self._text)

    def calls(self) -> Iterator[tuple[int, ToolCall]]:
        """The tool calls so far, each with its index."""
        for index, (id_, name, pieces) in sorted(self._tools.items()):
            yield index, ToolCall(id_, name, "".join(pieces))

    def parts(self) -> tuple[Part, ...]:
        """Reasoning, then text, then tool calls, as far as there are any."""
        parts: list[Part] = []
        if self._reasoning:
            parts.append(Reasoning("".join(self._reasoning)))
        if self._text:
            parts.append(Text(self.text))
        parts += [call for _, call in self.calls()]
        return tuple(parts)

    def response(self, **fields: Any) -> Response:
        """The response, with the fields that no event carries: finish, finish_raw, id, model, cost, metadata, warnings."""
        fields.setdefault("usage_stats", self.usage or Usage())
        return Response(content=self.text, parts=self.parts(), **fields)


def replayed(response: Response) -> Iterator[StreamEvent]:
    """A response as the stream that it could have been; text in pieces of about a word."""
    yield Start(response.model, response.id, response.warnings)
    index = 0
    for part in response.parts or (Text(response.content),):
        if isinstance(part, Text):
            yield from (TextDelta(piece) for piece in pieces(part.text))
        elif isinstance(part, Reasoning) and part.text:
            yield ReasoningDelta(part.text)
        elif isinstance(part, ToolCall):
            yield ToolCallStart(index, part.id, part.name)
            if part.arguments:
                yield ToolCallDelta(index, part.arguments)
            yield ToolCallEnd(index, part)
            index += 1
    yield UsageUpdate(response.usage_stats)
    yield Finish(response)


def pieces(text: str, size: int = 24) -> Iterator[str]:
    """`text` cut after about `size` characters, at a space where there is one."""
    start = 0
    while start < len(text):
        end = text.find(" ", start + size)
        end = len(text) if end < 0 else end + 1
        yield text[start:end]
        start = end
