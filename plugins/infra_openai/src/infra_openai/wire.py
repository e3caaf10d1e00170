"""A request in the words of the protocol."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any

from infra.llm.driver import EmbedRequest, LLMRequest
from infra.llm.errors import InvalidRequestError
from infra.llm.model import File, Image, Message, Part, Reasoning, Role, Text, ToolCall, ToolResult, text_of
from infra.llm.output import OutputFormat, OutputMode
from infra_openai.contents import THOUGHTS
from infra_openai.schema import strict_schema

# Portable options that the protocol knows by the same name.
_SAME = ("temperature", "top_p", "top_k", "seed", "frequency_penalty", "presence_penalty")


def chat_body(request: LLMRequest, options: frozenset[str], limit_name: str) -> dict[str, Any]:
    """The body of a request for an answer.

    Args:
        request: What is asked.
        options: The portable options that the server honours; others are left out.
        limit_name: By which name it takes the token limit.

    Raises:
        InvalidRequestError: It names no model, or holds what the protocol cannot carry.
    """
    asked = request.options
    body: dict[str, Any] = {
        "model": _named(request.model, "model"),
        "messages": [message for each in request.messages for message in _messages(each)],
    }
    for name in _SAME:
        if name in options and (value := getattr(asked, name)) is not None:
            body[name] = value
    if asked.max_output_tokens is not None:
        body[limit_name] = asked.max_output_tokens
    if asked.stop is not None:
        body["stop"] = list(asked.stop)
    if asked.reasoning is not None:
        body["reasoning_effort"] = asked.reasoning
    if asked.tools:
        body["tools"] = [
            {"type": "function", "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters}}
            for tool in asked.tools
        ]
        # Without tools, servers refuse these two.
        if asked.tool_choice is not None:
            named = asked.tool_choice not in ("auto", "none", "required")
            body["tool_choice"] = {"type": "function", "function": {"name": asked.tool_choice}} if named else asked.tool_choice
        if asked.parallel_tool_calls is not None:
            body["parallel_tool_calls"] = asked.parallel_tool_calls
    if request.output is not None and (form := _form(request.output)) is not None:
        body["response_format"] = form
    if asked.provider_options:
        body.update(asked.provider_options)
    return body


def embed_body(request: EmbedRequest, encoding: str) -> dict[str, Any]:
    """The body of a request for vectors, as ``base64`` or ``float``.

    Raises:
        InvalidRequestError: It names no model.
    """
    # As base64 vectors are a third as long and need no parsing of numbers.
    body: dict[str, Any] = {
        "model": _named(request.model, "embedding_model"),
        "input": list(request.texts),
        "encoding_format": encoding,
    }
    if request.dimensions is not None:
        body["dimensions"] = request.dimensions
    return body


def _named(model: str, setting: str) -> str:
    if not model:
        raise InvalidRequestError("no model is named", remedy=f"set `{setting}` for this resource, or name one with the call")
    return model


def _form(output: OutputFormat) -> dict[str, Any] | None:
    if output.mode is OutputMode.JSON:
        return {"type": "json_object"}
    if output.mode is not OutputMode.SCHEMA:
        return None
    strict = strict_schema(output.schema)
    schema = {"name": _word(output.name), "schema": strict or output.schema, "strict": strict is not None}
    return {"type": "json_schema", "json_schema": schema}


def _word(name: str) -> str:
    """A name of the characters that the protocol allows."""
    return "".join(letter if letter.isascii() and (letter.isalnum() or letter in "_-") else "_" for letter in name) or "answer"


def _messages(message: Message) -> Iterable[dict[str, Any]]:
    """One message; several for the results of several tools.

    Reasoning has no place in the protocol: only what a server gave with it goes back to it. Its bare words go back within a tool's turn,
    where some servers need them; elsewhere others refuse them.
    """
    if message.role is Role.TOOL:
        for part in message.parts:
            if isinstance(part, ToolResult):
                yield {"role": "tool", "tool_call_id": part.id, "content": part.content}
        return
    made: dict[str, Any] = {"role": message.role.value}
    if message.role is Role.ASSISTANT:
        calls = [part for part in message.parts if isinstance(part, ToolCall)]
        made["content"] = text_of(message.parts) or (None if calls else "")
        for part in message.parts:
            if isinstance(part, Reasoning) and part.details:
                made.update((name, value) for name, value in part.details.items() if calls or name not in THOUGHTS)
        if calls:
            made["tool_calls"] = [_call(call) for call in calls]
    elif all(isinstance(part, Text) for part in message.parts):
        made["content"] = text_of(message.parts)
    else:
        made["content"] = [_part(part) for part in message.parts]
    if message.name is not None:
        made["name"] = message.name
    yield made


def _call(call: ToolCall) -> dict[str, Any]:
    """A call, with what the server gave with it."""
    extra = dict(call.details or {})
    function = {"name": call.name, "arguments": call.arguments or "{}", **extra.pop("function", {})}
    return {"id": call.id, "type": "function", "function": function, **extra}


def _part(part: Part) -> Mapping[str, Any]:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if isinstance(part, Image):
        return {"type": "image_url", "image_url": {"url": _address(part)}}
    if isinstance(part, File):
        if part.data is None:
            raise InvalidRequestError("this provider fetches no files by URL", remedy="give the file's bytes in `data`")
        return {"type": "file", "file": {"filename": part.name or "file", "file_data": _address(part)}}
    raise InvalidRequestError(f"a {type(part).__name__} has no place in a user's or system message")


def _address(part: Image | File) -> str:
    if part.data is not None:
        return f"data:{part.media_type};base64,{base64.b64encode(part.data).decode('ascii')}"
    if part.url is None:
        raise InvalidRequestError(f"the {type(part).__name__.lower()} has neither data nor a URL")
    return part.url
