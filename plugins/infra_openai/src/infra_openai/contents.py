"""The contents of an answer as values of ours, whatever form a server gives them: text as parts, calls without ids, counts as text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, cast

from infra.llm.model import FinishReason, Part, Reasoning, Text, ToolCall, Usage

_FINISH: Final[Mapping[str, FinishReason]] = {
    "stop": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "eos": FinishReason.STOP,
    "eos_token": FinishReason.STOP,
    "end_turn": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "max_tokens": FinishReason.LENGTH,
    "model_length": FinishReason.LENGTH,
    "tool_calls": FinishReason.TOOL_CALLS,
    "tool_call": FinishReason.TOOL_CALLS,
    "tool_use": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.CONTENT_FILTER,
    "safety": FinishReason.CONTENT_FILTER,
    "recitation": FinishReason.CONTENT_FILTER,
    "refusal": FinishReason.CONTENT_FILTER,
    "sensitive": FinishReason.CONTENT_FILTER,
}
#: Words that end an answer which did not become whole.
FAILED: Final = frozenset({"error", "abort", "aborted", "cancelled", "insufficient_system_resource", "network_error"})
#: Fields of a message that a server wants back with the next turn, besides its words and calls.
HANDED_BACK: Final = ("reasoning_details", "thinking_blocks", "extra_content", "thought_signature", "reasoning_signature")
THOUGHTS: Final = ("reasoning_content", "reasoning")
_THINKING: Final = frozenset({"thinking", "reasoning", "reasoning_content", "redacted_thinking"})
_DEPTH: Final = 6
_MOST_TOKENS: Final = 2**63
_CALL: Final = frozenset({"id", "type", "index", "function", "name", "arguments"})


class FormError(Exception):
    """A value has another form than the protocol gives it."""


def mapping(value: Any, what: str) -> Mapping[str, Any]:
    """`value`, which must be an object.

    Raises:
        FormError: It is none.
    """
    if not isinstance(value, Mapping):
        raise FormError(f"{what} is no object")
    return cast("Mapping[str, Any]", value)


def listed(value: Any, what: str) -> Sequence[Any]:
    """`value` as a list: none for null, one for an object alone.

    Raises:
        FormError: It is neither.
    """
    if not value:
        return ()
    if isinstance(value, Mapping):
        return (cast("Any", value),)
    if not isinstance(value, list):
        raise FormError(f"{what} is no list")
    return cast("list[Any]", value)


def word(value: Any) -> str | None:
    """`value` as text that is not empty; None for anything else."""
    if isinstance(value, str):
        return value or None
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def flat(value: Any, depth: int = _DEPTH) -> str:
    """The words in text, an object that holds text, or a list of these."""
    if isinstance(value, str):
        return value
    if value is None or depth <= 0:
        return ""
    if isinstance(value, list):
        return "".join(flat(item, depth - 1) for item in cast("list[Any]", value))
    if isinstance(value, Mapping):
        held = cast("Mapping[str, Any]", value)
        for name in ("text", "thinking", "refusal", "summary", "reasoning", "content", "value", "parts"):
            if (found := flat(held.get(name), depth - 1)) != "":
                return found
    return ""


def pieces_of(content: Any) -> Iterator[tuple[str, str]]:
    """The pieces of a message's content, each with its kind: ``text``, ``thought`` or ``refusal``."""
    if isinstance(content, str):
        if content:
            yield "text", content
    elif isinstance(content, list):
        for item in cast("list[Any]", content):
            yield from pieces_of(item)
    elif isinstance(content, Mapping):
        held = cast("Mapping[str, Any]", content)
        kind = held.get("type")
        if kind in _THINKING:
            found = "thought"
        elif kind == "refusal":
            found = "refusal"
        else:
            found = "text"
        text = flat(held)
        if not text and kind is None:
            text = json.dumps(held, ensure_ascii=False)  # a JSON answer that the server decoded already
        if text:
            yield found, text
    elif content is not None and not isinstance(content, bool):
        yield "text", str(content)


def thought_of(message: Mapping[str, Any]) -> str:
    """What a message says was thought; servers that give both names give the same under both."""
    return next((text for name in THOUGHTS if (text := flat(message.get(name)))), "")


def handed_back(message: Mapping[str, Any]) -> dict[str, Any]:
    """What of a message's thoughts is to go back with the next turn, as the server wrote it."""
    found = {name: message[name] for name in (*THOUGHTS, *HANDED_BACK) if message.get(name)}
    content = message.get("content")
    items = cast("list[Any]", content) if isinstance(content, list) else ()
    if any(cast("Mapping[str, Any]", item).get("type") in _THINKING for item in items if isinstance(item, Mapping)):
        found["content"] = content
    return found


def reasoning_of(text: str, details: Mapping[str, Any]) -> Reasoning | None:
    """The part that holds thoughts and what goes back with them; None without either."""
    return Reasoning(text, signature_in(details), dict(details) or None) if text or details else None


