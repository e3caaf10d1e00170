"""An asyncio driver over a blocking one."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Final, cast

from infra.driver import Cause, Explains
from infra.errors import ErrorCode
from infra.runtime.aio import shielded
from infra.runtime.bridge import ThreadBridge
from infra.storage.driver import AsyncBody, AsyncReader, Reader, StorageDriver, URLVerifier
from infra.storage.model import ObjectInfo, Page, PutOptions, SignedRequest, SignedURL, StorageLimits

#: Objects up to this size are read as they are opened: one hop between threads, not three.
_AHEAD: Final = 1 << 18
#: How many chunks of a body may wait for the driver's thread.
_DEPTH: Final = 2


class ThreadedStorageDriver:
    """Each call runs in the bridge's threads.

    Bodies that stream have threads of their own, as many again: a stream waits for its source, and when that is an object of the same
    bucket, its reads must not find every thread taken by the streams that wait for them.
    """

    def __init__(self, driver: StorageDriver, bridge: ThreadBridge) -> None:
        self.blocking = driver
        self._bridge = bridge
        self._streams = ThreadBridge("storage-streams", bridge.size)

    @property
    def features(self) -> frozenset[str]:
        """See `StorageDriver`."""
        return self.blocking.features

    @property
    def limits(self) -> StorageLimits:
        """See `StorageDriver`."""
        return self.blocking.limits

    def classify(self, error: BaseException) -> ErrorCode | None:
        """See `StorageDriver`."""
        return self.blocking.classify(error)

    def explain(self, error: BaseException) -> Cause | None:
        """See `Explains`."""
        return self.blocking.explain(error) if isinstance(self.blocking, Explains) else None

    def unwrap(self) -> Sequence[object]:
        """See `StorageDriver`."""
        return self.blocking.unwrap()

    def public_url(self, key: str) -> str | None:
        """See `StorageDriver`."""
        return self.blocking.public_url(key)

    def verify(self, method: str, url: str, headers: Mapping[str, str]) -> SignedRequest:
        """See `URLVerifier`; only of use where the driver has ``verified_urls``."""
        return cast(URLVerifier, self.blocking).verify(method, url, headers)

    async def ping(self, timeout: float) -> None:
        """See `StorageDriver`."""
        await self._bridge.call(self.blocking.ping, timeout)

    async def close(self, timeout: float) -> None:
        """See `StorageDriver`."""
        try:
            await self._bridge.call(self.blocking.close, timeout)
        finally:
            self._bridge.close()
            self._streams.close()

    async def head(self, key: str, timeout: float) -> ObjectInfo:
        """See `StorageDriver`."""
        return await self._bridge.call(self.blocking.head, key, timeout)

    async def open(self, key: str, offset: int, length: int | None, if_match: str | None, timeout: float) -> AsyncReader:
        """See `StorageDriver`."""
        return await self._bridge.call(self._open, key, offset, length, if_match, timeout, abandoned=lambda reader: reader.close_now())

    async def put(self, key: str, body: AsyncBody, options: PutOptions, timeout: float) -> ObjectInfo:
        """See `StorageDriver`."""
        if isinstance(body, bytes):
            return await shielded(self._bridge.call, self.blocking.put, key, body, options, timeout)
        return await self._put_stream(key, body, options, timeout)

    async def delete_many(self, keys: Sequence[str], timeout: float) -> Mapping[str, BaseException]:
        """See `StorageDriver`."""
        return await self._bridge.call(self.blocking.delete_many, keys, timeout)

    async def list_page(self, prefix: str, delimiter: str | None, token: str | None, limit: int, timeout: float) -> Page:
        """See `StorageDriver`."""
        return await self._bridge.call(self.blocking.list_page, prefix, delimiter, token, limit, timeout)

    async def copy(self, source: str, target: str, create: bool, timeout: float) -> ObjectInfo:
        """See `StorageDriver`."""
        return await self._bridge.call(self.blocking.copy, source, target, create, timeout)

    async def sign(self, method: str, key: str, expires: float, headers: Mapping[str, str]) -> SignedURL:
        """See `StorageDriver`."""
        return await self._bridge.call(self.blocking.sign, method, key, expires, headers)

    def _open(self, key: str, offset: int, length: int | None, if_match: str | None, timeout: float) -> _ThreadedReader:
        reader = self.blocking.open(key, offset, length, if_match, timeout)
        opened = _ThreadedReader(reader, self._bridge)
        try:
            most = reader.info.size if length is None else min(length, reader.info.size)
            if most <= _AHEAD:
                opened.finish_now(timeout)
        except BaseException:
            opened.close_now()
            raise
        return opened

    async def _put_stream(self, key: str, body: AsyncIterator[bytes], options: PutOptions, timeout: float) -> ObjectInfo:
        """Iterates the body in the caller's task, so that context variables and cancellation are the caller's."""
        handoff = _Handoff(asyncio.get_running_loop())

        def write() -> ObjectInfo:
            handoff.begin()
            return self.blocking.put(key, handoff, options, timeout)

        writing = asyncio.ensure_future(self._streams.call(write))
        writing.add_done_callback(handoff.close)
        try:
            async for chunk in body:
                if not await handoff.give(chunk):
                    break  # the driver has failed already
            handoff.end()
            return await asyncio.shield(writing)
        except BaseException as error:
            if not handoff.fail(error):
                writing.cancel()  # no thread took it up
            await _settled(writing)
            raise


async def _settled(task: asyncio.Future[ObjectInfo]) -> None:
    """Wait for the end of `task`, whatever it is and however often the caller is cancelled: after that nothing is left behind."""
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            continue
    if not task.cancelled():
        task.exception()


class _Handoff(Iterator[bytes]):
    """Chunks from a task to a thread, `_DEPTH` at most on the way. The loop never waits for the thread without awaiting."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._chunks: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._room: asyncio.Future[None] | None = None
        self._began = False
        self._ended = False
        self._closed = False
        self._error: BaseException | None = None

    def begin(self) -> None:
        """The thread took it up; raises when the task has failed before."""
        with self._changed:
            if self._error is not None:
                raise self._error
            self._began = True

    async def give(self, chunk: bytes) -> bool:
        """Hand a chunk over, when there is room; False when nobody takes it any more."""
        while True:
            with self._changed:
                if self._closed:
                    return False
                if len(self._chunks) < _DEPTH:
                    self._chunks.append(chunk)
                    self._changed.notify()
                    return True
                room = self._room = self._loop.create_future()
            await room

    def end(self) -> None:
        """That was the last chunk."""
        with self._changed:
            self._ended = True
            self._changed.notify()

    def fail(self, error: BaseException) -> bool:
        """Make the thread's next pull raise `error`; False when no thread had begun."""
        with self._changed:
            if not self._ended:
                self._error = error
                self._chunks.clear()
            elif not self._began:
                self._error = error
            self._changed.notify()
            return self._began

    def close(self, _: object = None) -> None:
        """The driver has ended; called in the loop."""
        self._closed = True
        self._wake()

    def __next__(self) -> bytes:
        with self._changed:
            self._changed.wait_for(lambda: self._chunks or self._ended or self._error is not None)
            if self._error is not None:
                raise self._error
            if not self._chunks:
                raise StopIteration
            chunk = self._chunks.popleft()
            if self._room is not None:
                self._loop.call_soon_threadsafe(self._wake)
            return chunk

    def _wake(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)


