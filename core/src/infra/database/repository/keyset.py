"""Keyset paging: the page after a row, found by its sort values instead of by counting rows.

It costs the same at any depth and neither repeats nor skips rows while others are inserted and deleted. See Markus Winand,
"We need tool support for keyset pagination" (use-the-index-luke.com/no-offset).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, cast
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    JSON,
    ColumnElement,
    Double,
    Float,
    Select,
    String,
    and_,
    bindparam,
    false,
    literal_column,
    or_,
    tuple_,
    type_coerce,
)
from sqlalchemy import Enum as EnumType
from sqlalchemy import cast as sql_cast
from sqlalchemy.types import NullType

from infra.database.repository.errors import InvalidCursorError, InvalidFilterError
from infra.database.repository.mapping import ModelMap
from infra.database.repository.model import UNSET, Sort

SortKeys = Sequence[Sort | str] | Sort | str | None
#: Where a server itself puts NULL in an ascending order, when not first as SQLite, MySQL and MariaDB do.
_NULLS_LAST_SERVERS = frozenset({"postgresql", "oracle"})
#: Servers that answer ``(a, b) > (x, y)`` by one range of an index; MySQL scans.
_ROW_VALUE_SERVERS = frozenset({"postgresql", "sqlite"})
#: Servers that sort their own ENUM by the members' positions, and compare it as text.
_POSITIONAL_ENUM_SERVERS = frozenset({"mysql", "mariadb"})
#: Servers that print 4-byte floats with fewer digits than they compare.
_SHORTENING_SERVERS = frozenset({"mysql", "mariadb"})
_SIGNATURE_BYTES = 16


def order(models: ModelMap[Any], sort: SortKeys, operation: str) -> list[Sort]:
    """The sort keys of a query, with the primary key appended to break ties.

    Raises:
        UnknownFieldError: A key names no column.
    """
    given: Any = (sort,) if isinstance(sort, Sort | str) else sort or ()
    if not isinstance(given, Sequence) or not all(isinstance(one, Sort | str) for one in cast("Sequence[Any]", given)):
        raise InvalidFilterError(
            f"sort={sort!r} names no fields", operation=operation, remedy='give names, "-name" for descending, or infra.database.Sort'
        )
    keys: list[Sort] = []
    for one in cast("Sequence[Sort | str]", given):
        key = one if isinstance(one, Sort) else Sort(one.removeprefix("-"), one.startswith("-"))
        models.column(key.field, operation)
        keys.append(key)
    named = {key.field for key in keys}
    descending = keys[-1].descending if keys else False
    keys += [Sort(name, descending) for name in models.primary_key if name not in named]
    return keys


def in_order(models: ModelMap[Any], sort: SortKeys, dialect: str, operation: str) -> Select[Any]:
    """The model's select in that order. Orders by one key are kept: making one anew is a tenth of a short list."""
    if not sort:
        return models.select
    place = (sort, dialect) if isinstance(sort, str) else None
    if place is not None and (kept := models.sorted.get(place)) is not None:
        return kept
    statement = models.select.order_by(*order_by(models, order(models, sort, operation), dialect))
    if place is not None:
        models.sorted[place] = statement  # there are only as many as the model has fields, ascending and descending
    return statement


def order_by(models: ModelMap[Any], keys: Sequence[Sort], dialect: str) -> list[ColumnElement[Any]]:
    """The ORDER BY terms. The position of NULL is spelt out where the server's own differs."""
    terms: list[ColumnElement[Any]] = []
    for key in keys:
        column = _sortable(models.columns[key.field], dialect)
        if _nullable(models, key.field):
            natural = "last" if (dialect in _NULLS_LAST_SERVERS) is not key.descending else "first"
            if natural != key.nulls:
                terms.append(column.is_(None) if key.nulls == "last" else column.is_not(None))
        terms.append(column.desc() if key.descending else column.asc())
    return terms


def after(models: ModelMap[Any], keys: Sequence[Sort], values: Sequence[Any], dialect: str) -> ColumnElement[bool]:
    """The condition for rows that come after the row with `values`."""
    # Without types on both sides: the values are the server's own, and go back as they came.
    columns: list[Any] = [type_coerce(_sortable(models.columns[key.field], dialect), NullType()) for key in keys]
    values = [None if value is None else bindparam(None, value, NullType(), unique=True) for value in values]
    nullable = [_nullable(models, key.field) for key in keys]
    if len(keys) == 1 and not nullable[0]:
        return columns[0] < values[0] if keys[0].descending else columns[0] > values[0]
    if dialect in _ROW_VALUE_SERVERS and not any(nullable) and len({key.descending for key in keys}) == 1:
        row: Any = tuple_(*columns)
        return row < tuple_(*values) if keys[0].descending else row > tuple_(*values)
    alternatives: list[ColumnElement[bool]] = []
    ties: list[ColumnElement[bool]] = []
    for key, column, value, may_be_null in zip(keys, columns, values, nullable, strict=True):
        alternatives.append(and_(*ties, _beyond(key, column, value, may_be_null)))
        ties.append(column.is_(None) if value is None else column == value)
    condition = or_(*alternatives)
    if not nullable[0]:  # lets the server start within the index at the first key
        start = columns[0] <= values[0] if keys[0].descending else columns[0] >= values[0]
        condition = and_(start, condition)
    return condition