def signature_in(details: Mapping[str, Any]) -> str | None:
    """The signature among what goes back."""
    for name in ("reasoning_signature", "thought_signature"):
        if isinstance(found := details.get(name), str):
            return found
    for name in ("reasoning_details", "thinking_blocks", "content"):
        held = details.get(name)
        for item in cast("list[Any]", held) if isinstance(held, list) else ():
            if isinstance(item, Mapping) and isinstance(found := cast("Mapping[str, Any]", item).get("signature"), str):
                return found
    return None


def arguments_of(value: Any) -> str:
    """Arguments as JSON text; some servers give them as an object."""
    if value is None or value == {}:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def function_of(call: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a call says of its function; some servers put that into the call itself."""
    function = call.get("function")
    if function is None:
        return call
    return mapping(function, "a call's function")


def extra_of(call: Mapping[str, Any]) -> dict[str, Any]:
    """What a call holds besides the protocol's own, to go back with the next turn."""
    extra = {name: value for name, value in call.items() if name not in _CALL and value is not None}
    function = call.get("function")
    if isinstance(function, Mapping):
        inner = {name: value for name, value in cast("Mapping[str, Any]", function).items() if name not in _CALL and value is not None}
        if inner:
            extra["function"] = inner
    return extra


def calls_of(message: Mapping[str, Any]) -> list[ToolCall]:
    """The tools that a whole message asks for.

    Raises:
        FormError: A call has no name.
    """
    found: list[ToolCall] = []
    calls = [mapping(call, "a tool call") for call in listed(message.get("tool_calls"), "tool_calls")]
    legacy = message.get("function_call")
    if not calls and legacy:
        calls = [{"function": mapping(legacy, "function_call")}]
    for call in calls:
        function = function_of(call)
        name = word(function.get("name"))
        arguments = arguments_of(function.get("arguments"))
        if name is None:
            if not arguments.strip():
                continue  # nothing but a place
            raise FormError("a tool call has no name")
        found.append(ToolCall(word(call.get("id")) or f"call_{len(found)}", name, arguments, extra_of(call) or None))
    return told_apart(found)


def told_apart(calls: Iterable[ToolCall]) -> list[ToolCall]:
    """The calls, each with an id of its own, so that results find their call."""
    seen: set[str] = set()
    found: list[ToolCall] = []
    for call in calls:
        id_, number = call.id, 1
        while id_ in seen:
            id_, number = f"{call.id}_{number}", number + 1
        seen.add(id_)
        found.append(call if id_ == call.id else ToolCall(id_, call.name, call.arguments, call.details))
    return found


def parts_of(message: Mapping[str, Any]) -> tuple[list[Part], bool]:
    """The parts of a whole message, and whether it is a refusal."""
    thoughts, words, refused = [thought_of(message)], list[str](), False
    for kind, text in pieces_of(message.get("content")):
        (thoughts if kind == "thought" else words).append(text)
        refused = refused or kind == "refusal"
    if refusal := flat(message.get("refusal")):
        refused = True
        if not words:
            words.append(refusal)
    parts: list[Part] = []
    if (reasoning := reasoning_of("".join(thoughts), handed_back(message))) is not None:
        parts.append(reasoning)
    if text := "".join(words):
        parts.append(Text(text))
    parts += calls_of(message)
    return parts, refused


def finish_of(raw: str | None, calls: bool, refused: bool) -> FinishReason:
    """Why an answer ended. A tool that had to be called ends it with ``stop``; a refusal does so too."""
    if refused:
        return FinishReason.CONTENT_FILTER
    finish = _FINISH.get((raw or "").lower(), FinishReason.OTHER)
    return FinishReason.TOOL_CALLS if calls and finish in (FinishReason.STOP, FinishReason.OTHER) else finish


def usage_of(usage: Any) -> Usage:
    """Tokens as the server counted them. A server that counts none says 0 of both, which no request has: that is not known."""
    if not isinstance(usage, dict):
        return Usage()
    said = cast("dict[str, Any]", usage)
    read = _count(said.get("prompt_tokens", said.get("input_tokens")))
    written = _count(said.get("completion_tokens", said.get("output_tokens")))
    if not read and not written:
        return Usage()
    of_input, of_output = _details(said, "prompt_tokens_details"), _details(said, "completion_tokens_details")
    cached = _count(of_input.get("cached_tokens"))
    return Usage(
        input=read,
        cached_input=_count(said.get("prompt_cache_hit_tokens")) if cached is None else cached,
        cache_write=_count(of_input.get("cache_write_tokens")),
        output=written,
        reasoning=_count(of_output.get("reasoning_tokens")),
        raw=said,
    )


def _details(usage: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = usage.get(name)
    return cast("Mapping[str, Any]", found) if isinstance(found, Mapping) else {}


def _count(value: Any) -> int | None:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _MOST_TOKENS:
        return None
    return int(value)
