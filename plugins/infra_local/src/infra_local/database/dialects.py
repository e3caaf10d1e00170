"""SQLAlchemy's dialects of SQLite, which let a column hold what its model says."""

from __future__ import annotations

from typing import Any, Final, cast

from sqlalchemy import Column, Table, Text, collate
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.aiosqlite import SQLiteDialect_aiosqlite
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler, SQLiteTypeCompiler
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BindParameter, Null
from sqlalchemy.sql.selectable import Alias
from sqlalchemy.types import NUMERIC, Float, Numeric, TypeDecorator

from infra_local.database.decimals import COLLATION, Decimals

#: The function of our connections that folds case as Unicode does; SQLite's own `lower` knows ASCII alone, and indexes may rest on it.
CASEFOLD: Final = "infra_casefold"
_COMPARISONS: Final = {operators.eq, operators.ne, operators.lt, operators.le, operators.gt, operators.ge}
#: A declared type whose affinity is TEXT: SQLite makes doubles of what a NUMERIC column is given.
_DECIMAL: Final = "DECIMAL_TEXT"
#: Now, as SQLAlchemy writes a datetime; CURRENT_TIMESTAMP has no fraction, and as text differs from the same instant with one.
_NOW: Final = "strftime('%Y-%m-%d %H:%M:%f000', 'now')"


def casefold(value: object) -> str | None:
    """What `CASEFOLD` does."""
    return None if value is None else str(value).casefold()


class Types(SQLiteTypeCompiler):
    """Whole numbers of any size count up as a key: SQLite counts for INTEGER alone, which holds 64 bits."""

    def visit_BIGINT(self, type_: Any, **kw: Any) -> str:  # noqa: N802 - SQLAlchemy's name
        """INTEGER for a key that counts up."""
        return "INTEGER" if _counts(kw.get("type_expression")) else super().visit_BIGINT(type_, **kw)

    def visit_SMALLINT(self, type_: Any, **kw: Any) -> str:  # noqa: N802 - SQLAlchemy's name
        """INTEGER for a key that counts up."""
        return "INTEGER" if _counts(kw.get("type_expression")) else super().visit_SMALLINT(type_, **kw)

    def visit_NUMERIC(self, type_: Any, **kw: Any) -> str:  # noqa: N802 - SQLAlchemy's name
        """Text that compares as a number, in columns; casts compute."""
        plain = super().visit_NUMERIC(type_, **kw)
        return _declared(plain, "NUMERIC") if isinstance(kw.get("type_expression"), Column) else plain

    def visit_DECIMAL(self, type_: Any, **kw: Any) -> str:  # noqa: N802 - SQLAlchemy's name
        """The same."""
        plain = super().visit_DECIMAL(type_, **kw)
        return _declared(plain, "DECIMAL") if isinstance(kw.get("type_expression"), Column) else plain


class Statements(SQLiteCompiler):
    """Times with a fraction, case beyond ASCII, and decimals that compare as numbers."""

    def visit_binary(self, binary: Any, *args: Any, **kw: Any) -> Any:
        """What is computed from decimals has neither their affinity nor their collation: it gets both where it is compared."""
        if binary.operator in _COMPARISONS and (_exact(binary.left) or _exact(binary.right)):
            sides = [_comparable(side) for side in (binary.left, binary.right)]
            if sides[0] is not binary.left or sides[1] is not binary.right:
                binary = binary._clone()
                binary.left, binary.right = sides
        return cast(Any, super()).visit_binary(binary, *args, **kw)

    def visit_now_func(self, fn: Any, **kw: Any) -> str:  # noqa: ARG002 - SQLAlchemy's signature
        """The present time in UTC, with milliseconds."""
        return _NOW

    def visit_current_timestamp_func(self, fn: Any, **kw: Any) -> str:  # noqa: ARG002 - SQLAlchemy's signature
        """The same."""
        return _NOW

    def visit_ilike_case_insensitive_operand(self, element: Any, **kw: Any) -> str:
        """One side of a comparison without case."""
        return f"{CASEFOLD}({element.element._compiler_dispatch(self, **kw)})"


def _declared(plain: str, name: str) -> str:
    return f"{plain.replace(name, _DECIMAL, 1)} COLLATE {COLLATION}"


def _exact(side: Any) -> bool:
    kind = getattr(side, "type", None)
    kind = kind.impl_instance if isinstance(kind, TypeDecorator) else kind
    return isinstance(kind, Numeric) and not isinstance(kind, Float)


def _comparable(side: Any) -> Any:
    kept = isinstance(side, BindParameter | Null) or (isinstance(side, Column) and _stored(cast(Any, side).table))
    return cast(Any, side) if kept else collate(sql_cast(cast(Any, side), Text), COLLATION)


def _stored(table: Any) -> bool:
    return isinstance(cast(Any, table).element if isinstance(table, Alias) else table, Table)


def _counts(column: Any) -> bool:
    table = getattr(column, "table", None)
    return table is not None and len(table.primary_key) == 1 and table.autoincrement_column is column


class Dialect(SQLiteDialect_pysqlite):
    """The standard library's driver."""

    supports_statement_cache = True
    type_compiler_cls = Types
    statement_compiler = Statements
    colspecs = {**SQLiteDialect_pysqlite.colspecs, Numeric: Decimals, Float: Float}  # noqa: RUF012 - SQLAlchemy's
    ischema_names = {**SQLiteDialect_pysqlite.ischema_names, _DECIMAL: NUMERIC}  # noqa: RUF012 - SQLAlchemy's


class AsyncDialect(SQLiteDialect_aiosqlite):
    """aiosqlite."""

    supports_statement_cache = True
    type_compiler_cls = Types
    statement_compiler = Statements
    colspecs = {**SQLiteDialect_aiosqlite.colspecs, Numeric: Decimals, Float: Float}  # noqa: RUF012 - SQLAlchemy's
    ischema_names = {**SQLiteDialect_aiosqlite.ischema_names, _DECIMAL: NUMERIC}  # noqa: RUF012 - SQLAlchemy's


#: What our dialects are called in SQLAlchemy's URLs.
NAME: Final = "sqlite+infra"
ASYNC_NAME: Final = "sqlite+infra_aiosqlite"
registry.register("sqlite.infra", __name__, Dialect.__name__)
registry.register("sqlite.infra_aiosqlite", __name__, AsyncDialect.__name__)
