"""Named locks between processes: locked files beside the database."""

from __future__ import annotations

import os
import re
import threading

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


class FileLocks:
    """The locks that one driver holds.

    Args:
        database: The path of the database; None keeps the locks in this object, for a database that nobody else can see.
    """

    def __init__(self, database: str | None) -> None:
        self._database = database
        self._mutex = threading.Lock()
        self._held: dict[str, tuple[str, int | None]] = {}

    def take(self, owner: str, name: str) -> bool:
        """Lock `name` for `owner` if it is free."""
        with self._mutex:
            if name in self._held:
                return False
            descriptor = None
            if self._database is not None and fcntl is not None:
                path = f"{self._database}.{re.sub(r'[^A-Za-z0-9_-]', '_', name)}.lock"
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    os.close(descriptor)
                    return False
            self._held[name] = (owner, descriptor)
            return True

    def release(self, owner: str, name: str) -> None:
        """Unlock `name`, if `owner` holds it."""
        with self._mutex:
            held = self._held.get(name)
            if held is None or held[0] != owner:
                return
            del self._held[name]
            if held[1] is not None:
                os.close(held[1])
