"""Writing a message in the caller's transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from datetime import timedelta
from typing import Any, Final, overload
from uuid import UUID

import pydantic
import pydantic_core
from sqlalchemy import insert, select
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from infra.database.model import DatabaseFeature
from infra.database.models import utcnow
from infra.database.outbox.tables import CHANNEL, Outbox, OutboxKey
from infra.errors import UnsupportedError
from infra.runtime.deadline import seconds
from infra.runtime.identifiers import uuid7

_LONGEST: Final = 255
_KEY: Final = ["aggregatetype", "aggregateid"]


@overload
def publish(
    session: AsyncSession,
    *,
    queue: str,
    body: object,
    key: str | None = None,
    type: str = "",
    headers: Mapping[str, str] | None = None,
    dedup_key: str | None = None,
    delay: float | timedelta | None = None,
) -> Awaitable[UUID]: ...
@overload
def publish(
    session: Session,
    *,
    queue: str,
    body: object,
    key: str | None = None,
    type: str = "",
    headers: Mapping[str, str] | None = None,
    dedup_key: str | None = None,
    delay: float | timedelta | None = None,
) -> UUID: ...
def publish(session: AsyncSession | Session, **message: Any) -> Awaitable[UUID] | UUID:
    """Write a message in the transaction of `session`; a relay publishes it after the commit. Await it with an `AsyncSession`.

    A message with a key takes the key's lock until the transaction ends, so that messages of one key are published in the order of their
    commits.

    Args:
        session: The session whose transaction it belongs to.
        queue: The name of a queue resource.
        body: Bytes as they are; a pydantic model or anything else that JSON can hold, as JSON.
        key: Messages of one key are published in order.
        type: The kind of event, for Debezium and for people.
        headers: Further text values.
        dedup_key: Passed on to the queue.
        delay: Seconds before which it is not published.

    Returns:
        The message's id, at the queue too.

    Raises:
        UnsupportedError: The session is in autocommit mode: there would be no transaction to share.
        ValueError: A name or key is longer than 255 characters.
    """
    if isinstance(session, AsyncSession):
        return session.run_sync(lambda inner: _publish(inner, **message))
    return _publish(session, **message)


def _publish(
    session: Session,
    *,
    queue: str,
    body: object,
    key: str | None = None,
    type: str = "",  # noqa: A002 - the column's name
    headers: Mapping[str, str] | None = None,
    dedup_key: str | None = None,
    delay: float | timedelta | None = None,
) -> UUID:
    for name, value in (("queue", queue), ("key", key), ("type", type), ("dedup_key", dedup_key)):
        if value is not None and len(value) > _LONGEST:
            raise ValueError(f"{name} is longer than {_LONGEST} characters")
    if session.connection().get_execution_options().get("infra_autocommit"):
        raise UnsupportedError(
            "an autocommit session has no transaction to write the message in",
            operation="publish",
            remedy="open the session without autocommit=True",
        )
    payload, content_type = _encode(body)
    now = utcnow()
    identity = uuid7()
    statement = insert(Outbox).values(
        id=identity,
        aggregatetype=queue,
        aggregateid=key,
        sequence=None if key is None else _next_sequence(session, queue, key),
        type=type,
        payload=payload,
        content_type=content_type,
        headers=dict(headers or {}),
        dedup_key=dedup_key,
        occurred_at=now,
        available_at=now if delay is None else now + timedelta(seconds=seconds(delay)),
        attempts=0,
        refusals=0,
    )
    database = session.info.get("database")
    if database is not None and DatabaseFeature.NOTIFY in database.features:
        statement = statement.returning(database.policy.notify(CHANNEL))  # no statement of its own, so no round trip
    session.execute(statement)
    return identity


def _next_sequence(session: Session, queue: str, key: str) -> int:
    row = {"aggregatetype": queue, "aggregateid": key, "sequence": 1}
    following = OutboxKey.c.sequence + 1
    dialect = session.connection().dialect.name
    if dialect in ("mysql", "mariadb"):
        session.execute(mysql.insert(OutboxKey).values(row).on_duplicate_key_update(sequence=following))
        return session.execute(select(OutboxKey.c.sequence).filter_by(aggregatetype=queue, aggregateid=key).with_for_update()).scalar_one()
    make = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}[dialect]
    statement = make(OutboxKey).values(row).on_conflict_do_update(index_elements=_KEY, set_={"sequence": following})
    return session.execute(statement.returning(OutboxKey.c.sequence)).scalar_one()


def _encode(body: object) -> tuple[bytes, str]:
    if isinstance(body, bytes | bytearray):
        return bytes(body), "application/octet-stream"
    if isinstance(body, pydantic.BaseModel):
        return body.model_dump_json().encode(), "application/json"
    return pydantic_core.to_json(body), "application/json"
