"""Value types of object storage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

#: The content type of bytes that nobody can name.
BINARY: Final = "application/octet-stream"
NO_METADATA: Final[Mapping[str, str]] = MappingProxyType({})


def _no_metadata() -> Mapping[str, str]:
    return NO_METADATA


#: ``progress(done, total)``: bytes moved so far, and in all when that is known.
Progress = Callable[[int, int | None], None]


class StorageFeature(StrEnum):
    """What not every provider has."""

    #: ``put(mode="create")`` succeeds for one writer only.
    CONDITIONAL_CREATE = "conditional_create"
    #: ``put(mode=etag)`` succeeds only while the object has that ETag.
    CONDITIONAL_UPDATE = "conditional_update"
    #: ``copy(mode="create")`` succeeds for one writer only.
    CONDITIONAL_COPY = "conditional_copy"
    #: `sign` makes URLs that work without credentials.
    SIGNED_URLS = "signed_urls"
    #: The host serves signed URLs itself and asks `verify` about each request.
    VERIFIED_URLS = "verified_urls"
    #: The SHA-256 of every object is kept, even of a stream that was written without knowing it.
    STORED_DIGEST = "stored_digest"
    #: ``a`` and ``a/b`` can both be objects.
    OVERLAPPING_KEYS = "overlapping_keys"
    #: Several processes see the same objects.
    SHARED = "shared"
    #: What was acknowledged survives a power failure.
    DURABLE = "durable"


@dataclass(frozen=True, slots=True)
class StorageLimits:
    """What a provider imposes; None where there is no limit.

    Args:
        part_size: Bodies longer than this many bytes travel in parts.
        max_parts: The most parts of one object.
        max_size: The largest object, in bytes.
        max_metadata: The largest user metadata of one object, names and values together, in bytes.
        delete_batch: The most keys of one `delete_many` call of the driver.
        page_size: The most entries of one page of a listing.
    """

    part_size: int | None = None
    max_parts: int | None = None
    max_size: int | None = None
    max_metadata: int | None = None
    delete_batch: int = 1000
    page_size: int = 1000


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What is known about one object.

    Args:
        key: Its key.
        size: Its length in bytes.
        etag: Changes with every write of other content; where it is a hash, as on S3, the same content may have the same one. Opaque:
            never an MD5, never comparable between providers.
        modified: When it was written, in UTC. Not compared: some servers do not say it when they write, and listings round it otherwise.
        content_type: None in listings and for objects that were stored without one.
        metadata: The user's metadata, names in lower case; empty in listings.
        sha256: The digest of the content in lower-case hexadecimal, when it is known; None in listings.
        foreign: True for a key in a listing that the key rules refuse: another program put it there.
    """

    key: str
    size: int
    etag: str
    modified: datetime = field(compare=False)
    content_type: str | None = None
    metadata: Mapping[str, str] = field(default_factory=_no_metadata)
    sha256: str | None = None
    foreign: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing.

    Args:
        objects: In the order of their keys' code points.
        prefixes: What the delimiter rolled up, each once, ending with the delimiter.
        token: Continues the listing after this page; None on the last page. Opaque.
    """

    objects: tuple[ObjectInfo, ...] = ()
    prefixes: tuple[str, ...] = ()
    token: str | None = None


def _unknown() -> str | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class PutOptions:
    """How a driver writes an object. The portable class has validated all of it.

    Args:
        content_type: Always given, or sniffed.
        metadata: Names in lower case.
        create: Write only if the key has no object; else a failure of code ALREADY_EXISTS.
        if_match: Write only if the object has this ETag; else, and if there is none, a failure of code PRECONDITION_FAILED.
        size: The length of the body in bytes, when it is known.
        digest: The SHA-256 of the body in hexadecimal, for the driver to keep: before the body if it is known then, in any case after the
            last chunk.
    """

    content_type: str = BINARY
    metadata: Mapping[str, str] = field(default_factory=_no_metadata)
    create: bool = False
    if_match: str | None = None
    size: int | None = None
    digest: Callable[[], str | None] = _unknown


@dataclass(frozen=True, slots=True)
class SignedURL:
    """Permission to do one thing to one object, until it expires. Whoever has the URL has the permission.

    Args:
        url: The URL; not shown by ``repr``.
        method: The HTTP method that it allows.
        expires_at: When it ends, in UTC; sooner than asked for when the credentials end sooner.
        headers: Headers that the request must carry, exactly so.
    """

    url: str = field(repr=False)
    method: str
    expires_at: datetime
    headers: Mapping[str, str] = field(default_factory=_no_metadata)

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """What a signed URL of the host's own allows, after its signature was verified.

    Args:
        method: The HTTP method.
        key: The object's key.
        expires_at: When the permission ends, in UTC.
        headers: Headers that the request was bound to.
    """

    method: str
    key: str
    expires_at: datetime
    headers: Mapping[str, str] = field(default_factory=_no_metadata)
