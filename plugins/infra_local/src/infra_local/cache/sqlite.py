"""A cache in a SQLite file, shared by processes."""
# ruff: noqa: D102  (infra.cache.driver has the contracts)

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final, cast

from infra.cache.gcra import decide
from infra.cache.model import CacheFeature, CacheItem, Decision, SetMode
from infra.errors import ConfigurationError
from infra.plugin import ErrorCode, OpenContext
from infra_local.cache.settings import SQLiteCacheSettings
from infra_local.filesystem import network_file_system

_FEATURES: Final = frozenset(set(CacheFeature) - {CacheFeature.BOUNDED})
_NEVER: Final = 2**63 - 1
_PARAMETERS: Final = 500  # SQLite allows 999 in its oldest builds
_SWEEP_EVERY: Final = 500  # writes
_SWEEP_AFTER_MS: Final = 60_000  # at the next write
_EVICTED: Final = 500  # rows at once
_LARGEST_BLOB: Final = 1_000_000_000 - 1000  # SQLite's own limit, with room for the key
_FEW: Final = 4
_SWEEP_ROWS: Final = 2000

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY NOT NULL, value BLOB NOT NULL, ends INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS locks (name TEXT PRIMARY KEY NOT NULL, token TEXT NOT NULL, ends INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS fence (number INTEGER NOT NULL);
INSERT INTO fence SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM fence);
CREATE TABLE IF NOT EXISTS swept (place INTEGER NOT NULL);
INSERT INTO swept SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM swept);
"""
_SET: Final = (
    "INSERT INTO entries (key, value, ends) VALUES (?1, ?2, ?3)"
    " ON CONFLICT (key) DO UPDATE SET value = excluded.value, ends = excluded.ends"
)
_WRITE: Final = {
    SetMode.SET: _SET,
    SetMode.ADD: f"{_SET} WHERE entries.ends <= ?4",
    SetMode.REPLACE: "UPDATE entries SET value = ?2, ends = ?3 WHERE key = ?1 AND ends > ?4",
}
_SELECT: Final = "SELECT key, value FROM entries WHERE"
_DELETE: Final = "DELETE FROM entries WHERE key = ? RETURNING ends"
_DELETE_LOCK: Final = "DELETE FROM locks WHERE name = ? RETURNING ends"
_SWEEP: Final = "DELETE FROM entries WHERE rowid > ? AND rowid <= ? AND ends <= ?"
_SCAN: Final = "SELECT key FROM entries WHERE key >= ? AND key > ? AND key < ? ORDER BY key LIMIT ?"
_EVICT: Final = "DELETE FROM entries WHERE rowid IN (SELECT rowid FROM entries WHERE key NOT GLOB '*/' ORDER BY rowid LIMIT ?)"
_CAS: Final = "UPDATE entries SET value = ?, ends = ? WHERE key = ? AND value = ? AND ends > ?"
_TAKE: Final = (
    "INSERT INTO locks (name, token, ends) VALUES (?1, ?2, ?3)"
    " ON CONFLICT (name) DO UPDATE SET token = excluded.token, ends = excluded.ends WHERE locks.ends <= ?4"
)


class _Connection(sqlite3.Connection):
    patience = -1.0  # its busy timeout in seconds; setting it anew for each call would double the price of a read


class SQLiteCacheDriver:
    """A blocking driver. Each call borrows a connection, so that reads run beside each other and beside one write.

    Times are Unix milliseconds: all processes that share the file share the machine's clock.

    Args:
        path: The file.
        synchronous: SQLite's ``PRAGMA synchronous``.
        max_bytes: The most bytes that entries take; beyond, those written first go.
    """

    features = _FEATURES
    now = staticmethod(time.time)

    def __init__(self, path: Path, synchronous: str, max_bytes: int) -> None:
        self.path = path
        self.max_bytes = max_bytes
        self.largest_value = min(max_bytes // 2, _LARGEST_BLOB)
        self._synchronous = synchronous
        self._idle: list[_Connection] = []
        self._writing = threading.Lock()  # writers of one process queue here, in order, instead of polling SQLite's lock
        self._writes = _SWEEP_EVERY  # the first write sweeps too: many processes write little and end
        self._written = 0  # bytes since the size was looked at
        self._swept_at = 0
        self._closed = False
        with self._connection(30.0) as connection:
            connection.executescript(_SCHEMA)

    def get_many(self, keys: Sequence[str], timeout: float) -> list[bytes | None]:
        values: dict[str, bytes] = {}
        now = _now()
        connection = self._borrow(timeout)
        try:
            for start in range(0, len(keys), _PARAMETERS):
                some = keys[start : start + _PARAMETERS]
                values.update(connection.execute(_select(len(some)), (now, *some)))
        except BaseException:
            connection.close()
            raise
        self._give_back(connection)
        return [values.get(key) for key in keys]

    def set_many(self, items: Sequence[CacheItem], mode: SetMode, timeout: float) -> list[bool]:
        now = _now()
        statement = _WRITE[mode]
        rows = [(key, value, _NEVER if ttl_ms is None else now + ttl_ms) for key, value, ttl_ms in items]
        always = mode is SetMode.SET
        with self._transaction(timeout, len(rows)) as connection:
            written = [connection.execute(statement, row if always else (*row, now)).rowcount == 1 for row in rows]
            self._sweep(connection, now, len(rows))
            self._written += sum(len(row[1]) for row in rows)
            if self._written > self.max_bytes // 16:
                self._written = 0
                self._evict(connection, now)
        return written

    def delete_many(self, keys: Sequence[str], timeout: float) -> list[bool]:
        now = _now()
        deleted: list[bool] = []
        with self._transaction(timeout) as connection:
            for key in keys:
                ends = [row[0] for statement in (_DELETE, _DELETE_LOCK) for row in connection.execute(statement, (key,)).fetchall()]
                deleted.append(any(end > now for end in ends))
        return deleted

    def incr(self, key: str, by: int, ttl_ms: int | None, timeout: float) -> int:
        now = _now()
        with self._transaction(timeout) as connection:
            row = connection.execute("SELECT value, ends FROM entries WHERE key = ? AND ends > ?", (key, now)).fetchone()
            value, ends = (b"0", _end(now, ttl_ms)) if row is None else cast("tuple[bytes, int]", row)
            total = _integer(value) + by
            if not -(2**63) <= total < 2**63:
                raise ValueError("the counter would leave 64 bits")
            connection.execute(_SET, (key, b"%d" % total, ends))
        return total

    def cas(self, key: str, expected: bytes | None, value: bytes, ttl_ms: int | None, timeout: float) -> bool:
        if expected is None:
            return self.set_many([CacheItem(key, value, ttl_ms)], SetMode.ADD, timeout)[0]
        now = _now()
        with self._transaction(timeout, 1) as connection:
            return connection.execute(_CAS, (value, _end(now, ttl_ms), key, expected, now)).rowcount == 1

    def touch(self, key: str, ttl_ms: int | None, timeout: float) -> bool:
        now = _now()
        with self._transaction(timeout, 1) as connection:
            row = (_end(now, ttl_ms), key, now)
            return connection.execute("UPDATE entries SET ends = ? WHERE key = ? AND ends > ?", row).rowcount == 1

    def ttl(self, key: str, timeout: float) -> int | None:
        now = _now()
        with self._connection(timeout) as connection:
            row = connection.execute("SELECT ends FROM entries WHERE key = ? AND ends > ?", (key, now)).fetchone()
        if row is None:
            return None
        return -1 if row[0] == _NEVER else row[0] - now

    def lock_acquire(self, name: str, token: str, ttl_ms: int, timeout: float) -> int | None:
        now = _now()
        with self._transaction(timeout) as connection:
            if connection.execute(_TAKE, (name, token, now + ttl_ms, now)).rowcount != 1:
                return None
            connection.execute("DELETE FROM locks WHERE ends <= ?", (now,))
            return connection.execute("UPDATE fence SET number = number + 1 RETURNING number").fetchall()[0][0]

    def lock_extend(self, name: str, token: str, ttl_ms: int, timeout: float) -> bool:
        now = _now()
        with self._transaction(timeout, 1) as connection:
            row = (now + ttl_ms, name, token, now)
            return connection.execute("UPDATE locks SET ends = ? WHERE name = ? AND token = ? AND ends > ?", row).rowcount == 1

    def lock_release(self, name: str, token: str, timeout: float) -> bool:
        with self._transaction(timeout, 1) as connection:
            row = (name, token, _now())
            return connection.execute("DELETE FROM locks WHERE name = ? AND token = ? AND ends > ?", row).rowcount == 1

    def gcra(self, key: str, interval_ms: float, burst: int, cost: int, timeout: float) -> Decision:
        with self._transaction(timeout) as connection:
            now = _now()
            row = connection.execute("SELECT value FROM entries WHERE key = ? AND ends > ?", (key, now)).fetchone()
            arrival, decision = decide(None if row is None else float(row[0]), now, interval_ms, burst, cost)
            if decision.allowed and cost:
                connection.execute(_SET, (key, repr(arrival).encode(), int(arrival) + 1))
        return decision

    def scan(self, prefix: str, token: str, limit: int, timeout: float) -> tuple[list[str], str | None]:
        with self._connection(timeout) as connection:
            rows = connection.execute(_SCAN, (max(prefix, token), token, prefix + "\x7f", limit)).fetchall()
        return [row[0] for row in rows], rows[-1][0] if len(rows) == limit else None

    def ping(self, timeout: float) -> None:
        """Read from the file."""
        with self._connection(timeout) as connection:
            connection.execute("SELECT 1 FROM fence").fetchone()

    def close(self, timeout: float) -> None:  # noqa: ARG002
        """Close the connections; one that is in use closes when its call ends."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def classify(self, error: BaseException) -> ErrorCode | None:
        """SQLite's errors by their code, and a value that is no integer."""
        if isinstance(error, sqlite3.Error):
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            return _CODES.get(code, ErrorCode.INTERNAL)
        return ErrorCode.INVALID_ARGUMENT if isinstance(error, ValueError) else None

    def refuses(self, error: BaseException) -> bool:
        """A full disk is no reason not to read."""
        return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL

    def unwrap(self) -> Sequence[object]:
        """A connection of the pool, while one is idle."""
        return tuple(self._idle[:1])

    def _borrow(self, timeout: float) -> _Connection:
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._connect()
        if connection.patience != timeout:
            connection.execute(f"PRAGMA busy_timeout = {int(timeout * 1000)}")
            connection.patience = timeout
        return connection

    def _give_back(self, connection: _Connection) -> None:
        if self._closed:
            connection.close()
        else:
            self._idle.append(connection)

    @contextmanager
    def _connection(self, timeout: float) -> Generator[_Connection]:
        connection = self._borrow(timeout)
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        self._give_back(connection)

    @contextmanager
    def _transaction(self, timeout: float, statements: int = 0) -> Generator[_Connection]:
        """A write transaction; none is begun for what is one statement anyway."""
        if not self._writing.acquire(timeout=timeout):
            raise TimeoutError("other writers of this process took too long")
        try:
            with self._connection(timeout) as connection:
                if statements == 1:
                    yield connection
                    return
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                except BaseException:
                    connection.execute("ROLLBACK")
                    raise
                connection.execute("COMMIT")
        finally:
            self._writing.release()

    def _connect(self) -> _Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=30.0, factory=_Connection)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        connection.execute("PRAGMA mmap_size = 67108864")
        return connection

    def _sweep(self, connection: sqlite3.Connection, now: int, writes: int) -> None:
        """Now and then delete the expired entries among some rows, going round. An index by time would cost each write a page more.

        How far it came stands in the file, so that processes that live shortly go round together.
        """
        self._writes += writes
        if self._writes < _SWEEP_EVERY and self._swept_at <= now < self._swept_at + _SWEEP_AFTER_MS:
            return
        self._writes, self._swept_at = 0, now
        place: int = connection.execute("SELECT place FROM swept").fetchone()[0]
        connection.execute(_SWEEP, (place, place + _SWEEP_ROWS, now))
        last: int = connection.execute("SELECT coalesce(max(rowid), 0) FROM entries").fetchone()[0]
        connection.execute("UPDATE swept SET place = ?", (0 if place + _SWEEP_ROWS >= last else place + _SWEEP_ROWS,))

    def _evict(self, connection: sqlite3.Connection, now: int) -> None:
        """Keep within the bound: what has expired goes first, then what was written first. The ids of generations stay."""
        if self._size(connection) <= self.max_bytes:
            return
        connection.execute("DELETE FROM entries WHERE ends <= ?", (now,))
        while self._size(connection) > self.max_bytes * 0.9 and connection.execute(_EVICT, (_EVICTED,)).rowcount > 0:
            pass

    @staticmethod
    def _size(connection: sqlite3.Connection) -> int:
        """The bytes of the pages in use."""
        pages, free, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size"))
        return (pages - free) * size


