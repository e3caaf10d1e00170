"""The values of the LLM room: messages and their parts, options, usage, responses."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast, overload

from infra.llm.errors import InvalidRequestError, InvalidResponseError

if TYPE_CHECKING:
    from pydantic import BaseModel


class LLMFeature(StrEnum):
    """What not every provider can do."""

    TOOLS = "tools"
    PARALLEL_TOOLS = "parallel-tools"
    JSON_SCHEMA = "json-schema"
    JSON_MODE = "json-mode"
    IMAGES = "images"
    FILES = "files"
    REASONING = "reasoning"
    EMBEDDINGS = "embeddings"


class Role(StrEnum):
    """Who a message is from. TOOL messages hold the results of tool calls."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class FinishReason(StrEnum):
    """Why an answer ended."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Text:
    """Words."""

    text: str


@dataclass(frozen=True, slots=True)
class Image:
    """A picture: its bytes, or a URL that the provider fetches."""

    data: bytes | None = field(default=None, repr=False)
    url: str | None = None
    media_type: str = "image/png"


@dataclass(frozen=True, slots=True)
class File:
    """A document for the model to read: its bytes, or a URL that the provider fetches."""

    data: bytes | None = field(default=None, repr=False)
    url: str | None = None
    media_type: str = "application/pdf"
    name: str | None = None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model asks for a tool.

    Args:
        id: The provider's identifier of this call; the result refers to it.
        name: The tool's name.
        arguments: A JSON object as the model wrote it; empty text stands for no arguments.
        details: What else the provider gave with it, such as a signature, to go back as it is with the next turn; None for nothing.
    """

    id: str
    name: str
    arguments: str = ""
    details: Mapping[str, Any] | None = field(default=None, hash=False, repr=False)

    def decoded(self) -> dict[str, Any]:
        """The arguments as a dictionary.

        Raises:
            InvalidResponseError: The model wrote something else than a JSON object.
        """
        try:
            values = json.loads(self.arguments or "{}")
        except (ValueError, RecursionError) as error:
            raise InvalidResponseError(f"the arguments of tool call {self.name} are not JSON: {error}") from None
        if not isinstance(values, dict):
            raise InvalidResponseError(f"the arguments of tool call {self.name} are not a JSON object")
        return cast("dict[str, Any]", values)


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool answered, as text (JSON where it is structured)."""

    id: str
    content: str
    name: str | None = None
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class Reasoning:
    """What the model thought before it answered.

    Args:
        text: The part that the provider shows; may be empty.
        signature: An opaque value to hand back in the next turn; None when the provider has none.
        details: All that the provider gave with it, to go back as it is with the next turn; None for nothing.
    """

    text: str
    signature: str | None = None
    details: Mapping[str, Any] | None = field(default=None, hash=False, repr=False)


Part: TypeAlias = Text | Image | File | ToolCall | ToolResult | Reasoning


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation. Text may be given instead of parts.

    Args:
        role: Who it is from.
        parts: What it holds, in order.
        name: Tells participants of the same role apart; None for most.

    Raises:
        InvalidRequestError: There is no such role.
    """

    role: Role
    parts: tuple[Part, ...]
    name: str | None = None

    def __init__(self, role: Role | str, parts: str | Part | Sequence[Part] = (), name: str | None = None) -> None:
        if isinstance(parts, str):
            parts = (Text(parts),)
        elif not isinstance(parts, Sequence):
            parts = (parts,)
        if not isinstance(role, Role):
            try:
                role = Role(role)
            except ValueError:
                known = ", ".join(each.value for each in Role)
                raise InvalidRequestError(f"{role!r:.60} is no role of a message", remedy=f"take one of: {known}") from None
        object.__setattr__(self, "role", role)
        object.__setattr__(self, "parts", tuple(parts))
        object.__setattr__(self, "name", name)

    @property
    def text(self) -> str:
        """All its text parts, joined."""
        return text_of(self.parts)

    @classmethod
    def system(cls, text: str) -> Message:
        """Instructions that stand above the conversation."""
        return cls(Role.SYSTEM, text)

    @classmethod
    def user(cls, parts: str | Part | Sequence[Part], name: str | None = None) -> Message:
        """A turn of the user's."""
        return cls(Role.USER, parts, name)

    @classmethod
    def assistant(cls, parts: str | Part | Sequence[Part]) -> Message:
        """A turn of the model's."""
        return cls(Role.ASSISTANT, parts)

    @classmethod
    def tool(cls, *results: ToolResult) -> Message:
        """The results of tool calls."""
        return cls(Role.TOOL, results)


