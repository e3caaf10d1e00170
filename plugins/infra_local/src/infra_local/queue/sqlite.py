"""A durable queue in a SQLite file: the blocking and the asyncio driver over one writer thread."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

from infra.errors import ConfigurationError
from infra.plugin import OpenContext
from infra.queue.model import (
    RELEASE,
    Action,
    DeadLetter,
    Durability,
    Message,
    PublishOutcome,
    QueueFeature,
    QueueLimits,
    QueueSpec,
    QueueStats,
    Receipt,
    Received,
    SendFailure,
    Settled,
)
from infra.runtime.bridge import inline
from infra_local.filesystem import network_file_system
from infra_local.queue import schema
from infra_local.queue.engine import (
    Claim,
    ClosedFileError,
    FileOptions,
    Interrupt,
    NoSuchQueueError,
    Nudge,
    OpenFiles,
    QueueFile,
    UnknownCommitError,
    Work,
    classify,
)
from infra_local.queue.settings import SQLiteQueueSettings

T = TypeVar("T")
FEATURES = frozenset(str(feature) for feature in QueueFeature)
LIMITS = QueueLimits(batch=1000, message_bytes=256 * 1024 * 1024)
Tokens = Sequence[tuple[schema.Token, Action]]


class _SQLiteQueues:
    """What both drivers share: the file, the queues' numbers, and the work for the writer."""

    features = FEATURES
    limits = LIMITS

    def __init__(self, files: OpenFiles, file: QueueFile) -> None:
        self._files = files
        self._file = file
        self._numbers: dict[str, int] = {}
        self._windows: dict[str, float] = {}
        self._durability = Durability.DISK if file.options.synchronous == "full" else Durability.PROCESS
        self._open = True

    def classify(self, error: BaseException) -> Any:
        """What an exception stands for."""
        return classify(error)

    def unwrap(self) -> Sequence[object]:
        """The writer's connection: for reading, and never within a transaction."""
        return () if self._file.connection is None else (self._file.connection,)

    def _do_here(self, run: Callable[[sqlite3.Connection], T], timeout: float, *, writes: bool = True) -> T:
        """Run it in this thread or the writer's, and wait."""
        ticket = _Ticket()
        work = Work(run, ticket.resolve, writes)
        if not self._open:
            raise ClosedFileError(f"{self._file.options.path} is closed")
        self._file.perform(work)
        if not ticket.wait(timeout):
            work.abandoned = True
            raise TimeoutError(f"the queue file did not answer within {timeout:g} s")
        if ticket.error is not None:
            raise ticket.error
        return ticket.result

    def _post(self, request: Work | Claim | Interrupt | Nudge) -> None:
        if not self._open:
            raise ClosedFileError(f"{self._file.options.path} is closed")
        self._file.post(request)

    def _number(self, queue: str) -> int:
        number = self._numbers.get(queue)
        if number is None:
            raise NoSuchQueueError(f"the file has no queue {queue!r}")
        return number

    def _declaration(self, spec: QueueSpec, *, create: bool) -> Callable[[sqlite3.Connection], bool]:
        def declare(connection: sqlite3.Connection) -> bool:
            number = schema.declare(connection, spec.name, create)
            if number is None:
                if spec.topology == "ensure":
                    return False
                raise NoSuchQueueError(f"the file has no queue {spec.name!r}")
            self._numbers[spec.name] = number
            self._windows[spec.name] = spec.dedup_window
            return True

        return declare

    def _insertion(self, queue: str, batch: Sequence[Message]) -> Callable[[sqlite3.Connection], Sequence[Receipt | SendFailure]]:
        number, window, durability = self._number(queue), self._windows[queue], self._durability
        return lambda connection: schema.insert(connection, number, batch, time.time(), window, durability)

    def _settlement(self, queue: str, batch: Sequence[tuple[object, Action]]) -> Callable[[sqlite3.Connection], Sequence[Settled]]:
        number = self._number(queue)
        return lambda connection: schema.settle(connection, number, cast(Tokens, batch), time.time())

    def _give_back(self, queue: str, received: Sequence[Received]) -> None:
        work = self._settlement(queue, [(one.token, RELEASE) for one in received])
        try:
            self._file.post(Work(work, lambda _result, _error: None))
        except ClosedFileError:  # then they come again when their lease ends
            pass


def _failures(batch: Sequence[Message], error: BaseException) -> Sequence[SendFailure]:
    """What a failed transaction means for its messages: before COMMIT none was sent."""
    outcome = PublishOutcome.UNKNOWN if isinstance(error, UnknownCommitError) else PublishOutcome.NOT_SENT
    return [SendFailure(outcome, error)] * len(batch)


def _received(rows: list[schema.Row], lease: int) -> list[Received]:
    return [Received(schema.message_of(row[1], row[3:]), schema.token_of(row, lease), row[2] > 0) for row in rows]


