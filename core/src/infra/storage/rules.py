"""The rules for keys, prefixes and metadata, the same for every provider."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, cast

from infra.storage.model import NO_METADATA

MAX_KEY_BYTES: Final = 1024
#: Most servers limit user metadata to 2 KiB, names and values together.
MAX_METADATA_BYTES: Final = 2048

_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\\]")
_ODD_SEGMENT = re.compile(r"(?:\A|/)(?:\.{0,2})(?:/|\Z)")  # empty, `.` or `..`
_NAME = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


def key_problem(key: object) -> str | None:
    """Why `key` is refused, without the key; None when it is fine."""
    if not isinstance(key, str):
        return "is no text"
    if not key:
        return "is empty"
    if _ODD_SEGMENT.search(key):
        return "has an empty segment, or one that is `.` or `..`"
    return _text_problem(key)


def prefix_problem(prefix: object) -> str | None:
    """Why `prefix` is refused: it is the beginning of a key, which may end anywhere, also with ``/``."""
    if not isinstance(prefix, str):
        return "is no text"
    if not prefix:
        return None
    if prefix.startswith("/") or "//" in prefix or any(segment in (".", "..") for segment in prefix.split("/")[:-1]):
        return "has an empty segment, or one that is `.` or `..`"
    return _text_problem(prefix)


def _text_problem(key: str) -> str | None:
    if _UNSAFE.search(key):
        return "has a backslash or a control character"
    try:
        size = len(key) if key.isascii() else len(key.encode())
    except UnicodeEncodeError:
        return "is not valid UTF-8"
    return f"is longer than {MAX_KEY_BYTES} bytes" if size > MAX_KEY_BYTES else None


def metadata_problem(metadata: object) -> str | None:
    """Why the metadata is refused; None when it is fine."""
    if not isinstance(metadata, Mapping):
        return "metadata is no mapping of names to text"
    size = 0
    seen: set[str] = set()
    for name, value in cast("Mapping[object, object]", metadata).items():
        if not isinstance(name, str) or not isinstance(value, str):
            return f"metadata {name!r} is no text"
        lower = name.lower()
        if not _NAME.fullmatch(lower):
            return f"metadata name {name!r} is not a token of HTTP"
        if lower in seen:
            return f"metadata name {name!r} is there twice: case does not count"
        if _CONTROL.search(value) or value != value.strip():
            return f"metadata {name!r} has a control character, or space at an end"
        seen.add(lower)
        try:
            size += len(lower) + len(value.encode())
        except UnicodeEncodeError:
            return f"metadata {name!r} is not valid UTF-8"
    return f"metadata is larger than {MAX_METADATA_BYTES} bytes" if size > MAX_METADATA_BYTES else None


def lower_cased(metadata: Mapping[str, str] | None) -> Mapping[str, str]:
    """A private, read-only copy with names in lower case."""
    return MappingProxyType({name.lower(): value for name, value in metadata.items()}) if metadata else NO_METADATA


def digest_problem(digest: object) -> str | None:
    """Why the SHA-256 is refused; None when it is fine."""
    return None if isinstance(digest, str) and _SHA256.fullmatch(digest) else "the digest is not a SHA-256 in hexadecimal"
