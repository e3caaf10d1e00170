"""Content types: from the key's extension, else from the first bytes."""

from __future__ import annotations

import re
from mimetypes import MimeTypes
from typing import Final

from infra.storage.model import BINARY

#: How much of a body `sniff` looks at.
SNIFF_BYTES: Final = 512

# The table built into the standard library, not the machine's: one key has one type everywhere.
_TYPES = MimeTypes().types_map[True] | {
    ".webp": "image/webp",
    ".avif": "image/avif",
    ".heic": "image/heic",
    ".flac": "audio/flac",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".m4a": "audio/mp4",
    ".parquet": "application/vnd.apache.parquet",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".toml": "application/toml",
    ".md": "text/markdown",
    ".jsonl": "application/jsonl",
    ".gz": "application/gzip",
    ".bz2": "application/x-bzip2",
    ".xz": "application/x-xz",
    ".zst": "application/zstd",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
}

# The WHATWG MIME Sniffing Standard's patterns, as far as they are plain prefixes.
_PREFIXES: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
    (b"%PDF-", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
    (b"\x1f\x8b\x08", "application/gzip"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"OggS\x00", "audio/ogg"),
    (b"fLaC", "audio/flac"),
    (b"ID3", "audio/mpeg"),
    (b"\xff\xfb", "audio/mpeg"),
    (b"\x1a\x45\xdf\xa3", "video/webm"),
    (b"PAR1", "application/vnd.apache.parquet"),
    (b"SQLite format 3\x00", "application/vnd.sqlite3"),
)
_BRANDS = {b"avif": "image/avif", b"heic": "image/heic", b"M4A ": "audio/mp4", b"qt  ": "video/quicktime"}
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
_BINARY_BYTE = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_HTML = (b"<!doctype html", b"<html", b"<head", b"<body", b"<script")


def content_type_of(key: str, beginning: bytes) -> str:
    """The type of an object: its key's extension decides, else its first bytes, else it is binary."""
    name = key.rpartition("/")[2]
    stem, dot, extension = name.rpartition(".")
    known = _TYPES.get("." + extension.lower()) if dot and stem else None
    return known or sniff(beginning)


def sniff(beginning: bytes) -> str:
    """The type that the first `SNIFF_BYTES` of a body look like."""
    for prefix, kind in _PREFIXES:
        if beginning.startswith(prefix):
            return kind
    if beginning[4:8] == b"ftyp":
        return _BRANDS.get(beginning[8:12], "video/mp4")
    if beginning[:4] == b"RIFF":
        return _RIFF.get(beginning[8:12], BINARY)
    text = beginning[:SNIFF_BYTES].lstrip(b"\xef\xbb\xbf\t\n\r ").lower()
    if text.startswith(_HTML):
        return "text/html"
    if text.startswith(b"<svg") or (text.startswith(b"<?xml") and b"<svg" in text):
        return "image/svg+xml"
    if text.startswith(b"<?xml"):
        return "text/xml"
    return _text_or_binary(beginning[:SNIFF_BYTES])


def _text_or_binary(beginning: bytes) -> str:
    if not beginning or _BINARY_BYTE.search(beginning):
        return BINARY
    try:
        beginning.decode()
    except UnicodeDecodeError as error:
        if len(beginning) < SNIFF_BYTES or error.reason != "unexpected end of data":  # a character cut by the limit is fine
            return BINARY
    return "text/plain; charset=utf-8"
