"""Messages and responses as JSON values, for caches and logs, and back."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from infra.llm.model import (
    File,
    FinishReason,
    Image,
    LLMWarning,
    Message,
    Part,
    Reasoning,
    Response,
    Text,
    ToolCall,
    ToolResult,
    Usage,
)

#: How bytes are written; the cache key takes a digest instead.
Binary = Callable[[bytes], str]


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def part_to_json(part: Part, binary: Binary = _base64) -> dict[str, Any]:
    """One part, with its kind under ``type``."""
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if isinstance(part, ToolCall):
        return _detailed({"type": "tool_call", "id": part.id, "name": part.name, "arguments": part.arguments}, part)
    if isinstance(part, ToolResult):
        return {"type": "tool_result", "id": part.id, "content": part.content, "name": part.name, "is_error": part.is_error}
    if isinstance(part, Reasoning):
        return _detailed({"type": "reasoning", "text": part.text, "signature": part.signature}, part)
    data = None if part.data is None else binary(part.data)
    if isinstance(part, Image):
        return {"type": "image", "data": data, "url": part.url, "media_type": part.media_type}
    return {"type": "file", "data": data, "url": part.url, "media_type": part.media_type, "name": part.name}


def _detailed(value: dict[str, Any], part: ToolCall | Reasoning) -> dict[str, Any]:
    return value if part.details is None else {**value, "details": dict(part.details)}


_KINDS: Mapping[str, type[Part]] = {
    "text": Text,
    "tool_call": ToolCall,
    "tool_result": ToolResult,
    "reasoning": Reasoning,
    "image": Image,
    "file": File,
}


def part_from_json(value: Mapping[str, Any]) -> Part:
    """The part that `part_to_json` wrote; ValueError for an unknown kind."""
    fields = {name: item for name, item in value.items() if name != "type"}
    if fields.get("data") is not None:
        fields["data"] = base64.b64decode(fields["data"])
    kind = _KINDS.get(value["type"])
    if kind is None:
        raise ValueError(f"{value['type']!r} is not a kind of part")
    return kind(**fields)


def message_to_json(message: Message, binary: Binary = _base64) -> dict[str, Any]:
    """One message."""
    value: dict[str, Any] = {"role": message.role.value, "parts": [part_to_json(part, binary) for part in message.parts]}
    if message.name is not None:
        value["name"] = message.name
    return value


def message_from_json(value: Mapping[str, Any]) -> Message:
    """The message that `message_to_json` wrote."""
    return Message(value["role"], [part_from_json(part) for part in value["parts"]], value.get("name"))


_USAGE = ("input", "cached_input", "cache_write", "output", "reasoning")


def usage_to_json(usage: Usage) -> dict[str, Any]:
    """Usage, without what is not known."""
    value: dict[str, Any] = {name: count for name in _USAGE if (count := getattr(usage, name)) is not None}
    if usage.estimated:
        value["estimated"] = True
    if usage.raw is not None:
        value["raw"] = dict(usage.raw)
    return value


def response_to_json(response: Response) -> dict[str, Any]:
    """A response as JSON values. `parsed` is left out: it is made again from the content."""
    return {
        "content": response.content,
        "parts": [part_to_json(part) for part in response.parts],
        "finish": response.finish.value,
        "finish_raw": response.finish_raw,
        "usage": usage_to_json(response.usage_stats),
        "cost": None if response.cost is None else str(response.cost),
        "metadata": dict(response.metadata),
        "warnings": [{"kind": each.kind, "message": each.message, "option": each.option} for each in response.warnings],
        "attempts": response.attempts,
        "cached": response.cached,
        "id": response.id,
        "model": response.model,
    }


def response_from_json(value: Mapping[str, Any], **changes: Any) -> Response:
    """The response that `response_to_json` wrote, with `changes`; KeyError, TypeError or ValueError for anything else."""
    if changes:
        value = {**value, **changes}
    cost = value["cost"]
    return Response(
        content=value["content"],
        parts=tuple(part_from_json(part) for part in value["parts"]),
        finish=FinishReason(value["finish"]),
        finish_raw=value["finish_raw"],
        usage_stats=Usage(**value["usage"]),
        cost=cost if cost is None or isinstance(cost, Decimal) else Decimal(cost),
        metadata=value["metadata"],
        warnings=tuple(LLMWarning(**each) for each in value["warnings"]),
        attempts=value["attempts"],
        cached=value["cached"],
        id=value["id"],
        model=value["model"],
    )
