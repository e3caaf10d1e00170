"""Exact decimals in SQLite: text, compared as numbers by a collation of our connections."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from sqlalchemy.types import Numeric

#: The collation's name; the shell `sqlite3` has one of this name that orders alike.
COLLATION: Final = "decimal"


def compare(left: str, right: str) -> int:
    """What the collation does: -1, 0 or 1; what is no number comes after all numbers, as text."""
    if left == right:
        return 0
    one, other = _number(left), _number(right)
    if one is None or other is None:
        return (left > right) - (left < right) if one is other else (one is None) - (other is None)
    return (one > other) - (one < other)


def _number(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return None if number.is_nan() else number


class Decimals(Numeric[Any]):
    """Sends decimals as text with at least the scale's digits; reads doubles that were written earlier too."""

    cache_ok = True

    def bind_processor(self, dialect: Any) -> Callable[[Any], str | None]:  # noqa: ARG002 - SQLAlchemy's signature
        """Raises ValueError or TypeError for what is no finite number."""

        def process(value: Any) -> str | None:
            if value is None:
                return None
            try:
                number = Decimal(repr(value) if isinstance(value, float) else value)
            except InvalidOperation:
                raise ValueError("not a decimal number") from None
            if not number.is_finite():
                raise ValueError("a decimal column of SQLite holds finite numbers")
            text = format(number, "f")
            missing = (self.scale or 0) - len(text.partition(".")[2])
            return text if missing <= 0 else text + ("" if "." in text else ".") + "0" * missing

        return process

    def literal_processor(self, dialect: Any) -> Callable[[Any], str]:
        """The same in quotes."""
        process = self.bind_processor(dialect)
        return lambda value: f"'{process(value)}'"

    def result_processor(self, dialect: Any, coltype: object) -> Any:  # noqa: ARG002 - SQLAlchemy's signature
        """Decimals, or floats where the type says so; what was computed as a double has the scale's digits."""
        scale = self._effective_decimal_return_scale

        def process(value: Any) -> Any:
            if value is None:
                return None
            if not self.asdecimal:
                return float(value)
            return Decimal(f"{value:.{scale}f}" if isinstance(value, float) else value)

        return process
