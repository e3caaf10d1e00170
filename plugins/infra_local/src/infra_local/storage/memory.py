"""Objects in this process's memory."""

from __future__ import annotations

import secrets
import threading
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from types import MappingProxyType
from typing import Final

from infra.errors import ErrorCode
from infra.plugin import OpenContext
from infra.storage.driver import AsyncBody, Body
from infra.storage.model import NO_METADATA, ObjectInfo, Page, PutOptions, SignedRequest, SignedURL, StorageFeature, StorageLimits
from infra.storage.signing import URLSigner
from infra_local.storage.failures import Refusal, check_condition, check_match, classify, clipped, missing
from infra_local.storage.listing import page_of, rolled_up
from infra_local.storage.settings import MemoryStorageSettings

_FEATURES: Final = frozenset(str(feature) for feature in StorageFeature if feature not in (StorageFeature.DURABLE, StorageFeature.SHARED))


class MemoryObjects:
    """The objects of one resource, shared by all its handles in one kernel. Thread-safe."""

    def __init__(self, max_bytes: int | None) -> None:
        self.secret = secrets.token_bytes(32)
        self._most = max_bytes
        self._mutex = threading.Lock()
        self._objects: dict[str, tuple[ObjectInfo, tuple[bytes, ...]]] = {}
        self._keys: list[str] = []
        self._bytes = 0
        self._versions = count(1)

    def find(self, key: str) -> tuple[ObjectInfo, tuple[bytes, ...]]:
        """Information and content, which never change."""
        found = self._objects.get(key)
        if found is None:
            raise missing()
        return found

    def store(self, key: str, content: tuple[bytes, ...], options: PutOptions) -> ObjectInfo:
        """Make an object, if the condition holds."""
        size = sum(map(len, content))
        metadata = MappingProxyType(dict(options.metadata))
        digest = options.digest()
        with self._mutex:
            old = self._objects.get(key)
            check_condition(options.create, options.if_match, None if old is None else old[0].etag)
            total = self._bytes + size - (0 if old is None else old[0].size)
            if self._most is not None and total > self._most:
                raise Refusal(ErrorCode.UNAVAILABLE, f"the objects would take {total} bytes, and max_bytes is {self._most}")
            info = ObjectInfo(key, size, f"m{next(self._versions):x}", datetime.now(UTC), options.content_type, metadata, digest)
            self._objects[key] = (info, content)
            self._bytes = total
            if old is None:
                insort(self._keys, key)
        return info

    def copy(self, source: str, target: str, create: bool) -> ObjectInfo:
        """The same content under another key."""
        info, content = self.find(source)
        options = PutOptions(
            content_type=info.content_type or "", metadata=info.metadata, create=create, size=info.size, digest=lambda: info.sha256
        )
        return self.store(target, content, options)

    def delete(self, keys: Sequence[str]) -> None:
        """Delete those that exist."""
        with self._mutex:
            for key in keys:
                old = self._objects.pop(key, None)
                if old is not None:
                    self._bytes -= old[0].size
                    del self._keys[bisect_left(self._keys, key)]

    def page(self, prefix: str, delimiter: str | None, token: str | None, limit: int) -> Page:
        """A page of the listing."""
        with self._mutex:
            start = bisect_left(self._keys, prefix) if token is None else bisect_right(self._keys, token)
            found = self._from(start, prefix)
            return page_of(found if delimiter is None else rolled_up(found, prefix, delimiter, token), limit)

    def _from(self, start: int, prefix: str) -> Iterator[ObjectInfo]:
        for index in range(start, len(self._keys)):
            key = self._keys[index]
            if not key.startswith(prefix):
                return
            info = self._objects[key][0]
            yield replace(info, content_type=None, metadata=NO_METADATA, sha256=None)


class _MemoryDriver:
    """The part that is the same for both doors."""

    features = _FEATURES
    limits = StorageLimits()

    def __init__(self, objects: MemoryObjects, signer: URLSigner) -> None:
        self._objects: MemoryObjects = objects
        self._signer = signer

    def classify(self, error: BaseException) -> ErrorCode | None:
        """See `StorageDriver`."""
        return classify(error)

    def unwrap(self) -> Sequence[object]:
        """See `StorageDriver`."""
        return (self._objects,)

    def public_url(self, key: str) -> str | None:  # noqa: ARG002
        """See `StorageDriver`."""
        return None

    def verify(self, method: str, url: str, headers: Mapping[str, str]) -> SignedRequest:
        """See `URLVerifier`."""
        return self._signer.verify(method, url, headers)


class _Content:
    """Reads from content that never changes."""

    def __init__(self, info: ObjectInfo, content: tuple[bytes, ...], offset: int, length: int | None) -> None:
        self.info = info
        self._content = content
        self._index = 0
        self._start, self._left = clipped(info.size, offset, length)

    def take(self, size: int) -> bytes:
        """The next bytes."""
        size = min(size, self._left)
        if not size:
            return b""
        while self._start >= len(self._content[self._index]):
            self._start -= len(self._content[self._index])
            self._index += 1
        data = self._content[self._index][self._start : self._start + size]
        self._start += len(data)
        self._left -= len(data)
        return data


