"""Locks between threads and processes, with flock: the system releases them when a process dies."""

from __future__ import annotations

import fcntl
import os
import secrets
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final
from zlib import crc32

from infra_local.storage.tree import Descriptor, Folder

_STRIPES: Final = 64
_LOCK_FILE: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_LIVE: Final = "live-"


class LockFile:
    """One exclusive lock: a mutex between threads and, inside it, a flock between processes. Opened on first use."""

    __slots__ = ("_file", "_folder", "_mutex", "_name")

    def __init__(self, folder: Folder, name: str) -> None:
        self._folder = folder
        self._name = name
        self._mutex = threading.Lock()
        self._file: Descriptor | None = None

    def __enter__(self) -> None:
        self._mutex.acquire()
        try:
            if self._file is None:
                self._file = Descriptor(self._folder.open(self._name, _LOCK_FILE))
            fcntl.flock(self._file.fd, fcntl.LOCK_EX)
        except BaseException:
            self._mutex.release()
            raise

    def __exit__(self, *exc: object) -> None:
        if self._file is not None:
            fcntl.flock(self._file.fd, fcntl.LOCK_UN)
        self._mutex.release()


class Stripes:
    """One of a fixed number of locks for each key: what writes a key, or checks a condition on it, holds its lock."""

    def __init__(self, folder: Folder) -> None:
        self._locks = [LockFile(folder, f"lock-{number:02x}") for number in range(_STRIPES)]

    def of(self, key: str) -> LockFile:
        """The lock of `key`; several keys may share it."""
        return self._locks[crc32(key.encode(errors="surrogateescape")) % _STRIPES]


class Writers:
    """Who writes now, and who wrote and died.

    Each write holds a shared lock; the sweeper takes the exclusive one, so that whatever temporary it then sees belongs to nobody. A handle
    that writes leaves a marker, locked for as long as it lives and removed when it is closed: a marker without a lock is what a dead
    process left, and only then is there something to sweep.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._file = Descriptor(folder.open("writers", _LOCK_FILE))
        self._mutex = threading.Lock()
        self._count = 0
        self._marker: tuple[str, Descriptor] | None = None

    def __enter__(self) -> None:
        with self._mutex:
            if not self._count:
                fcntl.flock(self._file.fd, fcntl.LOCK_SH)
                try:
                    self._marker = self._marker or self._mark()
                except BaseException:
                    fcntl.flock(self._file.fd, fcntl.LOCK_UN)
                    raise
            self._count += 1

    def __exit__(self, *exc: object) -> None:
        with self._mutex:
            self._count -= 1
            if not self._count:
                fcntl.flock(self._file.fd, fcntl.LOCK_UN)

    @contextmanager
    def excluded(self) -> Generator[bool]:
        """Keep all writers out, of all processes; False when there is one."""
        with self._mutex:
            try:
                if self._count:
                    raise BlockingIOError
                fcntl.flock(self._file.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            try:
                yield True
            finally:
                fcntl.flock(self._file.fd, fcntl.LOCK_UN)

    def dead(self) -> dict[str, Descriptor]:
        """The markers of dead writers, each with a descriptor that holds its lock."""
        found: dict[str, Descriptor] = {}
        for name in os.listdir(self._folder.fd):  # noqa: PTH208
            if not name.startswith(_LIVE):
                continue
            try:
                file = Descriptor(self._folder.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC))
                fcntl.flock(file.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (FileNotFoundError, BlockingIOError, PermissionError):  # gone, alive, or another account's to sweep
                continue
            found[name] = file
        return found

    def forget(self, name: str) -> None:
        """Remove a marker."""
        self._folder.remove(name)

    def close(self) -> None:
        """Nothing of this handle needs sweeping, unless it still writes."""
        with self._mutex:
            marker, self._marker = self._marker, None
            if marker is not None and not self._count:
                self._folder.remove(marker[0])

    def _mark(self) -> tuple[str, Descriptor]:
        name = secrets.token_hex(8)
        file = Descriptor(self._folder.open("new-" + name, _LOCK_FILE))
        fcntl.flock(file.fd, fcntl.LOCK_EX)  # before it gets its name: a marker that shows is locked
        os.rename("new-" + name, _LIVE + name, src_dir_fd=self._folder.fd, dst_dir_fd=self._folder.fd)
        return _LIVE + name, file
