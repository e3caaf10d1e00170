"""Settings of the SQLite database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from infra.database.settings import DatabaseSettings


class SQLiteSettings(DatabaseSettings):
    """A file, or memory."""

    url_fields: ClassVar[Mapping[str, str]] = {"path": "path"}

    path: str | None = Field(None, description="The file; `:memory:` for memory; else `<data_dir>/<name>.sqlite3`.")
    begin: Literal["immediate", "deferred"] = Field(
        "immediate", description="Writers take the write lock when they begin, or at their first write, where it can be too late."
    )
    synchronous: Literal["normal", "full", "extra"] = Field(
        "normal", description="With `normal` a power failure can cost the last commits, never consistency; `full` syncs each commit."
    )
    pool_pre_ping: bool = Field(False, description="A file needs no test before it is used.")

    @classmethod
    def expand_url(cls, url: str) -> dict[str, object]:
        """As SQLAlchemy reads them: ``sqlite:///relative``, ``sqlite:////absolute``, ``sqlite://`` for memory."""
        fields: dict[str, Any] = super().expand_url(url)
        fields.setdefault("path", ":memory:")
        return fields