#: What may be asked: a user's words, one message, or a conversation.
Input: TypeAlias = str | Message | Sequence[Message]


def messages_of(asked: Input) -> tuple[Message, ...]:
    """`asked` as a conversation.

    Raises:
        InvalidRequestError: It is empty, or holds something else than messages.
    """
    if isinstance(asked, str):
        return (Message(Role.USER, asked),)
    if isinstance(asked, Message):
        return (asked,)
    try:
        messages = tuple(asked)
    except TypeError:
        messages = ()
    if not messages or not all(isinstance(message, Message) for message in messages):
        raise InvalidRequestError("the conversation must be text or at least one Message", remedy='write Message.user("...")')
    return messages


def text_of(parts: Sequence[Part]) -> str:
    """The text parts of `parts`, joined."""
    return "".join(part.text for part in parts if isinstance(part, Text))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """Something that the model may ask to have done.

    Args:
        name: Letters, digits, ``_`` and ``-``; at most 64.
        description: What it does and when to use it, for the model.
        parameters: The JSON schema of its arguments, an object.
        function: What `run_tools` calls with the arguments as keywords; None for a tool that the host runs itself.
        convert: Makes of the decoded arguments what `function` takes; an exception of it is told to the model. None takes them as they are.
    """

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})
    function: Callable[..., Any] | None = field(default=None, compare=False, repr=False)
    convert: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = field(default=None, compare=False, repr=False)


CacheMode: TypeAlias = Literal["auto", "always", "never", "refresh"]
ToolChoice: TypeAlias = str  # "auto", "none", "required", or the name of a tool


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to answer. None leaves it to the resource's settings, then to the provider.

    Args:
        model: The model's name at the provider.
        max_output_tokens: Where the answer is cut, with ``finish="length"``.
        temperature: 0 for the likeliest words; higher for more variety.
        top_p: Sample only from the likeliest words that together have this probability.
        top_k: Sample only from this many of the likeliest words.
        stop: Texts that end the answer; they are not part of it.
        seed: Equal seeds give equal answers, as far as the provider can.
        frequency_penalty: Above 0, words are repeated less the more often they occurred.
        presence_penalty: Above 0, words that occurred are repeated less.
        tools: What the model may ask to have done.
        tool_choice: ``auto``, ``none``, ``required``, or the name of the tool that must be asked for.
        parallel_tool_calls: Whether one answer may ask for several tools.
        output: A pydantic model class, or the JSON schema of an object, that the answer must fit.
        reasoning: How much to think first: ``none``, ``low``, ``medium``, ``high``, or a word of the provider's.
        provider_options: Further options, passed to the provider as they are.
        task: What the call is for, such as ``summary``: one of few words, for logs and metrics. The offline provider does tasks by name.
        timeout: Seconds for the whole call, with all attempts.
        cache: ``auto`` keeps only answers at temperature 0 or with a seed, ``always`` all, ``never`` none; ``refresh`` asks again and
            replaces what was kept.
        namespace: Separates kept answers, such as by tenant.
        sensitive: True keeps the answer out of caches and logs.
        strict: True makes an option that the provider ignores an error instead of a warning.
        metadata: Facts of the host's for logs and traces; never sent.
    """

    model: str | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: Sequence[str] | None = None
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    tools: Sequence[Tool] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    output: type[BaseModel] | Mapping[str, Any] | None = None
    reasoning: str | None = None
    provider_options: Mapping[str, Any] | None = None
    task: str | None = None
    timeout: float | None = None
    cache: CacheMode | None = None
    namespace: str | None = None
    sensitive: bool | None = None
    strict: bool | None = None
    metadata: Mapping[str, Any] | None = None

    def over(self, defaults: Options | None) -> Options:
        """These options, with `defaults` where they say nothing."""
        if defaults is None:
            return self
        said = {name: value for name in OPTION_NAMES if (value := getattr(self, name)) is not None}
        return replace(defaults, **said) if said else defaults


OPTION_NAMES = tuple(option.name for option in fields(Options))

#: Options that the portable class carries out itself; a driver neither honours nor ignores them.
PORTABLE_OPTIONS = frozenset(
    {"output", "tools", "provider_options", "task", "timeout", "cache", "namespace", "sensitive", "strict", "metadata"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens spent. None is "the provider did not say", which is not 0.

    Args:
        input: All tokens read, cached ones included.
        cached_input: Those of `input` that came from the provider's own prompt cache.
        cache_write: Those of `input` that were written to it.
        output: All tokens written, reasoning included.
        reasoning: Those of `output` that were reasoning.
        estimated: True when counted here instead of by the provider, or when a sum lacks a part.
        raw: The provider's own record.
    """

    input: int | None = None
    cached_input: int | None = None
    cache_write: int | None = None
    output: int | None = None
    reasoning: int | None = None
    estimated: bool = False
    raw: Mapping[str, Any] | None = None

    @property
    def prompt_tokens(self) -> int | None:
        """`input`, by the name that OpenAI gives it."""
        return self.input

    @property
    def completion_tokens(self) -> int | None:
        """`output`, by the name that OpenAI gives it."""
        return self.output

    @property
    def total_tokens(self) -> int | None:
        """Input and output together; None when either is unknown."""
        return None if self.input is None or self.output is None else self.input + self.output

    def __add__(self, other: Usage) -> Usage:
        """The sum of what both know; estimated when one of them does not know its input or output."""
        return Usage(
            input=_sum(self.input, other.input),
            cached_input=_sum(self.cached_input, other.cached_input),
            cache_write=_sum(self.cache_write, other.cache_write),
            output=_sum(self.output, other.output),
            reasoning=_sum(self.reasoning, other.reasoning),
            estimated=self.estimated or other.estimated or (self.total_tokens is None) != (other.total_tokens is None),
        )


