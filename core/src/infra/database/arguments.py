"""Arguments that no server need see to be wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, NoReturn, cast

from sqlalchemy import Executable, text

from infra.database.errors import DatabaseOperationError, StatementError
from infra.database.model import Retry
from infra.errors import ErrorCode

_LONGEST_NAME: Final = 500


def refuse(message: str, remedy: str, operation: str, resource: str | None = None, provider: str | None = None) -> NoReturn:
    """Raise the error for an argument that is wrong."""
    raise DatabaseOperationError(
        message, code=ErrorCode.INVALID_ARGUMENT, resource=resource, provider=provider, operation=operation, remedy=remedy
    )


def statement_of(sql: Any, params: Any, resource: str, provider: str) -> Executable:
    """The statement of ``execute``, which is text or an expression, and whose parameters are named.

    Raises:
        StatementError: It is neither, or they are not.
    """
    if isinstance(sql, str):
        sql = text(sql)
    wrong = None
    if not isinstance(sql, Executable):
        wrong = f"a {type(sql).__name__} is no statement", "give SQL as text, or a statement of SQLAlchemy's"
    elif params is not None and not isinstance(params, Mapping):
        rows = isinstance(params, Sequence) and not isinstance(params, str | bytes)
        if not rows or not all(isinstance(row, Mapping) for row in cast("Sequence[Any]", params)):
            wrong = "parameters without names", "give a mapping of names to values, or a list of them"
    if wrong is not None:
        raise StatementError(wrong[0], resource=resource, provider=provider, operation="execute", remedy=wrong[1])
    return sql


def check_kind(role: Any, kinds: Collection[tuple[str, bool]], operation: str, resource: str, provider: str) -> None:
    """Refuse a role that is none."""
    if (role, False) not in kinds:
        refuse(f"{_shown(role)} is no role", "the roles are: reader, writer", operation, resource, provider)


def check_lock(name: Any, timeout: Any, resource: str, provider: str) -> None:
    """Refuse what names no lock, and what is no time."""
    if not isinstance(name, str) or not name or not name.isprintable() or len(name) > _LONGEST_NAME:
        refuse(f"{_shown(name)} is no name of a lock", "give a text of printable characters", "lock", resource, provider)
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not math.isfinite(timeout) or timeout < 0:
        refuse(f"a timeout of {_shown(timeout)}", "give seconds, 0 or more", "lock", resource, provider)


def check_unit(work: Any, retry: Any, resource: str, provider: str) -> None:
    """Refuse what cannot be run."""
    if not isinstance(work, Callable):
        refuse(f"a {type(work).__name__} is no unit", "give a function of a session", "run", resource, provider)
    if not isinstance(retry, Retry):
        refuse(f"retry is {_shown(retry)}", "give infra.database.Retry(attempts=...)", "run", resource, provider)


def check_tables(tables: Any, resource: str, provider: str) -> None:
    """Refuse what names no tables."""
    names = isinstance(tables, Sequence) and not isinstance(tables, str | bytes)
    if tables is not None and not (names and all(isinstance(name, str) and name for name in cast("Sequence[Any]", tables))):
        refuse(f"tables are {_shown(tables)}", "give a list of names", "optimize", resource, provider)


def _shown(value: Any) -> str:
    return repr(value)[:80]
