"""Folders by descriptor: every step is taken from an open folder, and none through a symbolic link."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from infra.errors import ErrorCode
from infra_local.storage.failures import Refusal, missing
from infra_local.storage.names import CONTINUED, ESCAPED, RESERVED

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe must not block
_ATTEMPTS: Final = 100


class Descriptor:
    """An open file descriptor. It closes with the last reference, so that no call ever uses one that was closed under it."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __del__(self) -> None:
        os.close(self.fd)


class Folder(Descriptor):
    """An open folder."""

    __slots__ = ()

    def enter(self, name: str) -> Folder:
        """The folder `name` in it."""
        return Folder(os.open(name, _FOLDER, dir_fd=self.fd))

    def open(self, name: str, flags: int = _FILE) -> int:
        """The file `name` in it, as a descriptor that the caller closes."""
        return os.open(name, flags, 0o666, dir_fd=self.fd)

    def remove(self, name: str) -> None:
        """Remove the file `name`; one that does not exist is fine."""
        try:
            os.unlink(name, dir_fd=self.fd)
        except FileNotFoundError:
            pass

    def sync(self) -> None:
        """Have its entries on disk."""
        os.fsync(self.fd)


def refused(folder: Folder, name: str, error: OSError, *, writing: bool) -> Exception:
    """What it means that `name` could not be entered: a link, an object where a folder should be, or nothing there."""
    try:
        mode = os.stat(name, dir_fd=folder.fd, follow_symlinks=False).st_mode
    except OSError:
        return missing() if isinstance(error, FileNotFoundError) else error
    if stat.S_ISLNK(mode):
        return through_link()
    if stat.S_ISREG(mode):
        return conflict() if writing else missing()
    return error


def through_link() -> Refusal:
    """Links are never followed: they may lead out of the root."""
    return Refusal(ErrorCode.PERMISSION_DENIED, "the key leads through a symbolic link, or to something that is no file")


def conflict() -> Refusal:
    """A name is a file or a folder, not both."""
    return Refusal(
        ErrorCode.CONFLICT, "the key, or a part of it that ends at a slash, is a folder where an object should be or the reverse"
    )


def descend(root: Folder, names: Sequence[str]) -> Folder:
    """The folder at the end of `names`; raises when there is none."""
    folder = root
    for name in names:
        try:
            folder = folder.enter(name)
        except OSError as error:
            raise refused(folder, name, error, writing=False) from error
    return folder


def make(root: Folder, names: Sequence[str], sync: bool) -> Folder:
    """The folder at the end of `names`, made when there is none. Another process may remove an empty one meanwhile: then again."""
    for _ in range(_ATTEMPTS):
        try:
            return _make(root, names, sync)
        except FileNotFoundError:
            continue
    raise Refusal(ErrorCode.UNAVAILABLE, "the folder is removed again and again by others")


def _make(root: Folder, names: Sequence[str], sync: bool) -> Folder:
    folder = root
    for name in names:
        try:
            try:
                inner = folder.enter(name)
            except FileNotFoundError:
                try:
                    os.mkdir(name, dir_fd=folder.fd)
                except FileExistsError:
                    pass  # another writer was faster
                inner = folder.enter(name)
                if sync:
                    folder.sync()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise refused(folder, name, error, writing=True) from error
        folder = inner
    return folder


def prune(root: Folder, names: Sequence[str]) -> None:
    """Remove the folder at the end of `names`, and those above it, as long as they are empty."""
    for depth in range(len(names), 0, -1):
        try:
            outer = descend(root, names[: depth - 1])  # a name: without a reference the descriptor would close before its use
            os.rmdir(names[depth - 1], dir_fd=outer.fd)
        except FileNotFoundError:
            continue
        except Refusal as error:
            if error.code is not ErrorCode.NOT_FOUND:
                return
        except OSError:
            return


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder that a listing may show.

    Args:
        key: Its key; that of a folder ends with a slash.
        name: Its name in `folder`.
        folder: Where it is.
    """

    key: str
    name: str
    folder: Folder

    def status(self) -> os.stat_result:
        """The file's status; FileNotFoundError when it was deleted meanwhile."""
        return os.stat(self.name, dir_fd=self.folder.fd, follow_symlinks=False)


def scan(folder: Folder, base: str) -> Iterator[Entry]:
    """The objects and folders directly in `folder`, whose keys begin with `base`, in no order. Links and the driver's own are not shown."""
    with os.scandir(folder.fd) as entries:
        for entry in entries:
            name = entry.name
            is_folder = entry.is_dir(follow_symlinks=False)
            if name.startswith(RESERVED):
                if name.startswith(CONTINUED) and is_folder:
                    try:
                        inner = folder.enter(name)
                    except OSError:
                        continue  # removed meanwhile
                    yield from scan(inner, base + name[len(CONTINUED) :])
                    continue
                if not name.startswith(ESCAPED):
                    continue
                name = name[len(ESCAPED) :]
            if is_folder:
                yield Entry(f"{base}{name}/", entry.name, folder)
            elif entry.is_file(follow_symlinks=False):
                yield Entry(base + name, entry.name, folder)


def walk(folder: Folder, base: str, prefix: str, after: str, rolled: bool) -> Iterator[Entry]:
    """The objects whose keys begin with `prefix` and come after `after`, in the order of their keys.

    With `rolled`, a folder below the prefix comes as one entry, if there is an object in it.
    """
    found = [
        entry
        for entry in scan(folder, base)
        if (entry.key > after or after.startswith(entry.key)) and (entry.key.startswith(prefix) or prefix.startswith(entry.key))
    ]
    found.sort(key=lambda entry: entry.key)
    for entry in found:
        if not entry.key.endswith("/"):
            if entry.key > after and entry.key.startswith(prefix):
                yield entry
            continue
        try:
            inner = entry.folder.enter(entry.name)
        except OSError:
            continue  # removed meanwhile, or replaced by something that is not ours to follow
        if rolled and entry.key.startswith(prefix) and entry.key != prefix:
            if entry.key > after and any(True for _ in walk(inner, entry.key, entry.key, "", False)):
                yield entry
        else:
            yield from walk(inner, entry.key, prefix, after, rolled)
