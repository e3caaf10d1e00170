"""Removing what a killed process left: temporaries, attributes without an object, empty folders."""

from __future__ import annotations

import os
import time
from typing import Final

from infra_local.storage.locks import Writers
from infra_local.storage.names import ATTRIBUTES, RESERVED, TEMPORARY
from infra_local.storage.tree import Folder

_PATIENCE: Final = 0.5  # seconds to wait for writers, in all
_PAUSE: Final = 0.002


def sweep(root: Folder, writers: Writers) -> bool:
    """Sweep the tree when a writer has died; False when live writers were in the way, and the next handle to open has to try again."""
    dead = writers.dead()  # their locks keep others from sweeping for them too
    if not dead:
        return True
    if not _sweep(root, writers, time.monotonic() + _PATIENCE):
        return False
    for name in dead:
        writers.forget(name)
    return True


def _sweep(folder: Folder, writers: Writers, until: float) -> bool:
    inner: list[str] = []
    while True:
        with writers.excluded() as alone:
            if alone:
                inner = _clean(folder)
                break
        if time.monotonic() > until:
            return False
        time.sleep(_PAUSE)
    complete = True
    for name in inner:
        try:
            complete &= _sweep(folder.enter(name), writers, until)
            os.rmdir(name, dir_fd=folder.fd)
        except OSError:
            continue  # not empty, as most are, or removed meanwhile
    return complete


def _clean(folder: Folder) -> list[str]:
    """Clean one folder, with no writer about; its inner folders."""
    inner: list[str] = []
    temporaries: list[str] = []
    attributes: list[str] = []
    inodes: set[str] = set()
    with os.scandir(folder.fd) as entries:
        for entry in entries:
            name = entry.name
            if entry.is_dir(follow_symlinks=False):
                if name != RESERVED:
                    inner.append(name)
            elif name.startswith(TEMPORARY):
                temporaries.append(name)
            elif name.startswith(ATTRIBUTES):
                attributes.append(name)
            else:
                inodes.add(f"{entry.stat(follow_symlinks=False).st_ino:x}")
    for name in temporaries:
        folder.remove(name)
    for name in attributes:
        if name.removeprefix(ATTRIBUTES) not in inodes:
            folder.remove(name)
    return inner
