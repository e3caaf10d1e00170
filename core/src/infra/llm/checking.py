"""What is wrong with a call, told before anything is asked, waited for or paid; the same for every provider."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, cast, get_args

from infra.llm.errors import InvalidRequestError
from infra.llm.model import CacheMode, File, Image, Message, Options, Part, Reasoning, Text, Tool, ToolCall, ToolResult

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_CHOICES: Final = ("auto", "none", "required")
_LONGEST: Final = 366 * 86_400.0  # seconds
_TEXTS: Final = ("model", "tool_choice", "reasoning", "task", "namespace")
_FLAGS: Final = ("parallel_tool_calls", "sensitive", "strict")
_NUMBERS: Final[Mapping[str, tuple[float, float]]] = {
    "temperature": (0, math.inf),
    "top_p": (0, 1),
    "frequency_penalty": (-math.inf, math.inf),
    "presence_penalty": (-math.inf, math.inf),
}
_COUNTS: Final[Mapping[str, float]] = {"max_output_tokens": 1, "top_k": 1, "seed": -math.inf}
_PARTS: Final = get_args(Part)


def check_options(options: Options) -> None:
    """Raise `InvalidRequestError` for an option that no provider could take."""
    if not isinstance(options, Options):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidRequestError(f"options are an Options, not a {type(options).__name__}", remedy="write Options(...)")
    for name in _TEXTS:
        if (value := getattr(options, name)) is not None and not (isinstance(value, str) and value):
            raise _wrong(name, value, "text that is not empty")
    for name in _FLAGS:
        if (value := getattr(options, name)) is not None and not isinstance(value, bool):
            raise _wrong(name, value, "True or False")
    for name, (least, most) in _NUMBERS.items():
        if (value := getattr(options, name)) is not None and not (_is_number(value) and least <= value <= most):
            raise _wrong(
                name, value, "a finite number" + (f" from {least:g}" if least > -math.inf else "") + (" to 1" if most == 1 else "")
            )
    for name, least in _COUNTS.items():
        if (value := getattr(options, name)) is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
            raise _wrong(name, value, "a whole number" + (" of at least 1" if least == 1 else ""))
    if options.cache is not None and options.cache not in get_args(CacheMode):
        raise _wrong("cache", options.cache, f"one of {', '.join(get_args(CacheMode))}")
    if options.timeout is not None:
        check_timeout(options.timeout)
    stop: Any = options.stop
    if stop is not None and (not _is_list(stop) or not all(isinstance(each, str) and each for each in stop)):
        raise _wrong("stop", stop, "a list of texts that are not empty")
    for name in ("provider_options", "metadata"):
        if (value := getattr(options, name)) is not None and not isinstance(value, Mapping):
            raise _wrong(name, value, "a mapping")
    if options.provider_options:
        _check_json("provider_options", options.provider_options)
    if options.tools is not None:
        check_tools(options.tools)
    if options.tools and options.tool_choice not in (None, *_CHOICES, *(each.name for each in options.tools)):
        names = ", ".join(each.name for each in options.tools)
        raise InvalidRequestError(
            f"tool_choice names {options.tool_choice}, which is not among the tools ({names})", remedy="name one of them, or take auto"
        )


def check_tools(tools: Any) -> None:
    """Raise `InvalidRequestError` for what is no list of tools with names of their own."""
    if not _is_list(tools):
        raise _wrong("tools", tools, "a list of tools")
    seen: set[str] = set()
    for each in tools:
        if not isinstance(each, Tool):
            raise _wrong("tools", each, "a list of Tool; infra.llm.tool(function) makes one")
        if not isinstance(each.name, str) or not _NAME.fullmatch(each.name):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidRequestError(
                f"{each.name!r:.80} is no name of a tool", remedy="take letters, digits, _ and -, at most 64: tool(function, name=...)"
            )
        if each.name in seen:
            raise InvalidRequestError(f"two tools are named {each.name}", remedy="give each a name of its own")
        seen.add(each.name)
        if not isinstance(each.parameters, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise _wrong(f"parameters of tool {each.name}", each.parameters, "a JSON schema")
        _check_json(f"parameters of tool {each.name}", each.parameters)


def check_messages(messages: Sequence[Message]) -> None:
    """Raise `InvalidRequestError` for a conversation that holds nothing, or what is no content."""
    holds = False
    for message in messages:
        for part in message.parts:
            _check_part(part)
            holds = holds or not isinstance(part, Text) or not (part.text == "" or part.text.isspace())
    if not holds:
        raise InvalidRequestError("the prompt is empty", remedy="say what to answer")


def check_texts(texts: Sequence[Any], dimensions: Any, model: Any) -> None:
    """Raise `InvalidRequestError` for texts that have no vector."""
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise InvalidRequestError(f"text {number} is a {type(text).__name__}", remedy="give texts as str")
        if not text:
            raise InvalidRequestError(f"text {number} is empty, which has no vector", remedy="leave empty texts out")
        _check_characters(text)
    if dimensions is not None and (isinstance(dimensions, bool) or not isinstance(dimensions, int) or dimensions < 1):
        raise _wrong("dimensions", dimensions, "a whole number of at least 1")
    if model is not None and not (isinstance(model, str) and model):
        raise _wrong("model", model, "text that is not empty")


def check_timeout(timeout: Any) -> None:
    """Raise `InvalidRequestError` for what is no time to wait."""
    value = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    if not _is_number(value) or not 0 < value <= _LONGEST:
        raise _wrong("timeout", timeout, "seconds above 0, at most a year")


def check_steps(max_steps: Any) -> None:
    """Raise `InvalidRequestError` for what is no number of steps."""
    if isinstance(max_steps, bool) or not isinstance(max_steps, int) or max_steps < 1:
        raise _wrong("max_steps", max_steps, "a whole number of at least 1")


def _check_part(part: Any) -> None:
    if isinstance(part, Text | Reasoning):
        texts: tuple[Any, ...] = (part.text,)
    elif isinstance(part, ToolCall):
        texts = (part.id, part.name, part.arguments)
    elif isinstance(part, ToolResult):
        texts = (part.id, part.content)
    elif isinstance(part, Image | File):
        if part.data is None and part.url is None:
            raise InvalidRequestError(f"the {type(part).__name__.lower()} has neither data nor a URL", remedy="give one of them")
        if part.data is not None and not isinstance(part.data, bytes):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise _wrong(f"data of the {type(part).__name__.lower()}", part.data, "bytes")
        texts = (part.url or "", part.media_type)
    else:
        raise InvalidRequestError(f"a {type(part).__name__} is no part of a message", remedy=f"give {', '.join(_names())}")
    for text in texts:
        if not isinstance(text, str):
            raise InvalidRequestError(f"a {type(part).__name__} holds a {type(text).__name__} for text", remedy="give it as str")
        _check_characters(text)


def _check_characters(text: str) -> None:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InvalidRequestError(
                f"character {error.start} of a text is half of a surrogate pair, which no server can be sent",
                remedy="decode the text rightly, or replace what is not Unicode",
            ) from None


def _check_json(name: str, value: Any) -> None:
    try:
        json.dumps(value, default=_plain, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequestError(
            f"{name} cannot be written as JSON: {error}", remedy="give text, finite numbers, lists or mappings"
        ) from None


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    raise TypeError(f"a {type(value).__name__} has no form in JSON")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray)


def _names() -> list[str]:
    return [cast("type[object]", kind).__name__ for kind in _PARTS]


def _wrong(name: str, value: Any, right: str) -> InvalidRequestError:
    return InvalidRequestError(f"{name} is {value!r:.60}; it must be {right}", remedy=f"correct {name}")
