"""What `statement_timeout` cannot end: a server that has stopped, while its machine still acknowledges every packet.

A connection that has waited for `network_timeout` seconds without a byte asks the server for a sign of life on a connection of its own:
one packet, one byte back, no login. A slow statement goes on; without an answer the connection is closed and the wait fails.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Generator
from time import monotonic
from typing import Any, Final, TypeVar

import psycopg

T = TypeVar("T")

#: SSLRequest, which every server answers with one byte before it knows who asks.
_QUESTION: Final = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")
#: Why this machine could not even ask, which says nothing about the server: no descriptor, no memory, no port.
_UNASKED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})


class _SilentError(Exception):
    """The server gives no sign of life."""


class Watched:
    """What both kinds of connection have in common.

    Its instances are connections of psycopg whose class was changed: psycopg's `connect` and SQLAlchemy's take no class.
    """

    pgconn: Any
    network_timeout: float
    probe_timeout: float

    def place(self) -> tuple[str, int]:
        """Where the server of this connection is: an address, or a socket's folder."""
        return (self.pgconn.hostaddr or self.pgconn.host).decode(), int(self.pgconn.port)

    def gone(self) -> psycopg.OperationalError:
        """Close the connection; the error to raise."""
        self.pgconn.finish()
        return psycopg.OperationalError("the server has stopped answering")


class WatchedConnection(psycopg.Connection[Any], Watched):
    """A blocking connection that does not wait for ever."""

    def wait(self, gen: Generator[Any, Any, T], *args: Any, **options: Any) -> T:
        """See `psycopg.Connection.wait`."""
        try:
            return super().wait(_watched(gen, self.network_timeout, self._is_alive), *args, **options)
        except _SilentError:
            raise self.gone() from None

    def _is_alive(self) -> bool:
        host, port = self.place()
        try:
            with _connected(host, port, self.probe_timeout) as probe:
                probe.sendall(_QUESTION)
                return bool(probe.recv(1))
        except OSError as error:
            return error.errno in _UNASKED


class WatchedAsyncConnection(psycopg.AsyncConnection[Any], Watched):
    """An asyncio connection that does not wait for ever."""

    _probe: asyncio.Task[bool] | None = None

    async def wait(self, gen: Generator[Any, Any, T], *args: Any, **options: Any) -> T:
        """See `psycopg.AsyncConnection.wait`."""
        try:
            return await super().wait(_watched(gen, self.network_timeout, self._is_alive), *args, **options)
        except _SilentError:
            raise self.gone() from None
        finally:
            if self._probe is not None:
                self._probe.cancel()
                self._probe = None

    def _is_alive(self) -> bool | None:
        """None while nobody knows."""
        probe = self._probe
        if probe is None:
            self._probe = asyncio.get_running_loop().create_task(self._ask())
        elif probe.done():
            self._probe = None
            return probe.result()
        return None

    async def _ask(self) -> bool:
        host, port = self.place()
        writer: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(self.probe_timeout):
                opening = asyncio.open_unix_connection(_file(host, port)) if _is_folder(host) else asyncio.open_connection(host, port)
                reader, writer = await opening
                writer.write(_QUESTION)
                return bool(await reader.read(1))
        except OSError as error:  # TimeoutError is one
            return error.errno in _UNASKED
        finally:
            if writer is not None:
                writer.close()


def watch(raw: Any, network_timeout: float, probe_timeout: float) -> None:
    """Let a new connection of psycopg ask for signs of life.

    Args:
        raw: The connection.
        network_timeout: Seconds without a byte before it asks; 0 for never.
        probe_timeout: Seconds that the server has for its answer.
    """
    if not network_timeout:
        return
    is_async = issubclass(type(raw), psycopg.AsyncConnection)
    raw.__class__ = WatchedAsyncConnection if is_async else WatchedConnection
    watched: Watched = raw
    watched.network_timeout, watched.probe_timeout = network_timeout, probe_timeout or network_timeout


def _watched(gen: Generator[Any, Any, T], patience: float, is_alive: Callable[[], bool | None]) -> Generator[Any, Any, T]:
    """The same steps; psycopg sends 0 for each tenth of a second in which the socket was not ready."""
    since = monotonic()
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if ready:
                since = monotonic()
            elif monotonic() - since >= patience:
                alive = is_alive()
                if alive:
                    since = monotonic()
                elif alive is not None:
                    raise _SilentError
            wanted = gen.send(ready)
    except StopIteration as end:
        return end.value


def _connected(host: str, port: int, timeout: float) -> socket.socket:
    if not _is_folder(host):
        return socket.create_connection((host, port), timeout)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(timeout)
    try:
        connection.connect(_file(host, port))
    except OSError:
        connection.close()
        raise
    return connection


def _is_folder(host: str) -> bool:
    return host.startswith("/")


def _file(host: str, port: int) -> str:
    return f"{host}/.s.PGSQL.{port}"
