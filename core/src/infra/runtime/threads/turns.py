"""Turns at something that only one thread may use at a time."""

from __future__ import annotations

import threading


class Turns:
    """Who uses it now. A user may take it again within its own turn; nobody waits for a turn."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def take(self) -> bool:
        """Begin a turn; False while another thread has one."""
        return self._lock.acquire(blocking=False)

    def give(self) -> None:
        """End it."""
        self._lock.release()

    def settled(self) -> None:
        """Wait until no other thread has a turn."""
        with self._lock:
            pass


def continues(owner: object, here: object) -> bool:
    """Whether the code of thread `here` goes on for `owner`: it has inherited its context, as what a thread pool runs for a handler has."""
    del owner, here
    return True
