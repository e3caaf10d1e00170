# Generated from writing.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""Writing one object piece by piece."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Self

from infra.runtime.threads import Pipe, shielded
from infra.storage._sync.source import SMALLEST_BLOCK
from infra.storage.model import ObjectInfo

if TYPE_CHECKING:
    from infra.storage._sync.bucket import Bucket


class ObjectWriter:
    """``with bucket.writer(key) as writer: writer.write(data)``.

    The object is stored when the block ends cleanly, and only then; an exception, or a cancellation, stores nothing. Memory stays bounded:
    `write` waits for a slow provider.
    """

    def __init__(
        self, bucket: Bucket, key: str, mode: str, content_type: str | None, metadata: Mapping[str, str] | None, digest: str | None
    ) -> None:
        self._bucket = bucket
        self._key = key
        self._mode = mode
        self._content_type = content_type
        self._metadata = metadata
        self._digest = digest
        self._buffer = bytearray()
        self._pipe: Pipe[bytes, ObjectInfo] | None = None
        self._info: ObjectInfo | None = None

    @property
    def info(self) -> ObjectInfo:
        """The stored object's information, once the block has ended."""
        if self._info is None:
            raise RuntimeError(f"{self._bucket.name}: {self._key!r} is not stored yet; the writer's block has to end first")
        return self._info

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Add `data`; its length. Raises what the provider refuses."""
        pipe = self._pipe
        if pipe is None:
            raise RuntimeError(f"{self._bucket.name}: the writer of {self._key!r} is not open; use it in `with`")
        view = memoryview(data).cast("B")
        size, limit = len(view), self._bucket.settings.chunk_size
        while view:
            room = limit - len(self._buffer)
            self._buffer += view[:room]
            view = view[room:]
            if len(self._buffer) >= min(SMALLEST_BLOCK, limit):
                self._flush(pipe)
        return size

    def __enter__(self) -> Self:
        self._bucket.check_put(self._key, self._mode, self._metadata, self._digest)
        self._pipe = Pipe(self._store)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        pipe, self._pipe = self._pipe, None
        if pipe is None:
            return
        try:
            if error is None:
                self._flush(pipe)
                self._info = pipe.finish()
        except BaseException as failure:
            shielded(pipe.abort, failure)
            raise
        if error is not None:
            shielded(pipe.abort, error)

    def _flush(self, pipe: Pipe[bytes, ObjectInfo]) -> None:
        if self._buffer:
            data, self._buffer = bytes(self._buffer), bytearray()
            pipe.push(data)

    def _store(self, chunks: Iterator[bytes]) -> ObjectInfo:
        return self._bucket.put(
            self._key, chunks, mode=self._mode, content_type=self._content_type, metadata=self._metadata, digest=self._digest
        )
