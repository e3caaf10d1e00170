"""Reading one object."""

from __future__ import annotations

from typing import Any

from infra.errors import ErrorCode
from infra.storage.model import ObjectInfo
from infra_s3.failures import Refusal


class S3Reader:
    """The body of one answer; None for no bytes at all.

    Args:
        info: The whole object's.
        body: The SDK's stream.
        held: How many bytes the stream has.
        wanted: How many of them are asked for.
    """

    def __init__(self, info: ObjectInfo, body: Any = None, held: int = 0, wanted: int = 0) -> None:
        self.info = info
        self._body: Any = body
        self._held: int = held
        self._wanted = wanted

    def read(self, size: int, timeout: float) -> bytes:  # noqa: ARG002 (the client's own read timeout holds)
        """See `Reader`."""
        size = min(size, self._wanted)
        if not size:
            return b""
        data: bytes = self._body.read(None if size == self._held else size)
        if not data:
            raise Refusal(ErrorCode.DATA_LOSS, f"the body ended {self._wanted} bytes early")
        self._held -= len(data)
        self._wanted -= len(data)
        return data

    def close(self) -> None:
        """See `Reader`. A connection with unread bytes is given up, one without goes back to the pool."""
        body, self._body, self._wanted = self._body, None, 0
        if body is not None:
            body.close()


def byte_range(offset: int, length: int | None) -> str | None:
    """The header ``Range`` for a slice of at least one byte; None for all. A length cannot be said of a suffix: the reader stops there."""
    if offset < 0:
        return f"bytes={offset}"
    if length is not None:
        return f"bytes={offset}-{offset + length - 1}"
    return f"bytes={offset}-" if offset else None


def whole_size(answer: Any) -> int:
    """The size of the object that an answer holds a part of."""
    _, _, total = answer.get("ContentRange", "").rpartition("/")
    return int(total or answer["ContentLength"])
