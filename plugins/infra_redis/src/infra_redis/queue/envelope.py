"""Envelopes as entries of a stream: `id`, `body`, `about` (JSON of the rest) and, where there is one, `key`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from infra.queue.model import NO_HEADERS, OCTETS, DeadLetter, Message

_JSON: Final = "application/json"
_DIED: Final = 8  # fields and values that a dead letter has beside its message's


def about(message: Message) -> str:
    """What a message has beside its id, body and key. Times in microseconds."""
    rest: dict[str, object] = {"created": round(message.created_at.timestamp() * 1e6)}
    if message.content_type != OCTETS:
        rest["type"] = message.content_type
    if message.headers:
        rest["headers"] = dict(message.headers)
    if message.dedup_key is not None:
        rest["dedup"] = message.dedup_key
    if message.deliver_at is not None:
        rest["due"] = round(message.deliver_at.timestamp() * 1e6)
    if message.traceparent is not None:
        rest["trace"] = message.traceparent
    return json.dumps(rest, separators=(",", ":"))


def message(entry: bytes, fields: Sequence[bytes], attempt: int) -> Message:
    """The message in an entry, whoever added it: one of another form has its fields as a JSON object."""
    if len(fields) >= 6 and fields[0] == b"id" and fields[2] == b"body" and fields[4] == b"about":
        try:
            return _ours(fields, attempt)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError):  # it only looks like ours
            pass
    return Message(
        json.dumps(_texts(fields)).encode(),
        entry.decode(),
        _JSON,
        NO_HEADERS,
        _time(int(entry.partition(b"-")[0]) * 1000),
        attempt=attempt,
    )


def _ours(fields: Sequence[bytes], attempt: int) -> Message:
    rest = json.loads(fields[5])
    return Message(
        fields[3],
        fields[1].decode(),
        rest.get("type", OCTETS),
        rest.get("headers", NO_HEADERS),
        _time(rest["created"]),
        fields[7].decode() if len(fields) > 7 and fields[6] == b"key" else None,
        rest.get("dedup"),
        _time(rest["due"]) if "due" in rest else None,
        attempt,
        rest.get("trace"),
    )


def dead_letter(entry: bytes, fields: Sequence[bytes]) -> DeadLetter:
    """A dead letter; what was added when it died stands at the end."""
    died = _texts(fields[-_DIED:])
    at = int(died.get("died_at") or entry.partition(b"-")[0])
    original = died.get("entry", "").encode() or entry
    return DeadLetter(message(original, fields[:-_DIED], int(died.get("attempts") or 0)), died.get("reason", ""), _time(at * 1000))


def _texts(fields: Sequence[bytes]) -> dict[str, Any]:
    texts = [field.decode(errors="replace") for field in fields]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def _time(microseconds: int) -> datetime:
    return datetime.fromtimestamp(microseconds / 1e6, UTC)
