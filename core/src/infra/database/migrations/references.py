"""Foreign keys while SQLite changes tables: it copies a table and drops the old one, and that drop deletes the rows that refer to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection

from infra.database.migrations.errors import MigrationError

_SHOWN = 5


class References:
    """Foreign keys that do nothing while revisions run, and are checked before each one commits.

    Args:
        connection: The migrating connection, with no transaction open.
        fields: Of the error.
    """

    def __init__(self, connection: Connection, **fields: Any) -> None:
        self._connection = connection
        self._fields = fields
        self._before: Counter[tuple[Any, ...]] = Counter()

    @contextmanager
    def suspended(self) -> Generator[None]:
        """Without them, where the server is SQLite; what was broken before is nobody's fault later."""
        if self._connection.dialect.name != "sqlite":
            yield
            return
        self._before = self._broken()
        self._ask("PRAGMA foreign_keys = OFF")
        try:
            yield
        finally:
            if not self._connection.closed and not self._connection.invalidated:
                if self._connection.in_transaction():
                    self._connection.rollback()
                self._ask("PRAGMA foreign_keys = ON")

    def check(self, **_applied: Any) -> None:
        """Called in each revision's transaction: an error rolls it back.

        Raises:
            MigrationError: The revision leaves rows that refer to nothing.
        """
        if self._connection.dialect.name != "sqlite":
            return
        broken = self._broken() - self._before
        if broken:
            places = Counter[tuple[Any, Any]]()
            for (table, parent, _row), number in broken.items():
                places[table, parent] += number
            told = ", ".join(f"{number} of {table} to {parent}" for (table, parent), number in list(places.items())[:_SHOWN])
            raise MigrationError(
                f"the revision would leave rows that refer to nothing: {told}; it was taken back",
                remedy="foreign keys do nothing while a revision runs on SQLite: let it delete or correct the rows that refer first",
                **self._fields,
            )

    def _broken(self) -> Counter[tuple[Any, ...]]:
        return Counter((table, parent, row) for table, row, parent, _ in self._ask("PRAGMA foreign_key_check"))

    def _ask(self, statement: str) -> list[Any]:
        # A cursor of its own: SQLAlchemy would begin a transaction, in which the pragma does nothing.
        cursor = self._connection.connection.cursor()
        try:
            cursor.execute(statement)
            return list(cursor.fetchall())
        finally:
            cursor.close()
