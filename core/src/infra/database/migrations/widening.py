"""Whether a column's new type holds every value of the old one."""

# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

from typing import Any, cast

from sqlalchemy import types as sa

_DIGITS = (5, 10, 19)


def widens(old: sa.TypeEngine[Any] | None, new: sa.TypeEngine[Any]) -> bool:
    """True when no value of `old` can be lost in `new`; False when it can, or when nobody knows.

    Args:
        old: The existing type; None when it is not known.
        new: The type to be.
    """
    return _widens(_plain(old), _plain(new))


def _widens(old: Any, new: Any) -> bool:
    if old is None:
        return _is_text(new) and new.length is None
    if repr(old) == repr(new):
        return True
    if isinstance(old, sa.Enum) and isinstance(new, sa.Enum):
        return set(old.enums) <= set(new.enums)
    if _is_text(new):
        return new.length is None or (_longest(old) or new.length + 1) <= new.length  # type: ignore[attr-defined]
    if isinstance(old, sa.ARRAY) and isinstance(new, sa.ARRAY):
        return widens(cast("Any", old).item_type, cast("Any", new).item_type)
    if isinstance(new, sa.Integer):
        return isinstance(old, sa.Boolean) or (isinstance(old, sa.Integer) and _rank(old) <= _rank(new))
    if isinstance(new, sa.Float):
        return isinstance(old, sa.Float) and (old.precision or 0) <= (new.precision or 53)
    if isinstance(new, sa.Numeric):
        return _fits(old, new)
    if isinstance(old, sa._Binary) and isinstance(new, sa._Binary):
        return new.length is None or (old.length is not None and old.length <= new.length)
    if isinstance(new, sa.DateTime):
        fine = getattr(new, "fsp", None) or 0, getattr(old, "fsp", None) or 0
        return isinstance(old, sa.Date) or (isinstance(old, sa.DateTime) and fine[0] >= fine[1])
    return isinstance(old, sa.JSON) and isinstance(new, sa.JSON)


def _plain(kind: Any) -> Any:
    while isinstance(kind, sa.TypeDecorator):
        kind = cast("Any", kind).impl_instance
    return kind


def _is_text(kind: Any) -> bool:
    return isinstance(kind, sa.String) and not isinstance(kind, sa.Enum)


def _longest(kind: Any) -> int | None:
    if isinstance(kind, sa.String):  # enums too: of their longest member
        return kind.length
    if isinstance(kind, sa.Integer):
        return _DIGITS[_rank(kind)] + 1
    return 36 if isinstance(kind, sa.Uuid) else None


def _rank(kind: Any) -> int:
    return 2 if isinstance(kind, sa.BigInteger) else 0 if isinstance(kind, sa.SmallInteger) else 1


def _fits(old: Any, new: Any) -> bool:
    if isinstance(old, sa.Integer):
        return new.precision is None or new.precision - (new.scale or 0) >= _DIGITS[_rank(old)]
    if not isinstance(old, sa.Numeric) or isinstance(old, sa.Float):
        return False
    if new.precision is None or old.precision is None:
        return new.precision is None
    scale, other = new.scale or 0, old.scale or 0
    return scale >= other and new.precision - scale >= old.precision - other
