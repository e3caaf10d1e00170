"""Ports for private servers, leased under lock files so that parallel test runs never choose the same one."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import stat
from pathlib import Path

#: Below the ephemeral range: the port of a stopped server must still be free when it starts again.
FIRST, LAST = 20000, 31999
LOCKS = Path("/tmp")


class PortLease:
    """A port that is ours until `release`, whether a server listens on it or not. The lease ends with the process."""

    def __init__(self, port: int, lock: int) -> None:
        self.port = port
        self._lock: int | None = lock

    def release(self) -> None:
        """Give the port back. Harmless when done twice."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)


def lease_port() -> PortLease:
    """Lease a free port of 127.0.0.1.

    Raises:
        RuntimeError: No port of the range is free.
    """
    folder = LOCKS / f"test-service-ports-{os.getuid()}"
    folder.mkdir(mode=stat.S_IRWXU, exist_ok=True)
    ports = range(FIRST, LAST + 1)
    start = random.SystemRandom().randrange(len(ports))
    for offset in range(len(ports)):
        port = ports[(start + offset) % len(ports)]
        lock = os.open(folder / f"{port}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if is_free(port):
                return PortLease(port, lock)
        except BlockingIOError:
            pass
        os.close(lock)
    raise RuntimeError(f"no free port between {FIRST} and {LAST}")


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
