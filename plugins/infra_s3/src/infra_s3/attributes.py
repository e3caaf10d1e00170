"""What is kept with an object: from the portable attributes to S3's headers, and back."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Any, Final

from infra.storage.model import NO_METADATA, ObjectInfo, PutOptions

#: User metadata of our own, hidden from the user.
DIGEST: Final = "infra-sha256"
WRITE: Final = "infra-write"
_OWN: Final = frozenset({DIGEST, WRITE})

_SHA256 = re.compile(r"[0-9a-f]{64}")
_ENCODED = re.compile(r"=\?[^?]+\?[bBqQ]\?.*\?=")


def to_headers(options: PutOptions, digest: str | None, write: str | None) -> dict[str, Any]:
    """The attributes as arguments of the SDK.

    Args:
        options: The portable attributes.
        digest: The SHA-256 of the content, when it is known.
        write: What this write can be told from others by.
    """
    metadata = {name: _encoded(value) for name, value in options.metadata.items()}
    if digest is not None:
        metadata[DIGEST] = digest
    if write is not None:
        metadata[WRITE] = write
    return {"ContentType": options.content_type, "Metadata": metadata}


def from_headers(key: str, size: int, response: Mapping[str, Any]) -> ObjectInfo:
    """What the answer to a HEAD or GET says of an object."""
    found = {name.lower(): value for name, value in response.get("Metadata", {}).items()}
    digest = found.get(DIGEST)
    kept = {name: _decoded(value) for name, value in found.items() if name not in _OWN}
    return ObjectInfo(
        key,
        size,
        unquoted(response.get("ETag", "")),
        response.get("LastModified") or answered_at(response),
        response.get("ContentType"),
        MappingProxyType(kept) if kept else NO_METADATA,
        digest if digest is not None and _SHA256.fullmatch(digest) else None,
    )


def answered_at(response: Mapping[str, Any]) -> datetime:
    """The server's clock when it answered: S3 does not say when it wrote an object, only later when it had."""
    try:
        return parsedate_to_datetime(response["ResponseMetadata"]["HTTPHeaders"]["date"])
    except (KeyError, ValueError):
        return datetime.now(UTC).replace(microsecond=0)


def quoted(etag: str) -> str:
    """An ETag as HTTP writes it."""
    return f'"{etag}"'


def unquoted(etag: str) -> str:
    """An ETag as users see it."""
    return etag.strip('"')


def _encoded(value: str) -> str:
    """Headers are ASCII: other text is an encoded word of RFC 2047, which S3 itself gives for such."""
    if value.isascii() and not _ENCODED.search(value):
        return value
    return f"=?UTF-8?B?{base64.b64encode(value.encode()).decode()}?="


def _decoded(value: str) -> str:
    if not _ENCODED.search(value):
        return value
    try:
        return str(make_header(decode_header(value)))
    except (HeaderParseError, LookupError, UnicodeDecodeError):
        return value
