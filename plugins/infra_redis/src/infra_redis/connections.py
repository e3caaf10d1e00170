"""Connections of redis-py, for whole exchanges: some packed commands there, their replies back.

A connection serves one exchange at a time and is kept only when every reply of that exchange was read. Whatever else happens, an error, a
timeout, a cancelled task, it is closed: no reply can ever be taken for that of another command.

redis-py's own pools cost as much as the exchange does, and its asyncio timeouts a task for each command (measured).
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NoReturn, Protocol, cast

import hiredis
from redis import exceptions

from infra_redis.scripting import Script

#: One command, name and arguments, as bytes. (The stub of hiredis knows commands of one word only.)
pack: Final = cast("Callable[[tuple[str | int | bytes, ...]], bytes]", cast(Any, hiredis).pack_command)


class Sending:
    """Follows one exchange, for callers who must know how far it came.

    Attributes:
        begun: Whether anything may have reached the server.
    """

    __slots__ = ("begun",)

    def __init__(self) -> None:
        self.begun = False

    def begin(self, connection: Connection | AsyncConnection) -> None:  # noqa: ARG002  (for subclasses)
        """Called with a connected connection before the first byte."""
        self.begun = True

    def end(self) -> None:
        """Called after the last reply, before others may use the connection."""


class Connection(Protocol):
    """What is used of redis-py's blocking connections. A new one connects, and gives its credentials, when it first sends."""

    _sock: Any  # to wake whoever reads from it

    def connect(self) -> None:
        """Connect, unless it is connected."""
        ...

    def send_packed_command(self, command: Sequence[bytes], check_health: bool = True) -> None:
        """Send."""
        ...

    def read_response(self) -> Any:
        """Read one reply; raise it if it is an error."""
        ...

    def can_read(self, timeout: float = 0) -> bool:
        """Whether bytes are there, or its end; raises when it was closed."""
        ...

    def update_current_socket_timeout(self, relaxed_timeout: float | None = None) -> None:
        """Seconds after which the open socket gives up."""
        ...

    def disconnect(self) -> None:
        """Close."""
        ...


class AsyncConnection(Protocol):
    """What is used of redis-py's asyncio connections."""

    _writer: Any  # its ``can_read`` overlooks a connection that was reset

    async def connect(self) -> None:
        """As in `Connection`."""
        ...

    async def send_packed_command(self, command: Sequence[bytes], check_health: bool = True) -> None:
        """As in `Connection`."""
        ...

    async def read_response(self) -> Any:
        """As in `Connection`."""
        ...

    async def can_read(self) -> bool:
        """As in `Connection`."""
        ...

    async def disconnect(self, nowait: bool = False) -> None:
        """Close, without waiting until it is closed where `nowait` is True."""
        ...


class _Wire:
    """A connection, and the seconds after which its socket gives up."""

    __slots__ = ("connection", "patience")

    def __init__(self, connection: Connection, patience: float) -> None:
        self.connection = connection
        self.patience = patience


class Connections:
    """Blocking connections, made when needed. Thread-safe.

    Args:
        kind: The class of the connections.
        arguments: What they are made with.
        size: The most of them.
    """

    def __init__(self, kind: Callable[..., Connection], arguments: Mapping[str, Any], size: int) -> None:
        self._kind = kind
        self._arguments = dict(arguments)
        self._idle: list[_Wire] = []  # the one used last is taken first
        self._tokens: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(size):
            self._tokens.put(None)
        self._size = size
        self._closing = threading.Lock()
        self._closed = False

    def exchange(self, data: bytes, count: int, timeout: float, sending: Sending | None = None) -> list[Any]:
        """Send `data` and read `count` replies, waiting at most `timeout` seconds for a free connection and for the server together.

        Raises:
            redis.ResponseError: The first of the replies that is an error; all were read.
            redis.RedisError: The server was not reached or did not answer in time.
        """
        try:
            self._tokens.get_nowait()
        except queue.Empty:
            timeout = self._wait(timeout)
        try:
            wire = self._take(timeout)
            connection = wire.connection
            try:
                if sending is not None:
                    connection.connect()
                    sending.begin(connection)
                connection.send_packed_command((data,), check_health=False)
                replies: list[Any] = []
                failure: exceptions.ResponseError | None = None
                for _ in range(count):
                    try:
                        replies.append(connection.read_response())
                    except exceptions.ReadOnlyError:  # the name may stand for another server by now
                        raise
                    except exceptions.ResponseError as error:
                        failure = failure or error
                if sending is not None:
                    sending.end()
            except BaseException:
                connection.disconnect()
                raise
            self._idle.append(wire)
            if self._closed:
                self._drain()
        finally:
            self._tokens.put(None)
        if failure is not None:
            raise failure
        return replies

    def run(
        self,
        script: Script,
        keys: Sequence[str],
        arguments: Sequence[str | int | bytes],
        timeout: float,
        sending: Sending | None = None,
    ) -> Any:
        """The reply of a script; `exchange` says what is raised."""
        call = (len(keys), *keys, *arguments)
        try:
            return self.exchange(pack(("EVALSHA", script.digest, *call)), 1, timeout, sending)[0]
        except exceptions.NoScriptError:  # a new server, or one whose scripts were flushed; nothing was run
            return self.exchange(pack(("EVAL", script.source, *call)), 1, timeout, sending)[0]

    def close(self, timeout: float) -> None:  # noqa: ARG002  (closing a socket does not wait)
        """Close the idle connections; one that is in use closes after its exchange."""
        self._closed = True
        self._drain()

    def _take(self, timeout: float) -> _Wire:
        while True:
            try:
                wire = self._idle.pop()
            except IndexError:
                arguments = {**self._arguments, "socket_timeout": timeout, "socket_connect_timeout": timeout}
                return _Wire(self._kind(**arguments), timeout)
            if _is_stale(wire.connection):
                wire.connection.disconnect()
                continue
            if wire.patience != timeout:
                wire.connection.update_current_socket_timeout(timeout)
                wire.patience = timeout
            return wire

    def _wait(self, timeout: float) -> float:
        """Wait for a free connection; the seconds that are left."""
        until = time.monotonic() + timeout
        try:
            self._tokens.get(timeout=timeout)
        except queue.Empty:
            _raise_busy(self._size, timeout)
        return max(0.001, until - time.monotonic())

    def _drain(self) -> None:
        with self._closing:
            while self._idle:
                self._idle.pop().connection.disconnect()


