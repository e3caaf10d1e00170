"""Results that outlive their connection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import CursorResult, Result, Row
from sqlalchemy.engine import IteratorResult
from sqlalchemy.engine.result import SimpleResultMetaData


class BufferedResult(IteratorResult[Any]):
    """All rows of a statement, with every method of SQLAlchemy's `Result`.

    Attributes:
        rowcount: The rows that an INSERT, UPDATE or DELETE changed; -1 where the server does not say.
    """

    rowcount: int


def buffered(result: Result[Any]) -> BufferedResult:
    """Fetch everything now."""
    returns = getattr(result, "returns_rows", True)
    keys: list[str] = list(result.keys()) if returns else []
    rows: Sequence[Row[Any]] = result.all() if returns else []
    copy = BufferedResult(SimpleResultMetaData(keys), iter(rows))
    copy.rowcount = result.rowcount if isinstance(result, CursorResult) else len(rows)
    return copy