def exact(models: ModelMap[Any], keys: Sequence[Sort], dialect: str) -> list[ColumnElement[Any]]:
    """What the cursor of a row holds: the server's own values of its sort keys.

    The model's differ where a type or a driver makes something else of them: 4-byte floats are shortened, SQLite's times lose how they are
    written, and a session may know an older value.

    Raises:
        InvalidFilterError: A key has no order that all servers know, or none that a cursor can hold.
    """
    terms: list[ColumnElement[Any]] = []
    for number, key in enumerate(keys):
        column = models.columns[key.field]
        kind: Any = column.type
        affinity: Any = kind._type_affinity
        term: Any = _sortable(column, dialect)
        if issubclass(affinity, JSON | ARRAY):
            raise InvalidFilterError(
                f"{key.field} is {type(kind).__name__}, which has no order", operation="page", remedy="sort by columns of other types"
            )
        if issubclass(affinity, Float) and dialect == "postgresql":
            term = sql_cast(column, Double)
        elif issubclass(affinity, Float) and dialect in _SHORTENING_SERVERS:
            term = type_coerce(column, Double) + literal_column("0e0", Double)
        terms.append(type_coerce(term, NullType()).label(f"infra_key_{number}"))
    return terms


def _sortable(column: Any, dialect: str) -> Any:
    kind = column.type
    if dialect in _POSITIONAL_ENUM_SERVERS and isinstance(kind, EnumType) and kind.native_enum:
        return sql_cast(column, String)
    return column


def _beyond(key: Sort, column: Any, value: Any, may_be_null: bool) -> ColumnElement[bool]:
    if value is None:
        return column.is_not(None) if key.nulls == "first" else false()
    further = column < value if key.descending else column > value
    return or_(further, column.is_(None)) if may_be_null and key.nulls == "last" else further


def _nullable(models: ModelMap[Any], field: str) -> bool:
    return bool(getattr(models.columns[field].property.columns[0], "nullable", True))


class Cursors:
    """Writes and reads the cursors of one query.

    A cursor holds the sort values of a page's last row. It is signed, and bound to the model, the sort and the filter, so that it fails
    with another query instead of showing wrong rows.

    Args:
        key: The secret that signs.
        query: What `fingerprint` says about the query.
    """

    def __init__(self, key: bytes, query: bytes) -> None:
        self._key = key
        self._query = query

    def write(self, values: Sequence[Any]) -> str:
        """The cursor of the row with these sort values."""
        payload = json.dumps([_plain(value) for value in values], separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(self._sign(payload) + payload).rstrip(b"=").decode()

    def read(self, cursor: str) -> list[Any]:
        """The sort values in a cursor.

        Raises:
            InvalidCursorError: It was altered, cut, or made for another query or with another key.
        """
        try:
            raw = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        except (binascii.Error, ValueError, AttributeError):
            raw = b""
        signature, payload = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._sign(payload)):
            raise InvalidCursorError(
                "the cursor does not belong to this query",
                operation="page",
                remedy="pass the cursor with the same sort and filters as the page that returned it, or start from the first page",
            )
        return [_value(item) for item in json.loads(payload)]

    def _sign(self, payload: bytes) -> bytes:
        return hmac.digest(self._key, self._query + payload, "sha256")[:_SIGNATURE_BYTES]


def fingerprint(
    models: ModelMap[Any],
    keys: Sequence[Sort],
    where: Sequence[ColumnElement[bool]],
    filters: Mapping[str, Any],
    include_deleted: bool = False,
) -> bytes:
    """Names a query by its model, sort and filter; the same in every process."""
    text = ["2", models.name, str(include_deleted), repr([(key.field, key.descending, key.nulls) for key in keys])]
    text += [f"{name}={_text(value)}" for name, value in sorted(filters.items()) if value is not UNSET]
    for clause in where:
        compiled = clause.compile()
        text.append(f"{compiled} {sorted((name, _text(value)) for name, value in compiled.params.items())}")
    return hashlib.sha256("\0".join(text).encode()).digest()


def _text(value: Any) -> str:
    if isinstance(value, set | frozenset):
        return repr(sorted(_text(item) for item in cast("set[Any]", value)))
    if isinstance(value, list | tuple):
        return repr([_text(item) for item in cast("list[Any]", value)])
    return json.dumps(_plain(value))


def _microseconds(value: timedelta) -> int:
    return value // timedelta(microseconds=1)


_TAGS: Mapping[type, tuple[str, Any]] = {
    datetime: ("datetime", datetime.isoformat),
    date: ("date", date.isoformat),
    time: ("time", time.isoformat),
    timedelta: ("timedelta", _microseconds),
    Decimal: ("decimal", str),
    UUID: ("uuid", str),
    bytes: ("bytes", bytes.hex),
}


def _timedelta(microseconds: int) -> timedelta:
    return timedelta(microseconds=microseconds)


_READERS: Mapping[str, Any] = {
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "timedelta": _timedelta,
    "decimal": Decimal,
    "uuid": UUID,
    "bytes": bytes.fromhex,
}


def _plain(value: Any) -> Any:
    if value is None or (isinstance(value, bool | int | float | str) and not isinstance(value, Enum)):
        return value
    if isinstance(value, Enum):
        return {"enum": value.name}
    for kind in type(value).__mro__:
        if kind in _TAGS:
            tag, write = _TAGS[kind]
            return {tag: write(value)}
    raise InvalidFilterError(
        f"a cursor cannot hold a {type(value).__name__}",
        operation="page",
        remedy="sort and filter by numbers, text, times, UUIDs or bytes, or put the filter into a SQLAlchemy expression",
    )


def _value(item: Any) -> Any:
    if isinstance(item, dict):
        ((tag, written),) = cast("dict[str, Any]", item).items()
        return _READERS[tag](written)
    return item
