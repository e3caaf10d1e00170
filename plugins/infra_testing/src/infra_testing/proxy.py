"""A TCP proxy that breaks connections in every way a network does."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from infra_testing.services.ports import lease_port

T = TypeVar("T")
CHUNK = 65536
QUEUED = 64  # chunks on their way at most: then the sender is held back, as by a full window


class Direction(StrEnum):
    """One way of a connection, seen from the client."""

    TO_SERVER = "to_server"
    TO_CLIENT = "to_client"


@dataclass(frozen=True, slots=True, eq=False)
class _Rule:
    """What happens to the bytes of one direction. A new rule counts from nothing on every connection."""

    delay: float = 0.0
    rate: float = 0.0
    held: bool = False
    limit: int | None = None
    then: Literal["close", "reset", "hang"] = "close"
    request: bytes | None = None


@dataclass(slots=True, eq=False)
class _Link:
    """A client's connection and ours to the server; None when the server does not know of it."""

    client: socket.socket
    server: socket.socket | None
    tasks: list[asyncio.Task[None]] = field(default_factory=list[asyncio.Task[None]])
    doomed: bool = False


class FaultProxy:
    """A proxy in front of ``127.0.0.1:port``, in a thread of its own.

    ``with FaultProxy(server.port) as proxy: client = connect(proxy.url_of(server.url)); proxy.black_hole()``.
    Faults hold for the connections that are open and for those to come, until the next call changes them; `heal` ends them all.
    Each call returns once the fault is in force.

    Args:
        port: The port of the server on 127.0.0.1.
    """

    def __init__(self, port: int) -> None:
        self.target = port
        self._lease = lease_port()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"fault-proxy-{port}", daemon=True)
        self._rules = {direction: _Rule() for direction in Direction}
        self._changed = asyncio.Event()
        self._links: set[_Link] = set()
        self._listener: socket.socket | None = None
        self._orphaning = False
        self._accepted = 0
        self._bytes = dict.fromkeys(Direction, 0)
        self._counted = threading.Condition()

    @property
    def port(self) -> int:
        """The port that clients connect to."""
        return self._lease.port

    def url_of(self, url: str) -> str:
        """The server's URL with our port in the place of its own."""
        return re.sub(rf":{self.target}(?=/|$|\?)", f":{self.port}", url, count=1)

    # Life

    def start(self) -> Self:
        """Listen."""
        self._thread.start()
        self._do(self._listen())
        return self

    def close(self) -> None:
        """End all connections and stop listening. Harmless when done twice."""
        if self._loop.is_closed():
            return
        if self._thread.is_alive():
            self._do(self._end())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()
        self._lease.release()

    def __enter__(self) -> Self:
        """Listen."""
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End all connections and stop listening."""
        self.close()

    # Faults

    def heal(self) -> None:
        """End every fault. Bytes that were held go on; connections that the server lost stay lost and are reset when used."""

        async def apply() -> None:
            self._orphaning = False
            self._set(_Rule(), None)
            self._open_listener()

        self._do(apply())

    def delay(self, seconds: float, direction: Direction | None = None) -> None:
        """Let bytes arrive so much later, in order, without slowing their flow; both ways when no direction is given."""
        self._change(direction, delay=seconds)

    def throttle(self, bytes_per_second: float, direction: Direction | None = None) -> None:
        """Let no more bytes than this through in a second, on each connection."""
        self._change(direction, rate=bytes_per_second)

    def black_hole(self, direction: Direction | None = None) -> None:
        """Let nothing through and say nothing: what a dropped route looks like. With a direction, only that way is cut."""
        self._change(direction, held=True)

    def truncate(self, size: int, direction: Direction = Direction.TO_CLIENT, *, then: Literal["close", "reset", "hang"] = "close") -> None:
        """Let `size` more bytes through on each connection, then end it so."""
        self._change(direction, limit=size, then=then)

    def cut_answer_to(self, request: bytes) -> None:
        """Reset a connection instead of passing the answer to the next request that holds these bytes: it was done, and nobody knows."""
        self._change(Direction.TO_SERVER, request=request)

    def reset(self) -> None:
        """Reset all open connections, on both sides. New ones pass."""

        async def apply() -> None:
            self._drop(reset=True)

        self._do(apply())

    def disconnect(self) -> None:
        """Close all open connections in good order, on both sides. New ones pass."""

        async def apply() -> None:
            self._drop(reset=False)

        self._do(apply())

    def half_open(self) -> None:
        """The server loses all connections and the clients are not told: what they send vanishes, and nothing comes back."""

        async def apply() -> None:
            self._orphaning = True
            for link in self._links:
                server, link.server = link.server, None
                if server is not None:
                    for task in link.tasks:
                        task.cancel()
                    self._shut(server, reset=True)
                    self._detach(link.client)
                    link.tasks = [self._loop.create_task(self._swallow(link))]

        self._do(apply())

    def refuse(self) -> None:
        """Refuse new connections, as when no server listens. Open ones stay."""

        async def apply() -> None:
            self._close_listener()

        self._do(apply())

    # Counts

    @property
    def accepted(self) -> int:
        """How many connections clients have made so far."""
        return self._accepted

    @property
    def open_connections(self) -> int:
        """How many connections are open now."""

        async def count() -> int:
            return len(self._links)

        return self._do(count())

    def bytes_passed(self, direction: Direction) -> int:
        """How many bytes were let through so far."""
        return self._bytes[direction]

    def wait_until(self, condition: Callable[[FaultProxy], bool], timeout: float = 60.0) -> None:
        """Wait for a count, such as ``proxy.wait_until(lambda proxy: proxy.accepted == 2)``.

        Raises:
            TimeoutError: It did not come true in time.
        """
        with self._counted:
            if not self._counted.wait_for(lambda: condition(self), timeout):
                raise TimeoutError(f"not within {timeout:g} s; {self.accepted} connections made, bytes passed: {self._bytes}")

    # Inside: all below runs on the loop's thread, but for _do and _change

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        if threading.current_thread() is self._thread:  # as when the garbage collector runs here and ends somebody's block
            work.close()
            raise RuntimeError("a fault proxy cannot be changed from its own thread")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def _change(self, direction: Direction | None, **changes: Any) -> None:
        async def apply() -> None:
            for one in Direction if direction is None else (direction,):
                self._set(replace(self._rules[one], **changes), one)

        self._do(apply())

    def _set(self, rule: _Rule, direction: Direction | None) -> None:
        for one in Direction if direction is None else (direction,):
            self._rules[one] = rule
        self._changed.set()
        self._changed = asyncio.Event()

    def _count(self) -> None:
        with self._counted:
            self._counted.notify_all()

    async def _listen(self) -> None:
        self._open_listener()

    async def _end(self) -> None:
        self._close_listener()
        self._drop(reset=True)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _open_listener(self) -> None:
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port), backlog=512)
            self._listener.setblocking(False)
            self._loop.add_reader(self._listener, self._accept, self._listener)

    def _close_listener(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            self._shut(listener, reset=False)

    def _drop(self, *, reset: bool) -> None:
        for link in list(self._links):
            self._finish(link, reset=reset)

    def _finish(self, link: _Link, *, reset: bool = False) -> None:
        if link in self._links:
            self._links.discard(link)
            for task in link.tasks:
                task.cancel()
            for end in (link.client, link.server):
                if end is not None:
                    self._shut(end, reset=reset)
            self._count()

    def _detach(self, end: socket.socket) -> None:
        self._loop.remove_reader(end)
        self._loop.remove_writer(end)

    def _shut(self, end: socket.socket, *, reset: bool) -> None:
        self._detach(end)
        if reset:
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end.close()

    def _accept(self, listener: socket.socket) -> None:
        """Take one client. Not by a task: what it had accepted in the moment of its cancellation would be lost, and left open."""
        try:
            client, _ = listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = _Link(client, None)
        self._links.add(link)
        self._accepted += 1
        self._count()
        link.tasks = [self._loop.create_task(self._swallow(link) if self._orphaning else self._connect(link))]

    async def _connect(self, link: _Link) -> None:
        server = socket.socket()
        server.setblocking(False)
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await self._loop.sock_connect(server, ("127.0.0.1", self.target))
        except BaseException as error:
            server.close()
            if isinstance(error, OSError):
                self._finish(link, reset=True)
                return
            raise
        link.server = server
        ways = ((Direction.TO_SERVER, link.client, server), (Direction.TO_CLIENT, server, link.client))
        link.tasks = [self._loop.create_task(self._relay(link, *way)) for way in ways]

    async def _swallow(self, link: _Link) -> None:
        """The server knows nothing of this connection; once the fault is healed its next bytes get a reset."""
        try:
            while self._orphaning and await self._loop.sock_recv(link.client, CHUNK):
                pass
        except OSError:
            pass
        self._finish(link, reset=True)

    async def _relay(self, link: _Link, direction: Direction, source: socket.socket, sink: socket.socket) -> None:
        """One direction: a reader that notes when bytes came, and a writer that applies the rule."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(QUEUED)
        reader = self._loop.create_task(self._read(source, queue))
        link.tasks.append(reader)
        try:
            await self._write(link, direction, queue, sink)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            self._finish(link, reset=True)
        else:
            if all(task.done() for task in link.tasks if task not in (asyncio.current_task(), reader)):
                self._finish(link)

    async def _read(self, source: socket.socket, queue: asyncio.Queue[tuple[float, bytes]]) -> None:
        data = b"-"
        while data:
            try:
                data = await self._loop.sock_recv(source, CHUNK)
            except OSError:
                await queue.put((0.0, b"reset"))
                return
            await queue.put((self._loop.time(), data))

    async def _write(self, link: _Link, direction: Direction, queue: asyncio.Queue[tuple[float, bytes]], sink: socket.socket) -> None:
        counted, passed = self._rules[direction], 0
        while True:
            came, data = await queue.get()
            if not came:
                raise ConnectionResetError
            if not data:
                await self._permission(direction, came)
                return
            while data:
                rule = await self._permission(direction, came)
                if rule is not counted:
                    counted, passed = rule, 0
                if direction is Direction.TO_CLIENT and link.doomed:
                    self._finish(link, reset=True)
                    return
                if rule.request is not None and rule.request in data:
                    link.doomed = True
                    self._set(replace(rule, request=None), direction)
                part, data = self._part(rule, passed, data)
                passed += len(part)
                self._bytes[direction] += len(part)
                self._count()
                await self._loop.sock_sendall(sink, part)
                if rule.limit is not None and passed >= rule.limit:
                    if rule.then == "hang":
                        await asyncio.Event().wait()
                    self._finish(link, reset=rule.then == "reset")
                    return
                if rule.rate:
                    await asyncio.sleep(len(part) / rule.rate)

    async def _permission(self, direction: Direction, came: float) -> _Rule:
        """Wait until bytes that came then may go; gives the rule that lets them."""
        while (rule := self._rules[direction]).held or came + rule.delay > self._loop.time():
            wait = None if rule.held else came + rule.delay - self._loop.time()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), wait)
        return rule

    @staticmethod
    def _part(rule: _Rule, passed: int, data: bytes) -> tuple[bytes, bytes]:
        """What of `data` may go now, and what is left."""
        size = len(data)
        if rule.limit is not None:
            size = min(size, rule.limit - passed)
        if rule.rate:
            size = min(size, max(1, int(rule.rate / 50)))
        return data[:size], data[size:]
