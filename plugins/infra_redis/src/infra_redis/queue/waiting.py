"""Waiting for news of a queue, until somebody ends the wait.

A receive waits on a connection of its own by reading a stream without taking from it: when it is ended or cancelled, or its connection is
lost, nothing is on its way to it.
"""

from __future__ import annotations

import socket
import threading
from typing import Any

from infra_redis.connections import AsyncConnection, AsyncConnections, Connection, Connections, Sending


class _EndedError(Exception):
    """The wait was ended before it began."""


class _Wait(Sending):
    """One wait."""

    __slots__ = ("_connection", "_owner", "_queue", "_round", "ended")

    def __init__(self, owner: _Waits, queue: str, number: int) -> None:
        super().__init__()
        self._owner = owner
        self._queue = queue
        self._round = number
        self._connection: Any = None
        self.ended = False

    def begin(self, connection: Connection | AsyncConnection) -> None:
        """From now on it can be ended."""
        with self._owner.lock:
            if self._owner.rounds.get(self._queue, 0) != self._round:
                self.ended = True
                raise _EndedError
            self._connection = connection
            self._owner.waiting.setdefault(self._queue, set()).add(self)

    def end(self) -> None:
        """From now on the connection serves others."""
        with self._owner.lock:
            self._connection = None
            self._owner.waiting.get(self._queue, set()).discard(self)

    def cut(self) -> None:
        """End the connection under whoever reads from it."""
        self.ended = True
        connection = self._connection
        writer = getattr(connection, "_writer", None)
        if writer is not None:
            writer.transport.abort()
        elif (sock := getattr(connection, "_sock", None)) is not None:
            try:
                socket.socket.shutdown(sock, socket.SHUT_RDWR)  # not that of TLS, which others may not call while somebody reads
            except OSError:
                pass


class _Waits:
    """The waits of one driver, by queue."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.rounds: dict[str, int] = {}
        self.waiting: dict[str, set[_Wait]] = {}

    def round(self, queue: str) -> int:
        """How often the waits of `queue` were ended."""
        return self.rounds.get(queue, 0)

    def interrupt(self, queue: str) -> None:
        """End the waits of `queue`, those too that know this round only and have not begun."""
        with self.lock:
            self.rounds[queue] = self.rounds.get(queue, 0) + 1
            for wait in self.waiting.pop(queue, ()):
                wait.cut()


class Waits(_Waits):
    """For threads.

    Args:
        connections: One for each wait.
    """

    def __init__(self, connections: Connections) -> None:
        super().__init__()
        self._connections = connections

    def wait(self, queue: str, number: int, data: bytes, timeout: float) -> None:
        """Send `data` and wait for the reply to it, or until the round `number` of `queue` is over; errors are those of `exchange`."""
        wait = _Wait(self, queue, number)
        try:
            self._connections.exchange(data, 1, timeout, wait)
        except Exception:
            if not wait.ended:
                raise
        finally:
            wait.end()

    def close(self, timeout: float) -> None:
        """Close the connections of ended waits."""
        self._connections.close(timeout)


class AsyncWaits(_Waits):
    """For tasks.

    Args:
        connections: One for each wait.
    """

    def __init__(self, connections: AsyncConnections) -> None:
        super().__init__()
        self._connections = connections

    async def wait(self, queue: str, number: int, data: bytes, timeout: float) -> None:
        """As in `Waits`."""
        wait = _Wait(self, queue, number)
        try:
            await self._connections.exchange(data, 1, timeout, wait)
        except Exception:
            if not wait.ended:
                raise
        finally:
            wait.end()

    async def close(self, timeout: float) -> None:
        """As in `Waits`."""
        await self._connections.close(timeout)
