"""How rows are taken from a result."""

from __future__ import annotations

from typing import Any, Final

#: Servers that run no other statement on a connection while a result is streamed over it.
ONE_STATEMENT_AT_A_TIME: Final = frozenset({"mysql", "mariadb"})


def unique(result: Any) -> Any:
    """The result with each object once, where a joined eager load of a collection repeats it; others are left alone, which is faster."""
    return result.unique() if result._unique_filter_state is not None else result
