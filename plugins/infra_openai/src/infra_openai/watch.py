"""Time limits for blocking reads: a thread that waits for a socket can only be freed by ending the connection."""

from __future__ import annotations

import math
import socket
import threading
import time
from typing import Any


class Guard:
    """The limit of one connection. Resting until `within` is called.

    Attributes:
        passed: Whether the limit passed, and the connection was ended.
    """

    __slots__ = ("_socket", "_watch", "deadline", "passed")

    def __init__(self, watch: Watch, response: Any) -> None:
        stream = response.extensions.get("network_stream")
        self._socket: socket.socket | None = None if stream is None else stream.get_extra_info("socket")
        self._watch = watch
        self.deadline = math.inf
        self.passed = False

    @property
    def able(self) -> bool:
        """Whether the connection is within reach; not under every transport."""
        return self._socket is not None

    def within(self, seconds: float | None) -> None:
        """End the connection when `rest` is not called within `seconds`; None is no limit."""
        self.deadline = math.inf if seconds is None else time.monotonic() + seconds
        if self.deadline < self._watch.wakes:
            self._watch.wake()

    def rest(self) -> None:
        """Nobody waits for the connection now."""
        self.deadline = math.inf

    def expire(self) -> None:
        """End the connection; whoever waits for it gets an error or the end of the data."""
        self.passed = True
        self.deadline = math.inf
        if self._socket is not None:
            try:
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)  # not the TLS socket's own, which is in use by the reader
            except OSError:
                pass


class Watch:
    """Watches over the connections of one driver, in one thread, which begins with the first limit and sleeps until the next.

    Attributes:
        wakes: When the thread looks next, on the monotonic clock.
    """

    def __init__(self) -> None:
        self.wakes = math.inf
        self._changed = threading.Condition()
        self._guards: set[Guard] = set()
        self._thread: threading.Thread | None = None
        self._closed = False

    def guard(self, response: Any) -> Guard:
        """A limit for the connection of an open response; `release` it afterwards."""
        made = Guard(self, response)
        with self._changed:
            self._guards.add(made)
        return made

    def release(self, guard: Guard) -> None:
        """Forget a connection."""
        with self._changed:
            self._guards.discard(guard)

    def wake(self) -> None:
        """Look at the limits now: one of them is earlier than was known."""
        with self._changed:
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="infra-openai-watch", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                self.wakes = math.inf  # a limit that is set from here on and not seen below wakes us at once
                for guard in self._guards:
                    if guard.deadline <= now:
                        guard.expire()
                self.wakes = min((guard.deadline for guard in self._guards), default=math.inf)
                self._changed.wait(None if self.wakes == math.inf else max(0.0, self.wakes - time.monotonic()))
