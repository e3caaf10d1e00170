"""What a database provider implements: one object of policy for both doors. The core makes the engines and moves the data.

``open`` and ``open_async`` of the provider return the same kind of object. Methods that take a ``connection`` get a blocking
`sqlalchemy.Connection` in both doors (the asyncio door calls them within ``run_sync``); they must not wait for anything but the server.
A ``dbapi_connection`` is the raw one of the blocking DBAPI, or SQLAlchemy's adapter over the asyncio one, which looks the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from sqlalchemy import URL, ColumnElement, Connection, Executable, Insert, Table

from infra.database.model import Failure


class DatabaseDriver(Protocol):
    """The policy of one kind of server. Thread-safe; does no I/O by itself."""

    @property
    def features(self) -> frozenset[str]:
        """Names of `DatabaseFeature` that are true for this resource."""
        ...

    def classify(self, error: BaseException) -> Failure | None:
        """What an exception of the DBAPI means: by SQLSTATE or errno first, by text last. None when it is not the DBAPI's. No I/O."""
        ...

    def ping(self, connection: Connection) -> None:
        """Run the cheapest statement that needs the server."""
        ...

    def unwrap(self) -> Sequence[object]:
        """Raw objects on offer besides the engines; usually none."""
        ...

    def close(self) -> None:
        """Let go of what this object itself holds. Never waits; a second call does nothing. The core has closed all connections."""
        ...

    def url(self, settings: Any, is_async: bool) -> URL:
        """Where to connect, with the DBAPI of that door."""
        ...

    def engine_options(self, settings: Any, is_async: bool) -> Mapping[str, Any]:
        """Arguments of ``create_engine``, beating the core's own for pool, isolation and echo."""
        ...

    def execution_options(self, *, read_only: bool, autocommit: bool) -> Mapping[str, Any]:
        """Execution options of connections for such sessions, such as ``isolation_level="AUTOCOMMIT"``.

        With `autocommit` every statement commits by itself, without a round trip for BEGIN or COMMIT; with `read_only` the server
        refuses writes.
        """
        ...

    def on_connect(self, dbapi_connection: Any, settings: Any) -> None:
        """Set up a new connection: time zone UTC, timeouts, modes."""
        ...

    def begin(self, connection: Connection) -> None:
        """Called where a transaction begins, before its first statement. Sends BEGIN only where the DBAPI does not by itself.

        The DBAPI's exceptions pass: a cursor of its own costs less than a statement of SQLAlchemy's.
        """
        ...

    def connection_id(self, dbapi_connection: Any) -> str:
        """The server's name for this connection, known without a round trip; what `cancel` takes."""
        ...

    def idle_socket(self, dbapi_connection: Any) -> int | None:
        """The file descriptor whose end-of-file says that an idle connection is dead; None where there is none to watch, or no more.

        Asked at each checkout: an event loop may have closed the descriptor since, and its number may be another connection's now.
        """
        ...

    def upsert(self, table: Table, rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> Insert:
        """The server's own upsert: a statement to execute with `rows`, which all have the same columns.

        A row whose `keys` exist is updated in its other columns; with nothing else to update it stays as it is.
        """
        ...

    def bulk_insert(self, connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
        """Insert many rows the fastest way within the connection's transaction; how many it was. Defaults of the table are in `rows`."""
        ...

    def lock(self, connection: Connection, name: str) -> bool:
        """Take the named lock if it is free, without waiting; it is held until `unlock` or the end of the connection."""
        ...

    def unlock(self, connection: Connection, name: str) -> None:
        """Let go of the named lock."""
        ...

    def notify(self, channel: str) -> ColumnElement[Any]:
        """An expression that wakes whoever waits for `channel` once its transaction commits. Asked for only with the feature ``notify``."""
        ...

    def wait_for_notice(self, connection: Connection, channel: str, timeout: float) -> bool:
        """Wait until `channel` is notified, at most `timeout` seconds; whether it was. Asked for only with the feature ``notify``.

        The connection is in autocommit mode and does nothing else. The first call on it returns True at once: what was notified before is
        not known.
        """
        ...

    def cancel(self, connection_id: str) -> Executable | None:
        """Stop what that connection runs: at once (None), or by a statement that the core executes on a connection of its own."""
        ...

    def unlimited(self) -> str | None:
        """The statement that lifts a session's time limit, for schema work; None where a session has none."""
        ...

    def position(self, connection: Connection) -> str | None:
        """Where the server's log stands, for sticky reads; None without the feature ``position``."""
        ...

    def stats(self, connection: Connection) -> Mapping[str, object]:
        """Numbers of the server, for operators."""
        ...

    def maintenance(self, connection: Connection, tables: Sequence[str] | None) -> None:
        """Refresh statistics and reclaim space, of `tables` or all. The connection is in autocommit mode."""
        ...
