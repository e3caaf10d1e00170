"""Files that appear as a whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


class Download:
    """A temporary file beside `path` that takes its place on `commit`.

    Args:
        path: The file to write; an existing one is replaced.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._temporary = self._path.with_name(f".{self._path.name[:100]}.{secrets.token_hex(4)}.part")
        self._file = self._temporary.open("xb", buffering=0)

    def write(self, chunk: bytes) -> None:
        """Add all of `chunk`."""
        view = memoryview(chunk)
        while view:
            view = view[self._file.write(view) :]

    def commit(self) -> None:
        """Make it the file."""
        self._file.close()
        self._temporary.replace(self._path)

    def discard(self) -> None:
        """Leave nothing behind, unless it was committed. Does no I/O then."""
        if not self._file.closed:
            self._file.close()
            self._temporary.unlink(missing_ok=True)
