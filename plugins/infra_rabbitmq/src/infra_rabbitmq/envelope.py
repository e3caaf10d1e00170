"""Envelopes as AMQP messages. Headers of ours begin with ``infra-``; the publisher's stand beside them under their own names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final, cast

from pika import BasicProperties

from infra.queue.model import NO_HEADERS, OCTETS, DeadLetter, Message, new_id, now

_CREATED: Final = "infra-created-at"
_DELIVER: Final = "infra-deliver-at"
_ATTEMPT: Final = "infra-attempt"  # deliveries before this copy was made
_ABANDONED: Final = "infra-abandoned"  # a receiver went without a word before this copy was made
_KEY: Final = "infra-key"
_REASON: Final = "infra-dead-reason"
_DIED: Final = "infra-died-at"
_TRACE: Final = "traceparent"
_ESCAPE: Final = "infra-header-"  # before a publisher's header whose name the broker or this module uses
_RESERVED: Final = ("x-", "infra-", _TRACE)
_PERSISTENT: Final = 2


def properties(
    message: Message, attempt: int = 0, *, abandoned: bool = False, reason: str | None = None, died_at: datetime | None = None
) -> BasicProperties:
    """The AMQP properties of `message`.

    Args:
        message: The envelope.
        attempt: Its deliveries so far.
        abandoned: Whether one of them ended without a word.
        reason: Why it is a dead letter.
        died_at: Since when.
    """
    headers: dict[str, Any] = {_CREATED: message.created_at.isoformat()}
    for name, value in message.headers.items():
        headers[_ESCAPE + name if name.startswith(_RESERVED) else name] = value
    if attempt:
        headers[_ATTEMPT] = attempt
    if abandoned:
        headers[_ABANDONED] = 1
    if message.key is not None:
        headers[_KEY] = message.key
    if message.deliver_at is not None:
        headers[_DELIVER] = message.deliver_at.isoformat()
    if message.traceparent is not None:
        headers[_TRACE] = message.traceparent
    if reason is not None:
        headers[_REASON] = reason
    if died_at is not None:
        headers[_DIED] = died_at.isoformat()
    return BasicProperties(
        content_type=message.content_type,
        delivery_mode=_PERSISTENT,
        message_id=message.id,
        timestamp=int(message.created_at.timestamp()),
        headers=headers,
    )


def envelope(properties: BasicProperties, body: bytes, delivery: int = 0) -> Message:
    """The envelope of an AMQP message, whoever published it.

    Args:
        properties: Its properties.
        body: Its body.
        delivery: 1 when this is a delivery, to be counted.
    """
    found = cast("dict[str, Any]", properties.headers or {})
    headers: Mapping[str, str] = NO_HEADERS
    own = {name: value for name, value in found.items() if not name.startswith(_RESERVED) or name.startswith(_ESCAPE)}
    if own:
        headers = {name.removeprefix(_ESCAPE): value if isinstance(value, str) else str(value) for name, value in own.items()}
    created = _time(found.get(_CREATED))
    if created is None:
        created = datetime.fromtimestamp(properties.timestamp, UTC) if isinstance(properties.timestamp, int) else now()
    return Message(
        body,
        properties.message_id or new_id(),
        properties.content_type or OCTETS,
        headers,
        created,
        _text(found.get(_KEY)),
        None,
        _time(found.get(_DELIVER)),
        _number(found.get(_ATTEMPT)) + _number(found.get("x-delivery-count")) + delivery,
        _text(found.get(_TRACE)),
    )


def redeliveries(properties: BasicProperties) -> int:
    """How often a quorum queue has delivered it before."""
    return _number(cast("dict[str, Any]", properties.headers or {}).get("x-delivery-count"))


def abandoned(properties: BasicProperties) -> bool:
    """Whether an earlier receiver went without a word; whoever gives a message back in order writes a copy."""
    return redeliveries(properties) > 0 or _number(cast("dict[str, Any]", properties.headers or {}).get(_ABANDONED)) > 0


def dead_letter(properties: BasicProperties, body: bytes) -> DeadLetter:
    """A message of a dead-letter queue, in which being looked at counts as being delivered."""
    found = cast("dict[str, Any]", properties.headers or {})
    deaths = cast("list[dict[str, Any]]", found.get("x-death") or [])
    death: dict[str, Any] = deaths[0] if deaths else {}
    when = _time(found.get(_DIED)) or death.get("time")
    if isinstance(when, datetime) and when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return DeadLetter(
        replace(envelope(properties, body), attempt=_number(found.get(_ATTEMPT))),
        _text(found.get(_REASON)) or f"the broker gave it up: {death.get('reason', 'no reason given')}",
        when if isinstance(when, datetime) else now(),
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _time(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        return None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
