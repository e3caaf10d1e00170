"""Envelopes as SQS messages: text bodies and message attributes.

What SQS has no place for stands in one attribute, ``infra``, as JSON. Headers are attributes of their own as far as SQS allows their names
and values, and up to `_MOST_HEADERS`: of the ten attributes two are left to others, such as instrumentation; further headers go into the
JSON. Messages of publishers without that attribute are read too.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final, cast

from infra.errors import ErrorCode
from infra.queue.model import NO_HEADERS, OCTETS, DeadLetter, Message, now
from infra_sqs.failures import Refusal

#: The attribute that holds what SQS has no place for.
OWN: Final = "infra"
#: Bytes of a message that are kept free, for what a retry or a dead letter adds to it.
RESERVED: Final = 256
_MOST_HEADERS: Final = 7
_HEADER: Final = re.compile(r"(?!\.)(?!.*\.\.)(?!(?i:aws|amazon)\.)[A-Za-z0-9_.-]{1,256}(?<!\.)")
_FORBIDDEN: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_GROUP: Final = re.compile(r"[!-~]{1,128}")
_EMPTY: Final = "-"  # a body has one character at least
_STRING: Final = "String"


def entry(
    message: Message,
    fifo: bool,
    largest: int,
    *,
    dedup: str | None = None,
    group: str | None = None,
    **further: str,
) -> tuple[dict[str, Any], int]:
    """The entry of a SendMessageBatch, without its id, and its size in bytes.

    Args:
        message: The envelope.
        fifo: Whether it is for a FIFO queue.
        largest: The most bytes.
        dedup: The deduplication id, where it is neither the `dedup_key` nor the message's id.
        group: The group; the message's key when None, and without key one of its own: who has no order need not wait for others.
        further: Fields to add: ``reason``, ``died_at``.

    Raises:
        Refusal: It is larger than `largest`.
    """
    body, encoding = _text(message.body)
    own: dict[str, object] = {
        "id": message.id,
        "content_type": message.content_type,
        "created_at": message.created_at.isoformat(),
        "key": message.key,
        "dedup_key": message.dedup_key,
        "deliver_at": message.deliver_at and message.deliver_at.isoformat(),
        "attempt": message.attempt or None,
        "traceparent": message.traceparent,
        "encoding": encoding,
        **further,
    }
    attributes: dict[str, dict[str, str]] = {}
    packed: dict[str, str] = {}
    size = len(body.encode())
    for name, value in message.headers.items():
        if len(attributes) < _MOST_HEADERS and name != OWN and value and _HEADER.fullmatch(name) and not _FORBIDDEN.search(value):
            attributes[name] = {"DataType": _STRING, "StringValue": value}
            size += len(name) + len(_STRING) + len(value.encode())
        else:
            packed[name] = value
    if packed:
        own["headers"] = packed
    text = json.dumps({name: value for name, value in own.items() if value is not None}, separators=(",", ":"))
    attributes[OWN] = {"DataType": _STRING, "StringValue": text}
    size += len(OWN) + len(_STRING) + len(text)
    if size > largest:
        raise Refusal(
            ErrorCode.INVALID_ARGUMENT,
            f"it has {size} bytes as SQS counts them, and {largest} is the most here: store the content and publish its address",
        )
    made: dict[str, Any] = {"MessageBody": body, "MessageAttributes": attributes}
    if fifo:
        made["MessageDeduplicationId"] = _identity(dedup or message.dedup_key or message.id)
        made["MessageGroupId"] = _identity(group or message.key or message.id)
    return made, size


def envelope(found: Mapping[str, Any], fifo: bool) -> tuple[Message, dict[str, Any]]:
    """The envelope of a message as ReceiveMessage gives it, and the fields of ours that it carries.

    The envelope's `attempt` is what it carries, without the deliveries that SQS has counted.
    """
    attributes = cast("Mapping[str, Mapping[str, Any]]", found.get("MessageAttributes") or {})
    system = system_attributes(found)
    own = _own(attributes)
    try:
        return (_ours(found, own, attributes, system) if own else _foreign(found, attributes, system, fifo)), own
    except (TypeError, ValueError):  # it only looks like ours
        return _foreign(found, attributes, system, fifo), {}


def _ours(found: Mapping[str, Any], own: dict[str, Any], attributes: Mapping[str, Mapping[str, Any]], system: Mapping[str, str]) -> Message:
    headers = {name: _plain(value) for name, value in attributes.items() if name != OWN} | own.get("headers", {})
    text = cast(str, found["Body"])
    encoding = own.get("encoding")
    body = base64.b64decode(text) if encoding == "base64" else b"" if encoding == "empty" else text.encode()
    return Message(
        body,
        own["id"],
        own.get("content_type", OCTETS),
        headers or NO_HEADERS,
        _time(own.get("created_at")) or _sent(system),
        own.get("key"),
        own.get("dedup_key"),
        _time(own.get("deliver_at")),
        int(own.get("attempt") or 0),
        own.get("traceparent"),
    )


def system_attributes(found: Mapping[str, Any]) -> Mapping[str, str]:
    """What SQS itself says of a message."""
    return cast("Mapping[str, str]", found.get("Attributes") or {})


def received_before(found: Mapping[str, Any]) -> int:
    """How often SQS has delivered the message, this time included."""
    return int(system_attributes(found).get("ApproximateReceiveCount") or 1)


def dead_letter(found: Mapping[str, Any], fifo: bool) -> DeadLetter:
    """A message of a dead-letter queue: one that this driver put there, or one that the server moved by its redrive policy."""
    message, own = envelope(found, fifo)
    reason = own.get("reason")
    if reason is None:
        message = replace(message, attempt=message.attempt + received_before(found) - 1)
        reason = "the server gave it up by the queue's redrive policy"
    return DeadLetter(message, str(reason), _time(own.get("died_at")) or now())


def _own(attributes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    try:
        own: Any = json.loads(attributes[OWN]["StringValue"])
    except (KeyError, ValueError):
        return {}
    return cast("dict[str, Any]", own) if isinstance(own, dict) and isinstance(cast("dict[str, Any]", own).get("id"), str) else {}


def _foreign(found: Mapping[str, Any], attributes: Mapping[str, Mapping[str, Any]], system: Mapping[str, str], fifo: bool) -> Message:
    """The envelope of a message that somebody else published."""
    headers = {name: _plain(value) for name, value in attributes.items()}
    named = next((headers[name] for name in ("content-type", "Content-Type", "contentType", "content_type") if name in headers), OCTETS)
    return Message(
        cast(str, found["Body"]).encode(),
        cast(str, found["MessageId"]),
        named,
        headers or NO_HEADERS,
        _sent(system),
        system.get("MessageGroupId") if fifo else None,
        traceparent=headers.get("traceparent"),
    )


def _text(body: bytes) -> tuple[str, str | None]:
    """The body as text that SQS takes, and how it is encoded."""
    if not body:
        return _EMPTY, "empty"
    try:
        text = body.decode()
    except UnicodeDecodeError:
        pass
    else:
        if not _FORBIDDEN.search(text):
            return text, None
    return base64.b64encode(body).decode("ascii"), "base64"


def _plain(value: Mapping[str, Any]) -> str:
    text = value.get("StringValue")
    return text if isinstance(text, str) else base64.b64encode(value.get("BinaryValue") or b"").decode("ascii")


def _identity(text: str) -> str:
    """A group or deduplication id: SQS takes 128 printable characters of ASCII."""
    return text if _GROUP.fullmatch(text) else hashlib.sha256(text.encode()).hexdigest()


def _sent(system: Mapping[str, str]) -> datetime:
    stamp = system.get("SentTimestamp")
    return datetime.fromtimestamp(int(stamp) / 1000, UTC) if stamp else now()


def _time(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        return None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