class _Ticket:
    """What a thread waits for."""

    __slots__ = ("_lock", "_over", "error", "result")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self._over = False
        self.result: Any = None
        self.error: BaseException | None = None

    def resolve(self, result: Any, error: BaseException | None) -> None:
        """Called by the writer; the first call counts."""
        if not self._over:
            self._over = True
            self.result, self.error = result, error
            self._lock.release()

    def wait(self, timeout: float) -> bool:
        """Whether it was resolved in time."""
        return self._lock.acquire(timeout=timeout)


class SQLiteQueueDriver(_SQLiteQueues):
    """Blocking driver; the contracts are those of `infra.queue.driver.QueueDriver`."""

    def ping(self, timeout: float) -> None:
        """Read from the file."""
        self._do_here(lambda connection: connection.execute("SELECT count(*) FROM queue").fetchone(), timeout, writes=False)

    def close(self, timeout: float) -> None:
        """Flush, and close the file when no other door uses it."""
        if self._open:
            self._open = False
            self._files.release(self._file, timeout)

    def declare(self, spec: QueueSpec, timeout: float) -> None:
        """Make `spec.name` usable; a queue that is there costs no lock."""
        if not self._do_here(self._declaration(spec, create=False), timeout, writes=False):
            self._do_here(self._declaration(spec, create=True), timeout)

    def send(self, queue: str, batch: Sequence[Message], timeout: float) -> Sequence[Receipt | SendFailure]:
        """Publish all messages; returns after COMMIT."""
        try:
            return self._do_here(self._insertion(queue, batch), timeout)
        except (sqlite3.Error, UnknownCommitError, ClosedFileError) as error:
            return _failures(batch, error)

    def receive(self, queue: str, most: int, wait: float, lease: float) -> Sequence[Received]:
        """Take messages."""
        ticket = _Ticket()
        gone = threading.Lock()  # whoever has it first decides: the writer hands over, or the receiver is gone

        def taken(rows: list[schema.Row], number: int) -> bool:
            if not gone.acquire(blocking=False):
                return not rows
            ticket.resolve((rows, number), None)
            return True

        claim = Claim(self._number(queue), most, lease, time.monotonic() + wait, taken, lambda error: ticket.resolve(None, error))
        self._post(claim)
        try:
            ticket.wait(-1)
        except BaseException:  # KeyboardInterrupt
            claim.abandoned = True
            if not gone.acquire(blocking=False) and ticket.result is not None:
                self._give_back(queue, _received(*ticket.result))
            raise
        if ticket.error is not None:
            raise ticket.error
        return _received(*ticket.result)

    def interrupt(self, queue: str) -> None:
        """End the waiting receives."""
        if self._open and not self._file._closed:
            self._post(Interrupt(self._number(queue)))

    def settle(self, queue: str, batch: Sequence[tuple[object, Action]], timeout: float) -> Sequence[Settled | BaseException]:
        """Settle deliveries; returns after COMMIT."""
        return self._do_here(self._settlement(queue, batch), timeout)

    def stats(self, queue: str, timeout: float) -> QueueStats:
        """Numbers of messages now."""
        number = self._number(queue)
        return self._do_here(lambda connection: schema.stats(connection, number, time.time()), timeout, writes=False)

    def peek(self, queue: str, most: int, timeout: float) -> Sequence[Message]:
        """The next messages."""
        number = self._number(queue)
        return self._do_here(lambda connection: schema.peek(connection, number, most, time.time()), timeout, writes=False)

    def dead_letters(self, queue: str, most: int, timeout: float) -> Sequence[DeadLetter]:
        """The oldest dead letters."""
        number = self._number(queue)
        return self._do_here(lambda connection: schema.dead_letters(connection, number, most), timeout, writes=False)

    def redrive(self, queue: str, ids: Sequence[str] | None, most: int, timeout: float) -> int:
        """Put dead letters back as new."""
        number = self._number(queue)
        return self._do_here(lambda connection: schema.redrive(connection, number, ids, most, time.time()), timeout)

    def purge(self, queue: str, dead: bool, timeout: float) -> int:
        """Delete messages or dead letters."""
        number = self._number(queue)
        return self._do_here(lambda connection: schema.purge(connection, number, dead, time.time()), timeout)