class _ThreadedReader:
    """Reads in the bridge's threads, and never closes below a read that a cancelled caller left behind."""

    def __init__(self, reader: Reader, bridge: ThreadBridge) -> None:
        self.info = reader.info
        self._reader = reader
        self._bridge = bridge
        self._using = threading.Lock()
        self._closed = False
        self._rest: bytes | None = None

    async def read(self, size: int, timeout: float) -> bytes:
        """See `Reader`."""
        if self._rest is None:
            return await self._bridge.call(self._read, size, timeout)
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    async def close(self) -> None:
        """See `Reader`. Closes even if the caller is cancelled meanwhile, or the bucket is closed already."""
        if self._closed:
            return
        try:
            closing = asyncio.ensure_future(self._bridge.call(self.close_now))
            await asyncio.shield(closing)
        except RuntimeError:
            self.close_now()

    def finish_now(self, timeout: float) -> None:
        """Read all that is left into memory."""
        chunks: list[bytes] = []
        while chunk := self._reader.read(_AHEAD, timeout):
            chunks.append(chunk)
        self._rest = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        self.close_now()

    def close_now(self) -> None:
        """Close, after a read that is under way."""
        with self._using:
            if not self._closed:
                self._closed = True
                self._reader.close()

    def _read(self, size: int, timeout: float) -> bytes:
        with self._using:
            return b"" if self._closed else self._reader.read(size, timeout)
