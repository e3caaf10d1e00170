"""How rows are taken from a result."""

from __future__ import annotations

from typing import Any, Final

from infra.database.repository.errors import InvalidFilterError

#: Servers that run no other statement on a connection while a result is streamed over it.
ONE_STATEMENT_AT_A_TIME: Final = frozenset({"mysql", "mariadb"})
#: The largest number of rows that every server counts.
_MOST: Final = 2**63 - 2


def whole(value: Any, least: int, operation: str, name: str) -> int:
    """A number of rows.

    Raises:
        InvalidFilterError: It is none, or less than `least`.
    """
    if type(value) is int and least <= value <= _MOST:
        return value
    raise InvalidFilterError(f"{name} is {repr(value)[:80]}", operation=operation, remedy=f"give a whole number of rows, {least} or more")


def unique(result: Any) -> Any:
    """The result with each object once, where a joined eager load of a collection repeats it; others are left alone, which is faster."""
    return result.unique() if result._unique_filter_state is not None else result
