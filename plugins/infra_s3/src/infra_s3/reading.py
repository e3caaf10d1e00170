"""Reading one object."""

from __future__ import annotations

import re
from typing import Any, Final

from infra.errors import ErrorCode
from infra.storage.model import ObjectInfo
from infra_s3.failures import Refusal

_SKIP: Final = 1 << 20
_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/\d+")


class S3Reader:
    """The body of one answer; None for no bytes at all.

    Args:
        info: The whole object's.
        body: The SDK's stream.
        held: How many bytes the stream has.
        wanted: How many of them are asked for.
        skipped: How many come before those, from a server that ignores ranges.
    """

    def __init__(self, info: ObjectInfo, body: Any = None, held: int = 0, wanted: int = 0, skipped: int = 0) -> None:
        self.info = info
        self._body: Any = body
        self._held: int = held
        self._wanted = wanted
        self._skipped = skipped

    def read(self, size: int, timeout: float) -> bytes:  # noqa: ARG002 (the client's own read timeout holds)
        """See `Reader`."""
        size = min(size, self._wanted)
        if not size:
            return b""
        while self._skipped:
            before: bytes = self._body.read(min(self._skipped, _SKIP))
            if not before:
                raise Refusal(ErrorCode.DATA_LOSS, "the body ended before the range began")
            self._skipped -= len(before)
            self._held -= len(before)
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
    if not _is_partial(answer) or not total:
        return int(answer["ContentLength"])
    if not total.isdigit():
        raise Refusal(ErrorCode.UNSUPPORTED, f"the server does not say how large the object is: {answer['ContentRange']!r}")
    return int(total)


def to_skip(answer: Any, offset: int, size: int) -> int:
    """How many bytes of the answer come before `offset`: none where the server heeds ranges, all of them where it sends everything.

    Raises:
        Refusal: It sent another range than was asked for.
    """
    start = max(0, size + offset) if offset < 0 else min(offset, size)
    if not _is_partial(answer):
        return start
    found = _RANGE.fullmatch(answer.get("ContentRange", ""))
    if found is None or int(found[1]) != start or int(found[2]) - start + 1 != answer["ContentLength"]:
        said = answer.get("ContentRange")
        raise Refusal(ErrorCode.DATA_LOSS, f"the server sent another range than the one from byte {start} on: {said!r}")
    return 0


def _is_partial(answer: Any) -> bool:
    return answer.get("ResponseMetadata", {}).get("HTTPStatusCode") == 206
