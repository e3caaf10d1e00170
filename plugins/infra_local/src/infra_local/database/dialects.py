"""SQLAlchemy's dialects of SQLite, which let a column hold what its model says."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.aiosqlite import SQLiteDialect_aiosqlite
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler, SQLiteTypeCompiler
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

#: The function of our connections that folds case as Unicode does; SQLite's own `lower` knows ASCII alone, and indexes may rest on it.
CASEFOLD: Final = "infra_casefold"
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


class Statements(SQLiteCompiler):
    """Times with a fraction, and case beyond ASCII."""

    def visit_now_func(self, fn: Any, **kw: Any) -> str:  # noqa: ARG002 - SQLAlchemy's signature
        """The present time in UTC, with milliseconds."""
        return _NOW

    def visit_current_timestamp_func(self, fn: Any, **kw: Any) -> str:  # noqa: ARG002 - SQLAlchemy's signature
        """The same."""
        return _NOW

    def visit_ilike_case_insensitive_operand(self, element: Any, **kw: Any) -> str:
        """One side of a comparison without case."""
        return f"{CASEFOLD}({element.element._compiler_dispatch(self, **kw)})"


def _counts(column: Any) -> bool:
    table = getattr(column, "table", None)
    return table is not None and len(table.primary_key) == 1 and table.autoincrement_column is column


class Dialect(SQLiteDialect_pysqlite):
    """The standard library's driver."""

    supports_statement_cache = True
    type_compiler_cls = Types
    statement_compiler = Statements


class AsyncDialect(SQLiteDialect_aiosqlite):
    """aiosqlite."""

    supports_statement_cache = True
    type_compiler_cls = Types
    statement_compiler = Statements


#: What our dialects are called in SQLAlchemy's URLs.
NAME: Final = "sqlite+infra"
ASYNC_NAME: Final = "sqlite+infra_aiosqlite"
registry.register("sqlite.infra", __name__, Dialect.__name__)
registry.register("sqlite.infra_aiosqlite", __name__, AsyncDialect.__name__)
