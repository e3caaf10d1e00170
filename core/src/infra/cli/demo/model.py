"""The demo's tables, message and prompt."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from infra.database import Base, Timestamps, UUIDPrimaryKey, new_metadata
from infra.database.repository import AsyncRepository
from infra.llm import Options, Prompt

NAME: Final = "demo"

#: The task by which the offline provider knows it is the prompt's name. Temperature 0 makes the answer worth keeping.
SUMMARY: Final = Prompt(
    name="summary",
    template="Summarise the following document in at most three sentences, in its own language.\n\n{{ text }}",
    options=Options(temperature=0.0, max_output_tokens=400),
)


def _exact(length: int) -> String:
    """Text that differs from any other: MySQL would take ``README.md`` and ``readme.md`` for the same."""
    return String(length).with_variant(String(length, collation="utf8mb4_bin"), "mysql", "mariadb")


class DemoBase(UUIDPrimaryKey, Timestamps, Base):
    """The base of the demo's models, with metadata of its own."""

    __abstract__ = True
    metadata = new_metadata(NAME)


class Run(DemoBase):
    """One run over some documents; unfinished until every one has its summary."""

    __tablename__ = "demo_runs"

    source: Mapped[str] = mapped_column(_exact(1000))
    most: Mapped[int] = mapped_column(default=0)
    finished_at: Mapped[datetime | None]


class Document(DemoBase):
    """A document of a run, uploaded."""

    __tablename__ = "demo_documents"
    __table_args__ = (UniqueConstraint("run_id", "name"),)

    run_id: Mapped[UUID] = mapped_column(ForeignKey(Run.id))
    name: Mapped[str] = mapped_column(_exact(500))
    key: Mapped[str] = mapped_column(String(200))
    size: Mapped[int]


class Summary(DemoBase):
    """A document's summary. Nothing here is unique but its key: that there is one for each document is the inbox's work."""

    __tablename__ = "demo_summaries"

    run_id: Mapped[UUID] = mapped_column(ForeignKey(Run.id), index=True)
    document_id: Mapped[UUID] = mapped_column(ForeignKey(Document.id), index=True)
    text: Mapped[str] = mapped_column(Text())
    model: Mapped[str] = mapped_column(String(200))
    cached: Mapped[bool]
    seconds: Mapped[float]
    attempt: Mapped[int]
    process: Mapped[int]


Runs = AsyncRepository[Run]
Documents = AsyncRepository[Document]
Summaries = AsyncRepository[Summary]


class Task(BaseModel):
    """The message: summarise that document."""

    run_id: UUID
    document_id: UUID
    key: str
