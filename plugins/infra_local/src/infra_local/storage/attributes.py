"""What the file system does not keep: content type, metadata and digest, in a file beside the object's.

It is named by the number of the object's inode, written and synced before the object gets its name, and never changed: so an object and
its attributes change in one step, whatever moment a process dies. The ETag in it says which version of the inode it belongs to.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

from infra.storage.model import NO_METADATA, ObjectInfo
from infra_local.storage.names import ATTRIBUTES
from infra_local.storage.tree import Folder

_WRITE: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Attributes:
    """An object's attributes. An object that another program put there has none."""

    content_type: str | None = None
    metadata: Mapping[str, str] = field(default_factory=lambda: NO_METADATA)
    sha256: str | None = None


def name_of(inode: int) -> str:
    """The name of the file with the attributes of that inode."""
    return f"{ATTRIBUTES}{inode:x}"


def etag_of(status: os.stat_result) -> str:
    """Changes with every write: a new inode, and its time to the nanosecond when the number is used again."""
    return f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"


def info_of(key: str, status: os.stat_result, attributes: Attributes) -> ObjectInfo:
    """All that is known about an object."""
    modified = datetime.fromtimestamp(status.st_mtime_ns / 1e9, UTC)
    return ObjectInfo(key, status.st_size, etag_of(status), modified, attributes.content_type, attributes.metadata, attributes.sha256)


def store(folder: Folder, status: os.stat_result, attributes: Attributes, sync: bool) -> None:
    """Write the attributes of an inode that has no name yet but a temporary one."""
    text = json.dumps(
        {
            "etag": etag_of(status),
            "content_type": attributes.content_type,
            "metadata": dict(attributes.metadata),
            "sha256": attributes.sha256,
        }
    )
    fd = folder.open(name_of(status.st_ino), _WRITE)
    try:
        write_all(fd, text.encode())
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)


def load(folder: Folder, status: os.stat_result) -> Attributes | None:
    """The attributes of an inode; None when there are none for this version of it."""
    try:
        fd = folder.open(name_of(status.st_ino))
    except OSError:
        return None
    try:
        data = os.read(fd, _MOST)
    finally:
        os.close(fd)
    try:
        found: dict[str, Any] = json.loads(data)
        if found["etag"] != etag_of(status):
            return None
        metadata = found["metadata"]
        return Attributes(found["content_type"], MappingProxyType(metadata) if metadata else NO_METADATA, found["sha256"])
    except (ValueError, KeyError, TypeError):
        return None


def write_all(fd: int, data: bytes) -> None:
    """Write all of `data`: one call may take less."""
    written = os.write(fd, data)
    if written < len(data):
        view = memoryview(data)
        while written < len(data):
            written += os.write(fd, view[written:])
