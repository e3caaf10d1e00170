"""From keyword filters to SQL conditions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, cast
from uuid import UUID

from sqlalchemy import JSON, ClauseElement, ColumnElement, Integer, Select, Text, Uuid, and_, false, or_, true
from sqlalchemy import cast as sql_cast

from infra.database.repository.errors import InvalidFilterError
from infra.database.repository.folding import without_case
from infra.database.repository.mapping import Lookup, ModelMap
from infra.database.repository.model import UNSET
from infra.errors import nearest

#: The most values of one list: asyncpg sends 32,767 parameters at most.
MOST_MEMBERS: Final = 32_000
_LARGEST: Final = 2**63

Operator = Callable[[Any, Any], ColumnElement[bool]]


def _members(value: Any) -> tuple[list[Any], bool]:
    """The values of a list other than None, and whether None was among them."""
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Collection):
        raise InvalidFilterError(f"in and not_in take a list, not {type(cast(object, value)).__name__}", remedy="pass a list, tuple or set")
    given = list(cast("Collection[Any]", value))
    if len(given) > MOST_MEMBERS:
        raise InvalidFilterError(
            f"{len(given)} values in one list, where servers take {MOST_MEMBERS}",
            remedy="ask in parts, or join the table that has the values",
        )
    members = [item for item in given if item is not None]
    return members, len(members) < len(given)


def comparable(column: Any, value: Any) -> Any:
    """A value as its column compares it: text is no number, though MySQL takes any text for 0 and asyncpg refuses even digits.

    Raises:
        InvalidFilterError: It cannot be a value of its column: text that is no number or UUID, or a number of more than 64 bits.
    """
    kind = getattr(column, "type", None)
    if isinstance(kind, Integer):
        if isinstance(value, str):
            try:
                value = int(value)
            except ValueError:
                raise InvalidFilterError("text is compared with a whole number", remedy="give an int") from None
        if isinstance(value, int) and not -_LARGEST <= value < _LARGEST:
            raise InvalidFilterError("the number is larger than any column holds", remedy="give one of 64 bits")
    elif isinstance(value, str) and isinstance(kind, Uuid) and kind.as_uuid:
        try:
            return UUID(value)
        except ValueError:
            raise InvalidFilterError("text is compared with a UUID", remedy="give a UUID, or its text") from None
    return value


def _in(column: Any, value: Any) -> ColumnElement[bool]:
    members, null = _members(value)
    members = [comparable(column, one) for one in members]
    if not members:
        return _is_null(column) if null else false()
    return or_(column.in_(members), _is_null(column)) if null else column.in_(members)


def _not_in(column: Any, value: Any) -> ColumnElement[bool]:
    members, null = _members(value)
    members = [comparable(column, one) for one in members]
    # SQL's own NOT IN with a NULL in its list matches nothing at all; here None only excludes the rows without a value.
    if null:
        return and_(column.not_in(members), ~_is_null(column)) if members else ~_is_null(column)
    return column.not_in(members) if members else true()


def _between(column: Any, value: Any) -> ColumnElement[bool]:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes) or len(cast("Sequence[Any]", value)) != 2:
        raise InvalidFilterError("between takes two values", remedy="pass (low, high)")
    low, high = cast("Sequence[Any]", value)
    return column.between(comparable(column, low), comparable(column, high))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidFilterError(f"text is compared with a {type(value).__name__}", remedy="pass a str")
    return value


def _is_null(column: Any) -> ColumnElement[bool]:
    """IS NULL; of JSON also its own null, since both are None to a model."""
    kind = getattr(column, "type", None)
    if isinstance(kind, JSON) or isinstance(getattr(kind, "impl_instance", None), JSON):
        return or_(column.is_(None), sql_cast(column, Text) == "null")
    return column.is_(None)


def _eq(column: Any, value: Any) -> ColumnElement[bool]:
    return _is_null(column) if value is None else column == comparable(column, value)


def _ne(column: Any, value: Any) -> ColumnElement[bool]:
    return ~_is_null(column) if value is None else column != comparable(column, value)


#: The operators of keyword filters, ``field__operator=value``. Text operators escape the wildcards ``%`` and ``_``;
#: those with ``i`` ignore case, also of letters beyond ASCII. The others all compare as the server compares text: with case and accents
#: where the provider has the feature ``case_sensitive``, as the column's collation says where it has not (MySQL and MariaDB).
OPERATORS: Mapping[str, Operator] = {
    "eq": _eq,
    "ne": _ne,
    "gt": lambda column, value: column > comparable(column, value),
    "gte": lambda column, value: column >= comparable(column, value),
    "lt": lambda column, value: column < comparable(column, value),
    "lte": lambda column, value: column <= comparable(column, value),
    "between": _between,
    "in": _in,
    "not_in": _not_in,
    "is_null": lambda column, value: _is_null(column) if value else ~_is_null(column),
    "contains": lambda column, value: column.contains(_text(value), autoescape=True),
    "icontains": lambda column, value: without_case(column, "%", _text(value), "%"),
    "startswith": lambda column, value: column.startswith(_text(value), autoescape=True),
    "istartswith": lambda column, value: without_case(column, "", _text(value), "%"),
    "endswith": lambda column, value: column.endswith(_text(value), autoescape=True),
    "iendswith": lambda column, value: without_case(column, "%", _text(value), ""),
    "iexact": lambda column, value: without_case(column, "", _text(value), ""),
}
_TAKE_NONE = frozenset({"eq", "ne", "is_null"})


def _is_condition(given: Any) -> bool:
    return isinstance(given, ClauseElement | bool) or hasattr(given, "__clause_element__")


def conditions(
    models: ModelMap[Any], where: tuple[ColumnElement[bool], ...], filters: Mapping[str, Any], operation: str
) -> list[ColumnElement[bool]]:
    """All conditions of a call: its SQLAlchemy expressions and its keyword filters, without those that are `UNSET`.

    Raises:
        UnknownFieldError: A keyword names no field.
        InvalidFilterError: A keyword's operator is unknown, or its value cannot be compared.
    """
    found = [*where]
    if not all(map(_is_condition, where)):
        raise InvalidFilterError(
            "a condition is no expression", operation=operation, remedy="give SQLAlchemy expressions, or fields as keywords: field=value"
        )
    lookups = models.lookups
    for key, value in filters.items():
        if value is not UNSET:
            found.append((lookups.get(key) or _lookup(models, key, operation))(value))
    return found


def filtered(
    statement: Select[Any],
    models: ModelMap[Any],
    where: tuple[ColumnElement[bool], ...],
    filters: Mapping[str, Any],
    operation: str,
) -> Select[Any]:
    """`statement` with all conditions of a call."""
    if not where and not filters:
        return statement
    return statement.where(*conditions(models, where, filters, operation))


def _lookup(models: ModelMap[Any], key: str, operation: str) -> Lookup:
    column, name = models.filterable.get(key), "eq"
    if column is None:
        field, _, name = key.rpartition("__")
        if not field:
            raise models.unknown(key, models.filterable, operation)
        column = models.filterable.get(field)
        if column is None:
            raise models.unknown(field, models.filterable, operation)
    operator = OPERATORS.get(name)
    if operator is None:
        near = nearest(name, frozenset(OPERATORS))
        raise InvalidFilterError(
            f"{key}: {name!r} is no operator",
            operation=operation,
            remedy=f"did you mean {near}?" if near else f"the operators are: {', '.join(sorted(OPERATORS))}",
        )

    def lookup(value: Any) -> ColumnElement[bool]:
        if value is None and name not in _TAKE_NONE:
            raise InvalidFilterError(
                f"{key}=None matches no row in SQL", operation=operation, remedy="pass UNSET to skip it, or test for NULL with is_null"
            )
        return operator(column, value)

    models.lookups[key] = lookup
    return lookup
