"""The tables of outbox and inbox, in metadata of their own.

``create_all(outbox.metadata)`` makes them in development; for migrations, ``outbox.include(Base.metadata)`` makes them part of a host's
models.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import JSON, BigInteger, Column, Index, Integer, LargeBinary, MetaData, String, Table, Text, Uuid
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeEngine

from infra.database.models import NAMING_CONVENTION, UTCDateTime

metadata = MetaData(naming_convention=dict(NAMING_CONVENTION))


def _name() -> TypeEngine[str]:
    # MySQL would take A for a, and so one message for another.
    exact = mysql.VARCHAR(255, charset="utf8mb4", collation="utf8mb4_bin")
    return String(255).with_variant(exact, "mysql", "mariadb")


def _body() -> TypeEngine[bytes]:
    # MySQL's BLOB ends at 64 KiB.
    return LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")


#: Messages to be published; the columns are those of Debezium's outbox event router, and what a relay needs.
Outbox: Final = Table(
    "infra_outbox",
    metadata,
    Column("id", Uuid(), primary_key=True, comment="UUIDv7: the message's id at the queue"),
    Column("aggregatetype", _name(), nullable=False, comment="the queue resource's name"),
    Column("aggregateid", _name(), nullable=True, comment="the key: rows of one key are published in the order of sequence"),
    Column("sequence", BigInteger(), nullable=True, comment="drawn under the key's lock, which is held to commit"),
    Column("type", String(255), nullable=False, default="", comment="the kind of event"),
    Column("payload", _body(), nullable=False),
    Column("content_type", String(255), nullable=False),
    Column("headers", JSON(), nullable=False),
    Column("dedup_key", String(255), nullable=True),
    Column("occurred_at", UTCDateTime(), nullable=False),
    Column("available_at", UTCDateTime(), nullable=False, comment="not to be published before"),
    Column("attempts", Integer(), nullable=False, default=0),
    Column("refusals", Integer(), nullable=False, default=0, comment="attempts that the queue refused; they count towards dead"),
    Column("locked_by", String(255), nullable=True),
    Column("locked_until", UTCDateTime(), nullable=True),
    Column("published_at", UTCDateTime(), nullable=True),
    Column("dead_at", UTCDateTime(), nullable=True),
    Column("last_error", Text(), nullable=True),
    Index("ix_infra_outbox_pending", "published_at", "available_at", "occurred_at"),
    Index("ix_infra_outbox_key", "aggregatetype", "aggregateid", "sequence"),
)

#: What a commit notifies, where the server can.
CHANNEL: Final = "infra_outbox"

#: The last sequence of each key. Its row is the key's lock.
OutboxKey: Final = Table(
    "infra_outbox_key",
    metadata,
    Column("aggregatetype", _name(), primary_key=True),
    Column("aggregateid", _name(), primary_key=True),
    Column("sequence", BigInteger(), nullable=False),
)

#: Messages that were handled.
Inbox: Final = Table(
    "infra_inbox",
    metadata,
    Column("consumer", _name(), primary_key=True),
    Column("message_id", _name(), primary_key=True),
    Column("handled_at", UTCDateTime(), nullable=False, index=True),
)


def include(other: MetaData) -> None:
    """Add the tables to a host's metadata, so that its migrations create them."""
    for table in metadata.sorted_tables:
        if table.name not in other.tables:
            table.to_metadata(other)
