"""The settings of the embedded storage providers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal
from urllib.parse import unquote, urlsplit

from pydantic import Field

from infra.errors import ErrorCode
from infra.plugin import Secret
from infra.storage.settings import StorageSettings


class SignedStorageSettings(StorageSettings):
    """Where the host serves the objects, and with which key it signs their URLs."""

    suspects: ClassVar[Mapping[ErrorCode, tuple[str, ...]]] = {
        ErrorCode.UNAVAILABLE: ("root",),
        ErrorCode.PERMISSION_DENIED: ("root",),
    }

    base_url: str | None = Field(None, description="Where the host serves signed URLs; `/storage/<resource name>` when not given.")
    signing_key: Secret | None = Field(None, description="Signs URLs; made and kept with the data when not given.")


class MemoryStorageSettings(SignedStorageSettings):
    """Objects in this process's memory."""

    max_bytes: int | None = Field(None, ge=1, description="The most bytes of all objects together; no limit when not given.")

    @classmethod
    def expand_url(cls, url: str) -> dict[str, object]:
        """``memory://`` has no parts but its query."""
        return super().expand_url(f"memory://?{urlsplit(url).query}")


class LocalStorageSettings(SignedStorageSettings):
    """Objects as files below a root folder."""

    root: Path | None = Field(None, description="The folder; `<data_dir>/storage/<resource name>` when not given.")
    durability: Literal["full", "file", "none"] = Field(
        "full",
        description="What a write has reached when it returns: `full` file and folder on disk, `file` the file only, `none` neither.",
    )

    @classmethod
    def expand_url(cls, url: str) -> dict[str, object]:
        """``file:///var/lib/media`` is an absolute path, ``file://media`` one below the working directory."""
        parts = urlsplit(url)
        root = unquote(parts.netloc + parts.path)
        return {**super().expand_url(f"file://?{parts.query}"), **({"root": root} if root else {})}
