"""`statement_timeout` on MySQL, whose own limit ends reads alone: the client sends KILL QUERY over a second connection.

A statement costs two readings of the clock. One thread a resource looks when the first statement that runs could be due, and sleeps where
none runs; a connection of its own is made once a statement is due, and closed afterwards.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import threading
from collections.abc import Callable
from functools import cache
from time import monotonic
from typing import Any, Final, cast
from weakref import WeakSet

from infra_mysql.connecting import UNLIMITED

_LOG: Final = logging.getLogger(__name__)
#: Seconds between two attempts to end the same statement.
_AGAIN: Final = 1.0
#: What MySQL says of a statement that was interrupted: by KILL, and while it sorted.
_INTERRUPTED: Final = (1317, 1028)
#: What its own limit says.
_EXCEEDED: Final = 3024
#: The statement that lifts a session's limits, as the drivers pass it.
_LIFTING: Final = (UNLIMITED, UNLIMITED.encode())
#: The expression that tells servers behind one address apart: a connection's number means nothing to another one.
PLACE: Final = "CONCAT(@@hostname, ':', @@port)"
#: Functions that answer an interruption with a value, and no error.
_SILENT: Final = re.compile(rb"\b(sleep|benchmark|get_lock|\w+_pos_wait|wait_for_executed_gtid_set)\s*\(", re.IGNORECASE)


class Watch:
    """What is known of one connection's statement.

    Args:
        number: The server's number of the connection.
        place: Which server that is, as `PLACE` says.
    """

    __slots__ = ("__weakref__", "due", "lock", "number", "place", "stopped")

    def __init__(self, number: int, place: str) -> None:
        self.number = number
        self.place = place
        #: When the statement that runs is to end; None while none runs.
        self.due: float | None = None
        self.stopped = False
        #: Held while the server is told to end the statement, so that it does not end the next one.
        self.lock = threading.Lock()


class StatementLimit:
    """Ends the statements of one resource's connections that take too long.

    Args:
        seconds: How long a statement may take.
        connect: Makes a connection to the same server, of PyMySQL; it may raise.
        resource: The resource's name, for the log.
    """

    def __init__(self, seconds: float, connect: Callable[[], Any], resource: str) -> None:
        self.seconds = seconds
        self._connect = connect
        self._resource = resource
        self._watches = WeakSet[Watch]()
        self._guard = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._sleeps = False
        self._closed = False
        self.process = os.getpid()  #: a forked one has no thread

    def watch(self, raw: Any, place: str, error: type[Exception], is_async: bool) -> None:
        """Limit the statements of a new connection; `error` is the driver's OperationalError."""
        watch = Watch(int(raw.thread_id()), place)
        with self._guard:
            self._watches.add(watch)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=f"{self._resource}.statement_timeout", daemon=True)
                self._thread.start()
        raw.infra_watch, raw.infra_limit, raw.infra_error = watch, self, error
        raw.__class__ = _limited(cast("type[Any]", type(raw)), is_async)

    def begin(self, watch: Watch) -> float:
        """A statement begins; gives the time."""
        began = monotonic()
        watch.stopped = False
        watch.due = began + self.seconds
        if self._sleeps:
            self._wake.set()
        return began

    def restore(self, raw: Any) -> None:
        """Limit a connection's statements again that `UNLIMITED` has left without a limit."""
        if hasattr(raw, "infra_watch"):
            raw.infra_limit = self

    def close(self) -> None:
        """End the thread."""
        self._closed = True
        self._wake.set()

    def _run(self) -> None:
        while not self._closed:
            self._wake.clear()
            self._sleeps = True  # before it looks: a statement that begins now is seen, or wakes it
            first = min((watch.due for watch in self._known() if watch.due is not None), default=None)
            if first is None:
                self._wake.wait()
                continue
            self._sleeps = False
            self._wake.wait(max(0.0, first - monotonic()))
            self._end_overdue()

    def _known(self) -> list[Watch]:
        with self._guard:
            return list(self._watches)

    def _end_overdue(self) -> None:
        now = monotonic()
        overdue = [watch for watch in self._known() if _is_due(watch, now)]
        if not overdue:
            return
        try:
            connection = self._connect()
        except Exception as error:
            _LOG.warning("%s: a statement that exceeds statement_timeout cannot be ended: %s", self._resource, type(error).__name__)
            for watch in overdue:
                with watch.lock:
                    if _is_due(watch, now):
                        watch.due = monotonic() + _AGAIN
            return
        try:
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT {PLACE}")
                (place,) = cursor.fetchone()
            for watch in overdue:
                with watch.lock:
                    if _is_due(watch, now):
                        watch.due = monotonic() + _AGAIN  # it may have been on its way still, or be on another server
                        if watch.place == place:
                            watch.stopped = True
                            _kill(connection, watch.number)
        except Exception as error:
            _LOG.warning("%s: a statement that exceeds statement_timeout cannot be ended: %s", self._resource, type(error).__name__)
        finally:
            connection.close()


