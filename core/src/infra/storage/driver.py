"""What a storage provider implements. Comments are contracts.

Keys, options and metadata are validated already. Methods raise the SDK's own exceptions; ``classify`` gives their codes: NOT_FOUND,
ALREADY_EXISTS (``create``), PRECONDITION_FAILED (``if_match``), CONFLICT (the key is also a prefix of other keys, or the reverse, which
this provider cannot hold), DATA_LOSS (a body ended early), INVALID_ARGUMENT (a key that this provider cannot store), and the general ones.
`timeout` is in seconds and holds for one exchange with the server, not for a whole body.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Protocol

from infra.driver import AsyncDriver, Driver, DriverIdentity
from infra.storage.model import ObjectInfo, Page, PutOptions, SignedRequest, SignedURL, StorageLimits

#: A body: all of it, or its chunks, which are non-empty and at most a few MiB each.
Body = bytes | Iterator[bytes]
AsyncBody = bytes | AsyncIterator[bytes]


class StorageIdentity(DriverIdentity, Protocol):
    """The part that is the same for sync and async drivers."""

    @property
    def limits(self) -> StorageLimits:
        """What this provider imposes."""
        ...

    def public_url(self, key: str) -> str | None:
        """The address of `key` for readers without credentials; None when objects have none. Never does I/O."""
        ...


class URLVerifier(Protocol):
    """What drivers with ``verified_urls`` have on top."""

    def verify(self, method: str, url: str, headers: Mapping[str, str]) -> SignedRequest:
        """What the signed URL allows; PERMISSION_DENIED when it is forged, expired or for something else. Never does I/O."""
        ...


class Reader(Protocol):
    """One object, or a range of it, as it was when it was opened: later writes never mix into it."""

    @property
    def info(self) -> ObjectInfo:
        """The whole object's information, with content type, metadata and digest."""
        ...

    def read(self, size: int, timeout: float) -> bytes:
        """At most `size` bytes, at least one until the end, then ``b""``. A body that ends early is a failure of code DATA_LOSS."""
        ...

    def close(self) -> None:
        """Release the connection or file. A second call does nothing."""
        ...


class StorageDriver(StorageIdentity, Driver, Protocol):
    """A blocking storage driver."""

    def head(self, key: str, timeout: float) -> ObjectInfo:
        """The object's information, with content type, metadata and digest."""
        ...

    def open(self, key: str, offset: int, length: int | None, if_match: str | None, timeout: float) -> Reader:
        """The bytes from `offset` on, `length` of them at most.

        A negative offset counts from the end. A range beyond the end is no failure: it has fewer bytes, or none.
        """
        ...

    def put(self, key: str, body: Body, options: PutOptions, timeout: float) -> ObjectInfo:
        """Write the object as a whole.

        It becomes visible at once and only after the last chunk. When the body raises, or anything else fails, the old object is
        intact and nothing else is left behind, and the body's exception passes unchanged. A condition is checked when the object would
        become visible, against all other writers.
        """
        ...

    def delete_many(self, keys: Sequence[str], timeout: float) -> Mapping[str, BaseException]:
        """Delete at most ``limits.delete_batch`` objects; the exception of each key that could not be. A missing object is none."""
        ...

    def list_page(self, prefix: str, delimiter: str | None, token: str | None, limit: int, timeout: float) -> Page:
        """At most `limit` objects and prefixes, together, whose keys begin with `prefix`.

        Each object that stands throughout the listing comes exactly once, whatever is written or deleted meanwhile.
        """
        ...

    def copy(self, source: str, target: str, create: bool, timeout: float) -> ObjectInfo:
        """Copy content, content type, metadata and digest; with `create` only if `target` has no object."""
        ...

    def sign(self, method: str, key: str, expires: float, headers: Mapping[str, str]) -> SignedURL:
        """A URL that allows `method` on `key` for `expires` seconds, never longer than the credentials live. May refresh credentials."""
        ...


class AsyncReader(Protocol):
    """One object, or a range of it, as it was when it was opened: later writes never mix into it."""

    @property
    def info(self) -> ObjectInfo:
        """The whole object's information, with content type, metadata and digest."""
        ...

    async def read(self, size: int, timeout: float) -> bytes:
        """At most `size` bytes, at least one until the end, then ``b""``. A body that ends early is a failure of code DATA_LOSS."""
        ...

    async def close(self) -> None:
        """Release the connection or file. A second call does nothing."""
        ...


class AsyncStorageDriver(StorageIdentity, AsyncDriver, Protocol):
    """An asyncio storage driver; each method is as in `StorageDriver`. A cancelled `put` has cleaned up when it ends."""

    async def head(self, key: str, timeout: float) -> ObjectInfo:
        """See `StorageDriver.head`."""
        ...

    async def open(self, key: str, offset: int, length: int | None, if_match: str | None, timeout: float) -> AsyncReader:
        """See `StorageDriver.open`."""
        ...

    async def put(self, key: str, body: AsyncBody, options: PutOptions, timeout: float) -> ObjectInfo:
        """See `StorageDriver.put`."""
        ...

    async def delete_many(self, keys: Sequence[str], timeout: float) -> Mapping[str, BaseException]:
        """See `StorageDriver.delete_many`."""
        ...

    async def list_page(self, prefix: str, delimiter: str | None, token: str | None, limit: int, timeout: float) -> Page:
        """See `StorageDriver.list_page`."""
        ...

    async def copy(self, source: str, target: str, create: bool, timeout: float) -> ObjectInfo:
        """See `StorageDriver.copy`."""
        ...

    async def sign(self, method: str, key: str, expires: float, headers: Mapping[str, str]) -> SignedURL:
        """See `StorageDriver.sign`."""
        ...
