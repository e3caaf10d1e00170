"""What the embedded drivers raise themselves, and what the operating system's errors stand for."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Final

from infra.errors import ErrorCode
from infra.storage.signing import SignatureRefusedError


class Refusal(Exception):
    """The driver refuses, for a reason with a code."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code


_ERRNO: Final[Mapping[int, ErrorCode]] = {
    errno.ENOENT: ErrorCode.NOT_FOUND,
    errno.ENOTDIR: ErrorCode.CONFLICT,
    errno.EISDIR: ErrorCode.CONFLICT,
    errno.EEXIST: ErrorCode.ALREADY_EXISTS,
    errno.ELOOP: ErrorCode.PERMISSION_DENIED,
    errno.EACCES: ErrorCode.PERMISSION_DENIED,
    errno.EPERM: ErrorCode.PERMISSION_DENIED,
    errno.ENAMETOOLONG: ErrorCode.INVALID_ARGUMENT,
    errno.EROFS: ErrorCode.UNAVAILABLE,
    errno.ENOSPC: ErrorCode.UNAVAILABLE,
    errno.EDQUOT: ErrorCode.UNAVAILABLE,
    errno.EFBIG: ErrorCode.UNAVAILABLE,
    errno.EMFILE: ErrorCode.UNAVAILABLE,
    errno.ENFILE: ErrorCode.UNAVAILABLE,
    errno.EIO: ErrorCode.UNAVAILABLE,
    errno.ESTALE: ErrorCode.UNAVAILABLE,
}


def classify(error: BaseException) -> ErrorCode | None:
    """The code of an exception of an embedded driver."""
    if isinstance(error, Refusal):
        return error.code
    if isinstance(error, SignatureRefusedError):
        return ErrorCode.PERMISSION_DENIED
    if isinstance(error, OSError) and error.errno is not None:
        return _ERRNO.get(error.errno, ErrorCode.INTERNAL)
    return None


def missing() -> Refusal:
    """There is no such object."""
    return Refusal(ErrorCode.NOT_FOUND, "there is no such object")


def check_condition(create: bool, if_match: str | None, etag: str | None) -> None:
    """Refuse a write whose condition does not hold for the object's ETag, None when there is no object."""
    if create and etag is not None:
        raise Refusal(ErrorCode.ALREADY_EXISTS, "there is an object already")
    if if_match is not None and etag != if_match:
        why = "there is no object" if etag is None else "the object has another ETag"
        raise Refusal(ErrorCode.PRECONDITION_FAILED, why)


def check_match(if_match: str | None, etag: str) -> None:
    """Refuse a read of an object with another ETag."""
    if if_match is not None and if_match != etag:
        raise Refusal(ErrorCode.PRECONDITION_FAILED, "the object has another ETag")


def clipped(size: int, offset: int, length: int | None) -> tuple[int, int]:
    """Start and length of a range within `size` bytes; a negative offset counts from the end."""
    start = max(0, size + offset) if offset < 0 else min(offset, size)
    return start, size - start if length is None else min(length, size - start)