class _Reader(_Content):
    def read(self, size: int, timeout: float) -> bytes:  # noqa: ARG002
        return self.take(size)

    def close(self) -> None:
        self._left = 0


class _AsyncReader(_Content):
    async def read(self, size: int, timeout: float) -> bytes:  # noqa: ARG002
        return self.take(size)

    async def close(self) -> None:
        self._left = 0


class MemoryStorageDriver(_MemoryDriver):
    """The blocking door."""

    def ping(self, timeout: float) -> None:
        """See `StorageDriver`."""

    def close(self, timeout: float) -> None:
        """See `StorageDriver`. The objects belong to the kernel."""

    def head(self, key: str, timeout: float) -> ObjectInfo:  # noqa: ARG002
        """See `StorageDriver`."""
        return self._objects.find(key)[0]

    def open(self, key: str, offset: int, length: int | None, if_match: str | None, timeout: float) -> _Reader:  # noqa: ARG002
        """See `StorageDriver`."""
        info, content = self._objects.find(key)
        check_match(if_match, info.etag)
        return _Reader(info, content, offset, length)

    def put(self, key: str, body: Body, options: PutOptions, timeout: float) -> ObjectInfo:  # noqa: ARG002
        """See `StorageDriver`."""
        content = (body,) if isinstance(body, bytes) else tuple(body)
        return self._objects.store(key, content, options)

    def delete_many(self, keys: Sequence[str], timeout: float) -> Mapping[str, BaseException]:  # noqa: ARG002
        """See `StorageDriver`."""
        self._objects.delete(keys)
        return {}

    def list_page(self, prefix: str, delimiter: str | None, token: str | None, limit: int, timeout: float) -> Page:  # noqa: ARG002
        """See `StorageDriver`."""
        return self._objects.page(prefix, delimiter, token, limit)

    def copy(self, source: str, target: str, create: bool, timeout: float) -> ObjectInfo:  # noqa: ARG002
        """See `StorageDriver`."""
        return self._objects.copy(source, target, create)

    def sign(self, method: str, key: str, expires: float, headers: Mapping[str, str]) -> SignedURL:
        """See `StorageDriver`."""
        return self._signer.sign(method, key, expires, headers)


class AsyncMemoryStorageDriver(_MemoryDriver):
    """The asyncio door; nothing in it waits."""

    async def ping(self, timeout: float) -> None:
        """See `StorageDriver`."""

    async def close(self, timeout: float) -> None:
        """See `StorageDriver`. The objects belong to the kernel."""

    async def head(self, key: str, timeout: float) -> ObjectInfo:  # noqa: ARG002
        """See `StorageDriver`."""
        return self._objects.find(key)[0]

    async def open(self, key: str, offset: int, length: int | None, if_match: str | None, timeout: float) -> _AsyncReader:  # noqa: ARG002
        """See `StorageDriver`."""
        info, content = self._objects.find(key)
        check_match(if_match, info.etag)
        return _AsyncReader(info, content, offset, length)

    async def put(self, key: str, body: AsyncBody, options: PutOptions, timeout: float) -> ObjectInfo:  # noqa: ARG002
        """See `StorageDriver`."""
        content = (body,) if isinstance(body, bytes) else tuple([chunk async for chunk in body])
        return self._objects.store(key, content, options)

    async def delete_many(self, keys: Sequence[str], timeout: float) -> Mapping[str, BaseException]:  # noqa: ARG002
        """See `StorageDriver`."""
        self._objects.delete(keys)
        return {}

    async def list_page(self, prefix: str, delimiter: str | None, token: str | None, limit: int, timeout: float) -> Page:  # noqa: ARG002
        """See `StorageDriver`."""
        return self._objects.page(prefix, delimiter, token, limit)

    async def copy(self, source: str, target: str, create: bool, timeout: float) -> ObjectInfo:  # noqa: ARG002
        """See `StorageDriver`."""
        return self._objects.copy(source, target, create)

    async def sign(self, method: str, key: str, expires: float, headers: Mapping[str, str]) -> SignedURL:
        """See `StorageDriver`."""
        return self._signer.sign(method, key, expires, headers)


def _shared(settings: MemoryStorageSettings, context: OpenContext) -> tuple[MemoryObjects, URLSigner]:
    objects = context.stores.get((context.resource, "memory"), lambda: MemoryObjects(settings.max_bytes))
    secret = settings.signing_key.reveal().encode() if settings.signing_key else objects.secret
    return objects, URLSigner(secret, settings.base_url or f"/storage/{context.name}", context.resource)


def open_driver(settings: MemoryStorageSettings, context: OpenContext) -> MemoryStorageDriver:
    """The blocking driver."""
    return MemoryStorageDriver(*_shared(settings, context))


async def open_driver_async(settings: MemoryStorageSettings, context: OpenContext) -> AsyncMemoryStorageDriver:
    """The asyncio driver."""
    return AsyncMemoryStorageDriver(*_shared(settings, context))
