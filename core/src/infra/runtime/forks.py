"""Tells open objects in a forked child that their connections belong to the parent."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class ForkAware(Protocol):
    """Something that must not be used in a forked child."""

    def forked(self) -> None:
        """Called in the child after a fork."""
        ...


_watched: weakref.WeakSet[ForkAware] = weakref.WeakSet()


def watch(target: ForkAware) -> None:
    """Call ``target.forked()`` in every child forked from now on, as long as `target` lives."""
    _watched.add(target)


def _after_fork_in_child() -> None:
    for target in list(_watched):
        target.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
