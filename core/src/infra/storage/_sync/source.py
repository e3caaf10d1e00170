# Generated from source.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""Bodies on their way to the driver."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterable
from contextlib import suppress
from functools import partial
from os import PathLike
from typing import IO, Any, Final, cast

from infra.errors import ErrorCode
from infra.runtime.bridge import ThreadBridge
from infra.runtime.threads import call, shielded
from infra.storage._sync.hashing import HASHED_INLINE
from infra.storage._sync.reading import ObjectReader
from infra.storage.errors import DigestMismatchError, StorageError
from infra.storage.model import Progress

#: Shorter chunks of a source are joined up to this many bytes before they travel.
SMALLEST_BLOCK: Final = 1 << 18

#: What can be stored: bytes, a path, an open binary file (from where it stands), or an iterable of bytes.
Data = bytes | bytearray | memoryview | PathLike[str] | IO[bytes] | Iterable[bytes]


class Source:
    """A body in blocks of bounded size, hashed and counted on the way.

    Args:
        data: What to store.
        block_size: The largest block.
        size: Its length, when the caller knows it: it is checked.
        expected: Its SHA-256 in hexadecimal, when the caller knows it: it is checked before the driver sees the end.
        progress: Told about each block.
        bridge: Threads for blocking sources and for hashing.

    Attributes:
        failure: What the source itself raised, to be told apart from a failure of the driver.
    """

    def __init__(
        self,
        data: Data,
        *,
        block_size: int,
        size: int | None = None,
        expected: str | None = None,
        progress: Progress | None = None,
        bridge: ThreadBridge | None = None,
    ) -> None:
        self.failure: BaseException | None = None
        self.size = size
        self._pieces = _pieces(data, block_size, bridge)
        self._most = block_size
        self._least = min(SMALLEST_BLOCK, block_size)
        self._spare = memoryview(b"")
        self._ended = False
        self._first = b""
        self._hash = hashlib.sha256()
        self._count = 0
        self._expected = expected
        self._known = expected
        self._progress = progress
        self._bridge = bridge

    def digest(self) -> str | None:
        """The SHA-256 of the body, as soon as it is known."""
        return self._known

    def start(self) -> tuple[bytes, bool]:
        """The first block, which `blocks` gives again, and whether it is all there is."""
        self._first = self._next()
        return self._first, self._ended

    def blocks(self) -> Generator[bytes]:
        """All blocks; raises at the end when the body is not what the caller said."""
        block, self._first = self._first, b""
        while block:
            yield block
            block = b"" if self._ended else self._next()

    def close(self) -> None:
        """Release the source, wherever it stands."""
        self._pieces.close()

    def _next(self) -> bytes:
        try:
            block = self._block()
            if len(block) <= HASHED_INLINE:
                self._hash.update(block)
            else:
                call(self._hash.update, block, bridge=self._bridge)
            self._count += len(block)
            if self._progress is not None:
                self._progress(self._count, self.size)
            if self._ended:
                self._finish()
        except BaseException as error:
            self.failure = error
            raise
        return block

    def _block(self) -> bytes:
        parts: list[bytes | memoryview] = []
        length = 0
        while length < self._least:
            if not self._spare:
                piece = next(self._pieces, b"")
                if not piece:
                    self._ended = True
                    break
                if not parts and self._least <= len(piece) <= self._most:
                    return piece
                self._spare = memoryview(piece)
            part = self._spare[: self._most - length]
            self._spare = self._spare[len(part) :]
            parts.append(part)
            length += len(part)
        return b"".join(parts)

    def _finish(self) -> None:
        if self.size is not None and self.size != self._count:
            raise StorageError(
                f"the body has {self._count} bytes, and its size was given as {self.size}",
                code=ErrorCode.INVALID_ARGUMENT,
                operation="put",
                remedy="give the right size, or none",
            )
        self._known = self._hash.hexdigest()
        check_digest(self._expected, self._known)


def check_digest(expected: str | None, actual: str) -> None:
    """Raise `DigestMismatchError` when the caller expected another one."""
    if expected is not None and expected != actual:
        raise DigestMismatchError(
            f"the body's SHA-256 is {actual}, and {expected} was given: nothing was stored",
            operation="put",
            remedy="read the source again; it was changed or damaged on the way",
        )


def _pieces(data: Data, size: int, bridge: ThreadBridge | None) -> Generator[bytes]:
    """The non-empty pieces of whatever can be stored; blocking sources are read in threads of `bridge`."""
    if isinstance(data, bytes | bytearray | memoryview):
        yield bytes(data)
    elif isinstance(data, PathLike):
        file = call(open, data, "rb", 0, bridge=bridge)
        try:
            # A cancelled caller waits for the read: closing the file below it could hit a descriptor that is another file's by then.
            while piece := shielded(partial(call, bridge=bridge), file.read, size):
                yield piece
        finally:
            file.close()
    # A reader is iterated, which closes it; its `read` would not.
    elif not isinstance(data, ObjectReader) and callable(read := getattr(data, "read", None)):
        while piece := _checked(call(read, size, bridge=bridge)):
            yield piece
    elif isinstance(data, Iterable) and not isinstance(data, str):
        pieces = iter(cast("Iterable[bytes]", data))
        try:
            while (piece := call(next, pieces, None, bridge=bridge)) is not None:
                if _checked(piece):
                    yield bytes(piece)
        finally:
            if isinstance(pieces, Generator):
                with suppress(ValueError):  # it still runs, in a thread that a cancelled caller has left
                    pieces.close()
    else:
        raise _wrong(data)


def _checked(piece: Any) -> bytes:
    if not isinstance(piece, bytes | bytearray | memoryview):
        raise _wrong(piece)
    return bytes(cast("bytes | bytearray", piece))


def _wrong(value: object) -> TypeError:
    return TypeError(f"cannot store {type(value).__name__}: give bytes, a pathlib.Path, a binary file, or an iterable of bytes")