def _is_due(watch: Watch, now: float) -> bool:
    due = watch.due
    return due is not None and due <= now


def _kill(connection: Any, number: int) -> None:
    with connection.cursor() as cursor:
        try:
            cursor.execute(f"KILL QUERY {number}")
        except connection.Error as error:
            if error.args[:1] != (1094,):  # it is gone
                raise


def _translated(limit: StatementLimit, watch: Watch, error: Exception) -> Exception | None:
    """The error of a statement that was ended by its limit; None where it failed by itself."""
    if watch.stopped and error.args[:1] and error.args[0] in _INTERRUPTED:
        return type(error)(_EXCEEDED, f"statement_timeout of {limit.seconds:g} s exceeded")
    return None


def _went_silently(limit: StatementLimit, began: float, statement: Any) -> bool:
    """Whether it was interrupted and says nothing of it."""
    if monotonic() - began < limit.seconds:
        return False
    return _SILENT.search(statement.encode(errors="replace") if isinstance(statement, str) else bytes(statement)) is not None


def _query(self: Any, statement: Any, *args: Any, **options: Any) -> Any:
    """As the driver's, within the limit."""
    if statement in _LIFTING:
        self.infra_limit = None
    limit: StatementLimit | None = self.infra_limit
    parent = cast("Any", super(type(self), self))
    if limit is None:
        return parent.query(statement, *args, **options)
    watch: Watch = self.infra_watch
    began = limit.begin(watch)
    try:
        answer = parent.query(statement, *args, **options)
    except Exception as error:
        exceeded = _translated(limit, watch, error)
        if exceeded is None:
            raise
        raise exceeded from error
    finally:
        with watch.lock:
            watch.due = None
    if _went_silently(limit, began, statement):
        if hasattr(self, "store_result"):
            self.store_result()  # mysqlclient has not read it yet
        raise self.infra_error(_EXCEEDED, f"statement_timeout of {limit.seconds:g} s exceeded")
    return answer


async def _query_async(self: Any, statement: Any, *args: Any, **options: Any) -> Any:
    """As the driver's, within the limit."""
    if statement in _LIFTING:
        self.infra_limit = None
    limit: StatementLimit | None = self.infra_limit
    parent = cast("Any", super(type(self), self))
    if limit is None:
        return await parent.query(statement, *args, **options)
    watch: Watch = self.infra_watch
    began = limit.begin(watch)
    try:
        answer = await parent.query(statement, *args, **options)
    except asyncio.CancelledError:
        watch.due = None  # nothing runs on this connection again
        raise
    except Exception as error:
        await _end(watch)
        exceeded = _translated(limit, watch, error)
        if exceeded is None:
            raise
        raise exceeded from error
    await _end(watch)
    if _went_silently(limit, began, statement):
        raise self.infra_error(_EXCEEDED, f"statement_timeout of {limit.seconds:g} s exceeded")
    return answer


async def _end(watch: Watch) -> None:
    while not watch.lock.acquire(blocking=False):  # noqa: ASYNC110 - a thread holds it, for the one round trip of a KILL
        await asyncio.sleep(0.001)
    watch.due = None
    watch.lock.release()


@cache
def _limited(kind: type[Any], is_async: bool) -> type[Any]:
    # As the only base: one more would change the layout, and an object keeps the one that it was made with.
    return type(f"Limited{kind.__name__}", (kind,), {"query": _query_async if is_async else _query})
