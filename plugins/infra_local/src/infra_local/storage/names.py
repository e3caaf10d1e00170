"""Keys as paths: which file or folder a key stands for, and which names are the driver's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

#: Names that begin so are the driver's own, or escaped. At the root, the name itself is the folder for locks and the signing key.
RESERVED: Final = ".infra"
#: A segment that begins with RESERVED.
ESCAPED: Final = ".infra="
#: A folder that holds the rest of a segment too long for one file name.
CONTINUED: Final = ".infra+"
TEMPORARY: Final = ".infra-tmp-"
ATTRIBUTES: Final = ".infra-attr-"

_LONGEST: Final = 240  # bytes of a segment in one name; file systems allow 255, and the marks take some
_SURELY_SHORT: Final = _LONGEST // 4  # characters


def components(key: str) -> list[str]:
    """The folders and, last, the file of `key`. Each key has its own, however odd its segments."""
    segments = key.split("/")
    if RESERVED not in key and (len(key) <= _SURELY_SHORT or all(len(segment) <= _SURELY_SHORT for segment in segments)):
        return segments
    return [name for segment in segments for name in _names(segment)]


def _names(segment: str) -> Iterator[str]:
    rest = segment.encode()
    while len(rest) > _LONGEST:
        piece = rest[:_LONGEST].decode(errors="ignore")  # up to the last whole character
        yield CONTINUED + piece
        rest = rest[len(piece.encode()) :]
    name = rest.decode()
    yield ESCAPED + name if name.startswith(RESERVED) else name