def _sum(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    return one + other


@dataclass(frozen=True, slots=True)
class LLMWarning:
    """Something about an answer that its reader should know.

    Args:
        kind: ``unsupported-option``, ``offline``, or a word of the provider's.
        message: One sentence.
        option: The option that it is about; None for others.
    """

    kind: str
    message: str
    option: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An answer.

    Args:
        content: Its text.
        parts: All of it, in order: text, reasoning, tool calls.
        parsed: What `Options.output` asked for: a model's instance, or the decoded object for a JSON schema.
        finish: Why it ended.
        finish_raw: The provider's own word for that.
        usage_stats: Tokens of all attempts that were answered.
        cost: In US dollars; None when the price is not known.
        metadata: Further facts, JSON-ready.
        warnings: What its reader should know, such as ignored options.
        attempts: How many times the provider was asked.
        cached: True when it came from a cache or from a concurrent equal call; it then costs 0.
        id: The provider's identifier of it.
        model: The model that answered.
    """

    content: str
    parts: tuple[Part, ...] = ()
    parsed: Any = None
    finish: FinishReason = FinishReason.STOP
    finish_raw: str | None = None
    usage_stats: Usage = field(default_factory=Usage)
    cost: Decimal | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    warnings: tuple[LLMWarning, ...] = ()
    attempts: int = 1
    cached: bool = False
    id: str | None = None
    model: str = ""

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tools that it asks for."""
        return tuple(part for part in self.parts if isinstance(part, ToolCall))

    @property
    def message(self) -> Message:
        """It as a turn of the conversation, to ask further."""
        return Message(Role.ASSISTANT, self.parts or self.content)

    def with_warnings(self, *warnings: LLMWarning) -> Response:
        """It with further warnings."""
        return replace(self, warnings=(*self.warnings, *warnings)) if warnings else self


@dataclass(frozen=True, slots=True, kw_only=True)
class Embeddings(Sequence[tuple[float, ...]]):
    """Vectors, in the order of the texts; it is a sequence of them.

    Args:
        vectors: One for each text.
        model: The model that made them.
        usage_stats: Tokens of all batches.
        cost: In US dollars; None when the price is not known.
        metadata: Further facts; ``lexical`` is True when they compare words, not meaning.
        warnings: What their reader should know.
    """

    vectors: tuple[tuple[float, ...], ...]
    model: str = ""
    usage_stats: Usage = field(default_factory=Usage)
    cost: Decimal | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    warnings: tuple[LLMWarning, ...] = ()

    @property
    def dimensions(self) -> int:
        """The length of each vector; 0 when there is none."""
        return len(self.vectors[0]) if self.vectors else 0

    def __len__(self) -> int:
        return len(self.vectors)

    @overload
    def __getitem__(self, index: int) -> tuple[float, ...]: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[tuple[float, ...], ...]: ...
    def __getitem__(self, index: int | slice) -> tuple[float, ...] | tuple[tuple[float, ...], ...]:
        return self.vectors[index]

    def __iter__(self) -> Iterator[tuple[float, ...]]:
        return iter(self.vectors)