class AsyncSQLiteQueueDriver(_SQLiteQueues):
    """Asyncio driver, by futures onto the writer thread; the contracts are those of `infra.queue.driver.AsyncQueueDriver`."""

    async def ping(self, timeout: float) -> None:
        """Read from the file."""
        await self._do(lambda connection: connection.execute("SELECT count(*) FROM queue").fetchone(), timeout, writes=False)

    async def close(self, timeout: float) -> None:
        """Flush, and close the file when no other door uses it."""
        if not self._open:
            return
        self._open = False
        loop = asyncio.get_running_loop()
        closed: asyncio.Future[None] = loop.create_future()

        def close() -> None:
            self._files.release(self._file, timeout)
            loop.call_soon_threadsafe(closed.set_result, None)

        threading.Thread(target=close, name="infra-queue-close", daemon=True).start()
        await closed

    async def declare(self, spec: QueueSpec, timeout: float) -> None:
        """Make `spec.name` usable; a queue that is there costs no lock."""
        if not await self._do(self._declaration(spec, create=False), timeout, writes=False):
            await self._do(self._declaration(spec, create=True), timeout)

    async def send(self, queue: str, batch: Sequence[Message], timeout: float) -> Sequence[Receipt | SendFailure]:
        """Publish all messages; returns after COMMIT."""
        try:
            return await self._do(self._insertion(queue, batch), timeout)
        except (sqlite3.Error, UnknownCommitError, ClosedFileError) as error:
            return _failures(batch, error)

    async def receive(self, queue: str, most: int, wait: float, lease: float) -> Sequence[Received]:
        """Take messages; what was claimed for a receive that is cancelled is released."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[Received]] = loop.create_future()

        def deliver(rows: list[schema.Row], number: int) -> None:
            received = _received(rows, number)
            if not future.done():
                future.set_result(received)
            elif received:
                self._give_back(queue, received)

        def taken(rows: list[schema.Row], number: int) -> bool:
            try:
                loop.call_soon_threadsafe(deliver, rows, number)
            except RuntimeError:  # the loop is closed
                return False
            return True

        claim = Claim(self._number(queue), most, lease, time.monotonic() + wait, taken, lambda error: _set(loop, future, None, error))
        self._post(claim)
        try:
            return await future
        except asyncio.CancelledError:
            claim.abandoned = True
            if future.done() and not future.cancelled() and future.exception() is None:
                self._give_back(queue, future.result())
            elif not self._file._closed:
                self._file.post(Nudge())
            raise

    async def interrupt(self, queue: str) -> None:
        """End the waiting receives."""
        if self._open and not self._file._closed:
            self._post(Interrupt(self._number(queue)))

    async def settle(self, queue: str, batch: Sequence[tuple[object, Action]], timeout: float) -> Sequence[Settled | BaseException]:
        """Settle deliveries; returns after COMMIT."""
        return await self._do(self._settlement(queue, batch), timeout, keep=True)

    async def stats(self, queue: str, timeout: float) -> QueueStats:
        """Numbers of messages now."""
        number = self._number(queue)
        return await self._do(lambda connection: schema.stats(connection, number, time.time()), timeout, writes=False)

    async def peek(self, queue: str, most: int, timeout: float) -> Sequence[Message]:
        """The next messages."""
        number = self._number(queue)
        return await self._do(lambda connection: schema.peek(connection, number, most, time.time()), timeout, writes=False)

    async def dead_letters(self, queue: str, most: int, timeout: float) -> Sequence[DeadLetter]:
        """The oldest dead letters."""
        number = self._number(queue)
        return await self._do(lambda connection: schema.dead_letters(connection, number, most), timeout, writes=False)

    async def redrive(self, queue: str, ids: Sequence[str] | None, most: int, timeout: float) -> int:
        """Put dead letters back as new."""
        number = self._number(queue)
        return await self._do(lambda connection: schema.redrive(connection, number, ids, most, time.time()), timeout)

    async def purge(self, queue: str, dead: bool, timeout: float) -> int:
        """Delete messages or dead letters."""
        number = self._number(queue)
        return await self._do(lambda connection: schema.purge(connection, number, dead, time.time()), timeout)

    async def _do(self, run: Callable[[sqlite3.Connection], T], timeout: float, *, writes: bool = True, keep: bool = False) -> T:
        if inline():
            return self._do_here(run, timeout, writes=writes)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        work = Work(run, lambda result, error: _set(loop, future, result, error), writes)
        self._post(work)
        timer = loop.call_later(timeout, _expire, future, timeout)
        try:
            return await future
        except (asyncio.CancelledError, TimeoutError):
            work.abandoned = not keep
            raise
        finally:
            timer.cancel()


def _expire(future: asyncio.Future[Any], timeout: float) -> None:
    if not future.done():
        future.set_exception(TimeoutError(f"the queue file did not answer within {timeout:g} s"))


def _set(loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    def set_now() -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    loop.call_soon_threadsafe(set_now)


def _acquire(settings: SQLiteQueueSettings, context: OpenContext) -> tuple[OpenFiles, QueueFile]:
    path = (settings.path or context.data_dir / "queues.db").absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = network_file_system(path)
    if kind is not None:
        raise ConfigurationError(
            f"{path} is on a network file system ({kind}), on which SQLite's locks do not hold",
            resource=context.resource,
            provider=context.provider,
            remedy="set `path` to a local disk, or choose a provider with a server",
        )
    files = context.stores.get("queue.sqlite.files", OpenFiles)
    options = FileOptions(path, settings.synchronous, settings.busy_timeout, settings.poll, settings.max_pages)
    return files, files.acquire(options)


def open_driver(settings: SQLiteQueueSettings, context: OpenContext) -> SQLiteQueueDriver:
    """The blocking driver."""
    return SQLiteQueueDriver(*_acquire(settings, context))


async def open_driver_async(settings: SQLiteQueueSettings, context: OpenContext) -> AsyncSQLiteQueueDriver:
    """The asyncio driver."""
    from infra.runtime.bridge import ThreadBridge

    bridge = ThreadBridge(context.resource, 1)
    try:
        return AsyncSQLiteQueueDriver(*await bridge.call(_acquire, settings, context))
    finally:
        bridge.close()
