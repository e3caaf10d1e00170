"""A `sqlite3.Connection` with a name and a time limit for statements."""

from __future__ import annotations

import itertools
import math
import os
import sqlite3
import time
from collections.abc import Callable
from typing import Any, cast
from weakref import WeakSet

_numbers = itertools.count(1)
#: Virtual-machine steps between two looks at the clock: about 1 ms.
_STEPS = 50_000


class LimitedConnection(sqlite3.Connection):
    """Interrupts a statement that computes longer than `limit` seconds without giving a row.

    Attributes:
        limit: Seconds; 0 for no limit.
        expired: the limit, and not somebody else, interrupted the last statement.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.id = f"{os.getpid()}-{next(_numbers)}"
        self.limit = 0.0
        self.expired = False
        self._until = math.inf
        self._cursors: WeakSet[sqlite3.Cursor] = WeakSet()

    def set_limit(self, seconds: float) -> None:
        """Limit the statements from now on."""
        self.limit = seconds
        self.set_progress_handler(self._look if seconds else None, _STEPS)

    def start(self) -> None:
        """The clock starts now."""
        self.expired = False
        self._until = time.monotonic() + self.limit

    def cursor(self, factory: Any = None) -> Any:
        """A cursor that starts the clock with each statement and each fetch."""
        cursor: sqlite3.Cursor = super().cursor(LimitedCursor if factory is None else factory)
        self._cursors.add(cursor)
        return cursor

    def close(self) -> None:
        """Close the connection and its cursors.

        SQLite keeps a closed connection, with its transaction and its locks, until the last statement is finalized. That of a cancelled
        query lives as long as somebody holds the traceback.
        """
        for cursor in list(self._cursors):
            cursor.close()
        super().close()

    def _look(self) -> int:
        if time.monotonic() < self._until:
            return 0
        self.expired = True
        return 1


class LimitedCursor(sqlite3.Cursor):
    """A cursor of a `LimitedConnection`: its methods are the DBAPI's."""

    def execute(self, *args: Any) -> Any:  # noqa: D102
        return self._limited(super().execute, *args)

    def executemany(self, *args: Any) -> Any:  # noqa: D102
        return self._limited(super().executemany, *args)

    def fetchone(self) -> Any:  # noqa: D102
        return self._limited(super().fetchone)

    def fetchmany(self, size: int | None = None) -> Any:  # noqa: D102
        return self._limited(super().fetchmany, self.arraysize if size is None else size)

    def fetchall(self) -> Any:  # noqa: D102
        return self._limited(super().fetchall)

    def _limited(self, method: Callable[..., Any], *args: Any) -> Any:
        connection = cast(LimitedConnection, self.connection)
        connection.start()
        try:
            return method(*args)
        except sqlite3.OperationalError as error:
            if connection.expired:
                raise LimitExceededError(f"statement_timeout of {connection.limit:g} s exceeded") from error
            raise


class LimitExceededError(sqlite3.OperationalError):
    """A statement computed longer than its limit."""