_CODES: Final = {
    sqlite3.SQLITE_BUSY: ErrorCode.TIMEOUT,
    sqlite3.SQLITE_LOCKED: ErrorCode.TIMEOUT,
    sqlite3.SQLITE_CANTOPEN: ErrorCode.UNAVAILABLE,
    sqlite3.SQLITE_IOERR: ErrorCode.UNAVAILABLE,
    sqlite3.SQLITE_FULL: ErrorCode.UNAVAILABLE,
    sqlite3.SQLITE_READONLY: ErrorCode.PERMISSION_DENIED,
    sqlite3.SQLITE_PERM: ErrorCode.PERMISSION_DENIED,
    sqlite3.SQLITE_CORRUPT: ErrorCode.DATA_LOSS,
    sqlite3.SQLITE_NOTADB: ErrorCode.DATA_LOSS,
    sqlite3.SQLITE_TOOBIG: ErrorCode.INVALID_ARGUMENT,
}


def open_driver(settings: SQLiteCacheSettings, context: OpenContext) -> SQLiteCacheDriver:
    """A driver on the resource's file, made where there is none.

    Raises:
        ConfigurationError: The file is on a network file system, or its folder cannot be made.
    """
    path = (settings.path or context.data_dir / f"cache-{context.name}.db").absolute()
    kind = network_file_system(path)
    if kind is not None:
        raise ConfigurationError(
            f"{path} is on a network file system ({kind}), where SQLite loses data",
            resource=context.resource,
            provider=context.provider,
            remedy="set `path` to a file on a local disk, or use a cache server",
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"cannot make the folder {path.parent}: {error.strerror}",
            resource=context.resource,
            provider=context.provider,
            remedy="set `path` to a file in a folder that can be written",
        ) from error
    return SQLiteCacheDriver(path, settings.synchronous, settings.max_bytes)


@cache
def _select(count: int) -> str:
    """Reads `count` keys. For few of them a union takes two thirds of the time of IN, which sorts them into a table first (measured)."""
    places = [f"?{number}" for number in range(2, count + 2)]
    if count <= _FEW:
        return " UNION ALL ".join(f"{_SELECT} key = {place} AND ends > ?1" for place in places)
    return f"{_SELECT} key IN ({','.join(places)}) AND ends > ?1"


def _now() -> int:
    return time.time_ns() // 1_000_000


def _end(now: int, ttl_ms: int | None) -> int:
    return _NEVER if ttl_ms is None else now + ttl_ms


def _integer(value: bytes) -> int:
    digits = value[1:] if value[:1] == b"-" else value
    if not digits.isdigit():
        raise ValueError("the entry is not an integer")
    return int(value)
