"""One writer for one queue file: group commit, waiting claims, recovery.

Whatever arrives while a transaction is being committed shares the next one, and one fsync. Claims are part of the same transactions, and
handed out after COMMIT. A claim that finds nothing waits here; it is tried again after every write of this process, when its queue's next
message is due, and when another process has committed.
"""

from __future__ import annotations

import ctypes
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

from infra.errors import ConfigurationError, ErrorCode
from infra.queue.model import RELEASE
from infra.runtime import forks
from infra_local.queue import schema

_LARGEST_GROUP: Final = 256  # requests of one transaction
_FORGET_EVERY: Final = 60.0  # seconds between removals of old deduplication keys
_REOPEN: Final = frozenset({sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CANTOPEN})


class ClosedFileError(Exception):
    """The queue file was closed while the request waited."""


class NoSuchQueueError(LookupError):
    """The file has no queue of that name."""


class UnknownCommitError(Exception):
    """COMMIT failed in a way that leaves open whether the transaction will be there."""


def primary_code(error: BaseException) -> int | None:
    """SQLite's primary result code of an exception; None when it has none."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


_CODES: Final = {
    sqlite3.SQLITE_BUSY: ErrorCode.UNAVAILABLE,
    sqlite3.SQLITE_LOCKED: ErrorCode.UNAVAILABLE,
    sqlite3.SQLITE_IOERR: ErrorCode.UNAVAILABLE,
    sqlite3.SQLITE_FULL: ErrorCode.UNAVAILABLE,
    sqlite3.SQLITE_CANTOPEN: ErrorCode.UNAVAILABLE,
    sqlite3.SQLITE_NOMEM: ErrorCode.UNAVAILABLE,
    sqlite3.SQLITE_PROTOCOL: ErrorCode.UNAVAILABLE,
    sqlite3.SQLITE_PERM: ErrorCode.PERMISSION_DENIED,
    sqlite3.SQLITE_READONLY: ErrorCode.PERMISSION_DENIED,
    sqlite3.SQLITE_AUTH: ErrorCode.PERMISSION_DENIED,
    sqlite3.SQLITE_CORRUPT: ErrorCode.DATA_LOSS,
    sqlite3.SQLITE_NOTADB: ErrorCode.DATA_LOSS,
    sqlite3.SQLITE_TOOBIG: ErrorCode.INVALID_ARGUMENT,
}


def classify(error: BaseException) -> ErrorCode | None:
    """What an exception of this provider stands for."""
    if isinstance(error, ClosedFileError | UnknownCommitError):
        return ErrorCode.UNAVAILABLE
    if isinstance(error, NoSuchQueueError):
        return ErrorCode.NOT_FOUND
    if isinstance(error, UnicodeError | OverflowError | sqlite3.DataError | sqlite3.ProgrammingError | sqlite3.InterfaceError):
        return ErrorCode.INVALID_ARGUMENT
    code = primary_code(error)
    if code is not None:
        return _CODES.get(code, ErrorCode.INTERNAL)
    return ErrorCode.INTERNAL if isinstance(error, sqlite3.Error) else None


@dataclass(frozen=True, slots=True)
class FileOptions:
    """How a queue file is opened; durations in seconds."""

    path: Path
    synchronous: str = "full"
    busy_timeout: float = 5.0
    poll: float = 0.02
    max_pages: int | None = None


#: Called in the writer thread with a result or an exception; the first call counts. Must not block.
Resolve = Callable[[Any, BaseException | None], None]


@dataclass(slots=True, eq=False)
class Work:
    """Something to do with the connection: within a transaction when it writes."""

    run: Callable[[sqlite3.Connection], Any]
    resolve: Resolve
    writes: bool = True
    abandoned: bool = False  # nobody waits: skip it if it has not begun


@dataclass(slots=True, eq=False)
class Claim:
    """A receive. `taken` gets the rows after COMMIT, and answers whether somebody still wants them."""

    queue: int
    most: int
    lease: float
    deadline: float  # monotonic
    taken: Callable[[list[schema.Row], int], bool]
    failed: Callable[[BaseException], None]
    abandoned: bool = False


@dataclass(slots=True, eq=False)
class Interrupt:
    """Ends the waiting claims of a queue."""

    queue: int


@dataclass(slots=True, eq=False)
class Nudge:
    """Makes the writer look again."""


Request = Work | Claim | Interrupt | Nudge


class QueueFile:
    """An open queue file and its writer thread."""

    def __init__(self, options: FileOptions) -> None:
        self.options = options
        self._inbox: SimpleQueue[Request | None] = SimpleQueue()
        self._waiting: list[Claim] = []
        self._due: dict[int, float | None] = {}  # per queue, when its next message is visible; absent when not known
        self._version = -1
        self._forget_at = time.monotonic() + _FORGET_EVERY
        self._closed = False
        self._gate = threading.Lock()  # after `closed` nothing is posted that the writer would not see
        self._turn = threading.Lock()  # held while the connection is used
        self._connection: sqlite3.Connection | None = self._open()
        self._thread = threading.Thread(target=self._run, name=f"infra-queue-{options.path.name}", daemon=True)
        self._thread.start()
        forks.watch(self)

    def post(self, request: Request) -> None:
        """Hand a request to the writer."""
        with self._gate:
            if self._closed:
                raise ClosedFileError(f"{self.options.path} is closed")
            self._inbox.put(request)

    def perform(self, work: Work) -> None:
        """Do it in the calling thread when nothing else is going on, which saves two thread switches; else hand it to the writer."""
        if not self._waiting and self._inbox.empty() and self._turn.acquire(blocking=False):
            try:
                if not self._waiting and not self._closed:
                    self._do([work] if work.writes else [], [] if work.writes else [work])
                    return
            finally:
                self._turn.release()
        self.post(work)

    def close(self, timeout: float) -> None:
        """Do what was posted, end waiting claims, close the file."""
        with self._gate:
            if self._closed:
                return
            self._closed = True
            self._inbox.put(None)
        self._thread.join(timeout)

    @property
    def connection(self) -> sqlite3.Connection | None:
        """The writer's own connection."""
        return self._connection

    def forked(self) -> None:
        """In a forked child: closing the parent's connection, even at exit, could remove the write-ahead log under it."""
        self._gate, self._turn = threading.Lock(), threading.Lock()
        self._closed = True
        if self._connection is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._connection))

    # The file

    def _open(self) -> sqlite3.Connection:
        options = self.options
        connection = sqlite3.connect(
            options.path, timeout=options.busy_timeout, isolation_level=None, check_same_thread=False, cached_statements=64
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {options.synchronous}")
            connection.execute("PRAGMA journal_size_limit = 67108864")
            connection.execute("PRAGMA cache_size = -16384")
            if options.max_pages is not None:
                connection.execute(f"PRAGMA max_page_count = {options.max_pages}")
            if connection.execute("PRAGMA user_version").fetchone()[0] != schema.VERSION:
                self._create(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _create(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        try:
            version = connection.execute("PRAGMA user_version").fetchone()[0]  # another process may have been first
            tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if version > schema.VERSION or (version == 0 and tables):
                raise ConfigurationError(
                    f"{self.options.path} is not a queue file of this version",
                    remedy="set `path` to a file of its own, or install the version of infra-local that made it",
                )
            if version == 0:
                for statement in schema.CREATE:
                    connection.execute(statement)
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    def _ready(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = self._open()
            self._version = -1
        return self._connection

    def _discard(self) -> None:
        """Forget a connection whose state is in doubt; the next request opens the file again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except sqlite3.Error:
                pass

    # The writer thread

    def _run(self) -> None:
        open_ = True
        while open_:
            requests, open_ = self._collect()
            with self._turn:
                works: list[Work] = []
                reads: list[Work] = []
                for request in requests:
                    if isinstance(request, Work):
                        (works if request.writes else reads).append(request)
                    elif isinstance(request, Claim):
                        self._waiting.append(request)
                    elif isinstance(request, Interrupt):
                        self._end_claims(lambda claim, queue=request.queue: claim.queue == queue)
                self._do(works, reads)
                now = time.monotonic()
                self._end_claims(lambda claim, now=now: claim.abandoned or claim.deadline <= now)
        with self._turn:
            self._end_claims(lambda _: True)
            self._discard()

    def _do(self, works: list[Work], reads: list[Work]) -> None:
        try:
            if works or self._may_claim():
                self._write(works)
            for read in reads:
                self._read(read)
        except Exception as error:  # the file cannot be opened: everyone hears of it, and the thread lives on
            for work in (*works, *reads):
                _resolve(work, None, error)
            self._fail_claims(error)

    def _collect(self) -> tuple[deque[Request], bool]:
        """All requests that are there; waits for the first as long as nothing else is to be done. False with them to end."""
        requests: deque[Request] = deque()
        inbox = self._inbox
        try:
            request = inbox.get(timeout=self._patience()) if self._waiting else inbox.get()
            while request is not None:
                requests.append(request)
                if len(requests) >= _LARGEST_GROUP:
                    return requests, True
                request = inbox.get_nowait()
            return requests, False
        except Empty:
            return requests, True

    def _patience(self) -> float:
        soonest = min(claim.deadline for claim in self._waiting) - time.monotonic()
        clock = time.time()
        for claim in self._waiting:
            due = self._due.get(claim.queue)
            if due is not None:
                soonest = min(soonest, due - clock)
        return max(0.0, min(soonest, self.options.poll))

    def _may_claim(self) -> bool:
        """Whether a waiting claim would find something; reads only."""
        if not self._waiting:
            return False
        connection = self._ready()
        version = connection.execute("PRAGMA data_version").fetchone()[0]
        if version != self._version:
            self._version = version
            self._due.clear()
        now = time.time()
        for claim in self._waiting:
            queue = claim.queue
            if queue not in self._due:
                self._due[queue] = schema.next_visible(connection, queue)
            due = self._due[queue]
            if due is not None and due <= now:
                return True
        return False

    def _write(self, works: list[Work], *, claims: bool = True) -> None:
        """One transaction for all; when it fails before COMMIT, one for each, so that a bad one costs nobody else."""
        works = [work for work in works if not work.abandoned]
        connection = self._ready()
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            self._not_begun(connection, works, error)
            return
        try:
            results = [work.run(connection) for work in works]
            claimed = self._claim(connection) if claims else []
            if time.monotonic() > self._forget_at:
                self._forget_at = time.monotonic() + _FORGET_EVERY
                schema.forget(connection, time.time())
        except Exception as error:
            self._abort(connection, error)
            if not works:
                self._fail_claims(error)
            elif len(works) == 1 and not (claims and self._waiting):
                _resolve(works[0], None, error)
            else:
                for work in works:
                    self._write([work], claims=False)
            return
        self._due.clear()
        try:
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._commit_failed(connection, works, error)
            return
        for work, result in zip(works, results, strict=True):
            _resolve(work, result, None)
        for claim, rows, lease in claimed:
            self._waiting.remove(claim)
            if not claim.taken(rows, lease):
                self._release(claim.queue, rows, lease)

    def _not_begun(self, connection: sqlite3.Connection, works: list[Work], error: sqlite3.Error) -> None:
        self._abort(connection, error)
        for work in works:
            _resolve(work, None, error)
        if primary_code(error) == sqlite3.SQLITE_BUSY:
            soon = time.time() + self.options.poll
            self._due.update({claim.queue: soon for claim in self._waiting})
        elif not works:
            self._fail_claims(error)

    def _claim(self, connection: sqlite3.Connection) -> list[tuple[Claim, list[schema.Row], int]]:
        claimed: list[tuple[Claim, list[schema.Row], int]] = []
        empty: set[int] = set()
        for claim in self._waiting:
            if claim.queue in empty or claim.abandoned:
                continue
            now = time.time()
            lease = int.from_bytes(os.urandom(7)) + 1  # nobody else's, whatever process they are in
            rows = schema.claim(connection, claim.queue, claim.most, lease, now, now + claim.lease)
            if rows:
                claimed.append((claim, rows, lease))
            if len(rows) < claim.most:
                empty.add(claim.queue)
        return claimed

    def _commit_failed(self, connection: sqlite3.Connection, works: list[Work], error: sqlite3.Error) -> None:
        if primary_code(error) == sqlite3.SQLITE_BUSY:
            self._abort(connection, error)
            for work in works:
                _resolve(work, None, error)
            return
        self._discard()  # after a failed fsync the pages in memory may be ones that the disk does not have
        unknown = UnknownCommitError(f"COMMIT failed: {error}")
        unknown.__cause__ = error
        for work in works:
            _resolve(work, None, unknown)

    def _abort(self, connection: sqlite3.Connection, error: BaseException) -> None:
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            self._discard()
        if primary_code(error) in _REOPEN:
            self._discard()

    def _read(self, work: Work) -> None:
        if work.abandoned:
            return
        try:
            result = work.run(self._ready())
        except Exception as error:
            if self._connection is not None:
                self._abort(self._connection, error)
            _resolve(work, None, error)
        else:
            _resolve(work, result, None)

    def _release(self, queue: int, rows: list[schema.Row], lease: int) -> None:
        """Give back what was claimed for a receive that was cancelled meanwhile."""
        tokens = [(schema.token_of(row, lease), RELEASE) for row in rows]
        self._inbox.put(Work(lambda connection: schema.settle(connection, queue, tokens, time.time()), lambda _result, _error: None))

    def _end_claims(self, ends: Callable[[Claim], bool]) -> None:
        if any(map(ends, self._waiting)):
            over = [claim for claim in self._waiting if ends(claim)]
            self._waiting = [claim for claim in self._waiting if claim not in over]
            for claim in over:
                claim.taken([], 0)

    def _fail_claims(self, error: BaseException) -> None:
        waiting, self._waiting = self._waiting, []
        for claim in waiting:
            claim.failed(error)


def _resolve(work: Work, result: Any, error: BaseException | None) -> None:
    try:
        work.resolve(result, error)
    except RuntimeError:  # the event loop of the one who asked is closed
        pass


class OpenFiles:
    """The queue files of one kernel: both its doors and all its resources share one writer for each."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: dict[FileOptions, tuple[QueueFile, int]] = {}

    def acquire(self, options: FileOptions) -> QueueFile:
        """The open file; `release` it once for each call."""
        with self._lock:
            file, users = self._files.get(options, (None, 0))
            if file is None or file._closed:
                file, users = QueueFile(options), 0
            self._files[options] = (file, users + 1)
            return file

    def release(self, file: QueueFile, timeout: float) -> None:
        """Close it when nobody else uses it."""
        with self._lock:
            known, users = self._files.get(file.options, (None, 0))
            if known is file and users > 1:
                self._files[file.options] = (file, users - 1)
                return
            if known is file:
                del self._files[file.options]
        file.close(timeout)
