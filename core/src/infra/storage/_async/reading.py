"""Reading one object."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING, Self

from infra.runtime.aio import call, within
from infra.storage._async.hashing import HASHED_INLINE, sha256
from infra.storage.errors import IntegrityError, StorageError
from infra.storage.model import ObjectInfo

if TYPE_CHECKING:
    from infra.storage._async.bucket import AsyncBucket
    from infra.storage.driver import AsyncReader


class AsyncObjectReader:
    """One object, or a range of it, as it was when it was opened.

    ``async with bucket.open(key) as reader`` opens and closes it; iterating it (``async for chunk in bucket.open(key)``) does both as
    well. A whole object is checked against its recorded SHA-256: a damaged one raises `IntegrityError` before its last bytes are
    handed out.
    """

    def __init__(self, bucket: AsyncBucket, key: str, offset: int, length: int | None, if_match: str | None) -> None:
        self._bucket = bucket
        self._key = key
        self._offset = offset
        self._length = length
        self._if_match = if_match
        self._reader: AsyncReader | None = None
        self._info: ObjectInfo | None = None
        self._left = 0
        self._hash: hashlib._Hash | None = None
        self._closed = False

    @property
    def info(self) -> ObjectInfo:
        """The whole object's information, once it is open."""
        if self._info is None:
            raise RuntimeError(f"{self._bucket.name}: {self._key!r} is not open yet; use `async with bucket.open(key) as reader`")
        return self._info

    async def read(self, size: int = -1) -> bytes:
        """At most `size` bytes, and ``b""`` at the end; by default all that is left.

        Raises:
            ObjectNotFoundError: There is no such object.
            IntegrityError: The object is damaged.
        """
        await self._start()
        if size < 0:
            return await self._read_all()
        return await self._read(min(size, self._left))

    async def close(self) -> None:
        """Release it. A second call does nothing."""
        self._closed = True
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.close()

    async def __aenter__(self) -> Self:
        await self._start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._chunks()

    async def _chunks(self) -> AsyncGenerator[bytes]:
        try:
            await self._start()
            size = self._bucket.settings.chunk_size
            while chunk := await self._read(min(size, self._left)):
                yield chunk
        finally:
            await self.close()

    async def _start(self) -> None:
        self._bucket.check()
        if self._reader is not None:
            return
        if self._closed:
            raise ValueError(f"{self._bucket.name}: {self._key!r} was closed; open it again to read it")
        bucket = self._bucket
        bucket.check_etag(self._if_match)
        full = bucket.full_key(self._key, "open")
        timeout = bucket.settings.timeout
        try:
            reader = await within(timeout, bucket.driver.open, full, self._offset, self._length, self._if_match, timeout)
        except Exception as error:
            raise bucket.error(error, "open", key=self._key) from error
        self._reader = reader
        self._info = info = bucket.own(reader.info)
        start = max(0, info.size + self._offset) if self._offset < 0 else min(self._offset, info.size)
        self._left = info.size - start if self._length is None else min(self._length, info.size - start)
        if self._left == info.size and info.sha256 is not None and bucket.settings.verify_reads:
            self._hash = hashlib.sha256()

    async def _read_all(self) -> bytes:
        if self._hash is not None and self._left == self.info.size:  # nothing was read yet: hash it at one go
            self._hash = None
            data = await self._read_all()
            if await sha256(data, self._bucket.bridge) != self.info.sha256:
                raise self._damaged("differ from the SHA-256 that was recorded when they were written")
            return data
        chunks: list[bytes] = []
        while chunk := await self._read(self._left):
            chunks.append(chunk)
        if len(chunks) == 1:
            return chunks[0]
        return await call(b"".join, chunks, bridge=self._bucket.bridge)

    async def _read(self, size: int) -> bytes:
        reader = self._reader
        if not size or reader is None:
            return b""
        bucket, timeout = self._bucket, self._bucket.settings.timeout
        try:
            data = await within(timeout, reader.read, size, timeout)
        except Exception as error:
            raise bucket.error(error, "read", key=self._key) from error
        if not data:
            raise self._damaged(f"end {self._left} bytes early")
        self._left -= len(data)
        if self._hash is not None:
            await self._verify(self._hash, data)
        return data

    async def _verify(self, digest: hashlib._Hash, data: bytes) -> None:
        if len(data) <= HASHED_INLINE:
            digest.update(data)
        else:
            await call(digest.update, data, bridge=self._bucket.bridge)
        if not self._left and digest.hexdigest() != self.info.sha256:
            raise self._damaged("differ from the SHA-256 that was recorded when they were written")

    def _damaged(self, what: str) -> StorageError:
        return IntegrityError(
            f"the bytes of {self._key!r} {what}",
            resource=self._bucket.name,
            provider=self._bucket.provider,
            operation="read",
            remedy="restore the object from a backup or write it again",
        )