class AsyncConnections:
    """The same for asyncio.

    Args:
        kind: The class of the connections.
        arguments: What they are made with.
        size: The most of them.
    """

    def __init__(self, kind: Callable[..., AsyncConnection], arguments: Mapping[str, Any], size: int) -> None:
        self._kind = kind
        self._arguments = {**arguments, "socket_timeout": None}  # redis-py would wait in a task of its own: `exchange` has a timeout
        self._idle: list[AsyncConnection] = []
        self._slots = asyncio.Semaphore(size)
        self._size = size
        self._closed = False

    async def exchange(self, data: bytes, count: int, timeout: float, sending: Sending | None = None) -> list[Any]:
        """As in `Connections`."""
        waiting = True
        try:
            async with asyncio.timeout(timeout), self._slots:
                waiting = False
                connection = await self._take()
                try:
                    if sending is not None:
                        await connection.connect()
                        sending.begin(connection)
                    await connection.send_packed_command((data,), check_health=False)
                    replies: list[Any] = []
                    failure: exceptions.ResponseError | None = None
                    for _ in range(count):
                        try:
                            replies.append(await connection.read_response())
                        except exceptions.ReadOnlyError:
                            raise
                        except exceptions.ResponseError as error:
                            failure = failure or error
                    if sending is not None:
                        sending.end()
                except BaseException:
                    await connection.disconnect(nowait=True)
                    raise
                if self._closed:
                    await connection.disconnect(nowait=True)
                else:
                    self._idle.append(connection)
        except TimeoutError:
            if waiting:
                _raise_busy(self._size, timeout)
            where = f"{self._arguments['host']}:{self._arguments['port']}"
            raise exceptions.TimeoutError(f"no answer from {where} within {timeout:g} s") from None
        if failure is not None:
            raise failure
        return replies

    async def run(
        self,
        script: Script,
        keys: Sequence[str],
        arguments: Sequence[str | int | bytes],
        timeout: float,
        sending: Sending | None = None,
    ) -> Any:
        """As in `Connections`."""
        call = (len(keys), *keys, *arguments)
        try:
            return (await self.exchange(pack(("EVALSHA", script.digest, *call)), 1, timeout, sending))[0]
        except exceptions.NoScriptError:  # a new server, or one whose scripts were flushed; nothing was run
            return (await self.exchange(pack(("EVAL", script.source, *call)), 1, timeout, sending))[0]

    async def close(self, timeout: float) -> None:
        """Close the idle connections within `timeout` seconds; one that is in use closes after its exchange."""
        self._closed = True
        try:
            async with asyncio.timeout(timeout):
                while self._idle:
                    await self._idle.pop().disconnect()
        except TimeoutError:
            while self._idle:
                await self._idle.pop().disconnect(nowait=True)

    async def _take(self) -> AsyncConnection:
        while self._idle:
            connection = self._idle.pop()
            try:
                if not (await connection.can_read() or connection._writer.is_closing()):
                    return connection
            except (exceptions.RedisError, OSError):
                pass
            await connection.disconnect(nowait=True)
        return self._kind(**self._arguments)


def _is_stale(connection: Connection) -> bool:
    """Whether an idle connection was closed by the server, or has bytes that nobody asked for."""
    try:
        return connection.can_read(0)
    except (exceptions.RedisError, OSError):
        return True


def _raise_busy(size: int, timeout: float) -> NoReturn:
    raise exceptions.TimeoutError(f"all {size} connections (max_connections) were in use for {timeout:g} s") from None
