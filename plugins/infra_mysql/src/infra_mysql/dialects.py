"""SQLAlchemy's dialects of the four DBAPIs, with fewer round trips.

An autocommit session of ours switches the server's autocommit on, which SQLAlchemy does only with three further round trips a session; so
COMMIT and ROLLBACK are left out there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from math import isfinite
from types import NoneType
from typing import Any, Final, cast
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, Index, UniqueConstraint
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.mysql.aiomysql import MySQLDialect_aiomysql
from sqlalchemy.dialects.mysql.asyncmy import MySQLDialect_asyncmy
from sqlalchemy.dialects.mysql.base import MySQLCompiler, MySQLDDLCompiler, MySQLTypeCompiler
from sqlalchemy.dialects.mysql.mysqldb import MySQLDialect_mysqldb
from sqlalchemy.dialects.mysql.pymysql import MySQLDialect_pymysql

from infra_mysql.settings import Driver

_IN_TRANSACTION: Final = 1  # SERVER_STATUS_IN_TRANS
#: The versions of MySQL's own client library are those of its server; MariaDB's began anew.
_FIRST_OF_MYSQL: Final = 5
#: Types of values that need no second look, and all that the drivers have literals for.
_PLAIN: Final = frozenset({str, int, bytes, bool, NoneType, datetime, date, timedelta, time, UUID})
_BINDABLE: Final = (str, int, float, Decimal, bytes, bytearray, memoryview, datetime, date, timedelta, time, UUID)
#: What drivers say that would go on in the clear.
RSA_MISSING: Final = "the password cannot be encrypted without the package cryptography, nor sent in the clear"
TLS_MISSING: Final = "TLS is required, and the server does not offer it"


def _in_transaction(raw: Any) -> bool:
    """Whether the server said so with its last answer; mysqlclient does not pass it on."""
    return bool(getattr(raw, "server_status", 0) & _IN_TRANSACTION)


def raw_connection(connection: Any) -> Any:
    """The DBAPI's own connection, beneath the pool's and SQLAlchemy's adapter."""
    inner = getattr(connection, "dbapi_connection", connection)
    return getattr(inner, "driver_connection", inner)


def check_values(row: Any) -> None:
    """Refuse what has no literal in SQL.

    Raises:
        TypeError: A value is of a type that is none of SQL's.
        ValueError: It is no finite number.
    """
    values: Iterable[Any] = cast("dict[str, Any]", row).values() if isinstance(row, dict) else row or ()
    for value in values:
        kind: type = value.__class__
        if kind in _PLAIN:
            continue
        if kind is float or kind is Decimal:
            if not isfinite(value):
                raise ValueError(f"{value} is no number of SQL's")
        elif not isinstance(value, _BINDABLE):
            raise TypeError(f"a {kind.__name__} cannot be a value of a statement")


#: Characters of a `str` without a length that is part of a key: an index takes 3,072 bytes for all its columns, at 4 a character.
KEY_LENGTH: Final = 255
_NOW: Final = re.compile(r"\b(?:now|current_timestamp)\b(?:\(\d*\))?", re.IGNORECASE)


class Types(MySQLTypeCompiler):
    """SQLAlchemy's portable types, as wide and as exact as their Python values. MySQL's own types stay as they are declared."""

    def visit_string(self, type_: Any, **kw: Any) -> str:
        """LONGTEXT without a length, but in keys."""
        if type_.length is not None:
            return super().visit_string(type_, **kw)
        return self._extend_string(type_, {}, f"VARCHAR({KEY_LENGTH})" if _in_key(kw.get("type_expression")) else "LONGTEXT")

    visit_unicode = visit_string

    def visit_text(self, type_: Any, **kw: Any) -> str:
        """LONGTEXT without a length; TEXT has 64 KiB."""
        return super().visit_text(type_, **kw) if type_.length is not None else self._extend_string(type_, {}, "LONGTEXT")

    visit_unicode_text = visit_text

    def visit_large_binary(self, type_: Any, **kw: Any) -> str:
        """LONGBLOB without a length; BLOB has 64 KiB."""
        return super().visit_large_binary(type_, **kw) if type_.length is not None else "LONGBLOB"

    def visit_datetime(self, type_: Any, **kw: Any) -> str:  # noqa: ARG002 - SQLAlchemy's signature
        """With microseconds."""
        return "DATETIME(6)"

    def visit_time(self, type_: Any, **kw: Any) -> str:  # noqa: ARG002 - SQLAlchemy's signature
        """With microseconds."""
        return "TIME(6)"

    def visit_numeric(self, type_: Any, **kw: Any) -> str:
        """Without a precision, the widest there is: 35 digits, and 30 behind the point."""
        return super().visit_numeric(type_, **kw) if type_.precision is not None else "NUMERIC(65, 30)"

    def visit_float(self, type_: Any, **kw: Any) -> str:
        """Without a precision, 8 bytes as Python has; FLOAT has 4."""
        return super().visit_float(type_, **kw) if type_.precision is not None else "DOUBLE"


class Statements(MySQLCompiler):
    """Times with microseconds, and case beyond ASCII also where a collation has case."""

    def visit_now_func(self, fn: Any, **kw: Any) -> str:  # noqa: ARG002 - SQLAlchemy's signature
        """The present time with microseconds."""
        return "now(6)"

    def visit_ilike_case_insensitive_operand(self, element: Any, **kw: Any) -> str:
        """One side of a comparison without case; letters that have two small forms have one large."""
        return f"upper(lower({element.element._compiler_dispatch(self, **kw)}))"


def _in_key(column: Any) -> bool:
    table = getattr(column, "table", None)
    if table is None:
        return bool(column is not None and (column.primary_key or column.unique or column.index or column.foreign_keys))
    if column.primary_key or column.unique or column.index or column.foreign_keys:
        return True
    keys: list[Any] = [one for one in table.constraints if isinstance(one, UniqueConstraint)]
    keys += [one for one in table.indexes if isinstance(one, Index)]
    return any(column in set(key.columns) for key in keys)


class TableChecks(MySQLDDLCompiler):
    """CREATE TABLE with the checks of columns at its end: MariaDB takes no name for them beside the column."""

    def get_column_default_string(self, column: Any) -> str | None:
        """The default; a time of the server's must have as many digits as its column."""
        default = super().get_column_default_string(column)
        if default is None or not issubclass(column.type._type_affinity, DateTime):
            return default
        exact = "(6)" in self.dialect.type_compiler_instance.process(column.type)
        return _NOW.sub("CURRENT_TIMESTAMP(6)" if exact else "CURRENT_TIMESTAMP", default)

    def visit_create_column(self, create: Any, first_pk: bool = False, **kw: Any) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        """The column with its other constraints."""
        column = create.element
        if column.system:
            return None
        inline = [self.process(one) for one in column.constraints if not isinstance(one, CheckConstraint)]
        return " ".join([self.get_column_specification(column, first_pk=first_pk), *inline])

    def create_table_constraints(self, table: Any, _include_foreign_key_constraints: Any = None, **kw: Any) -> str:
        """The table's constraints, then the checks of its columns."""
        checks = [self.process(one) for column in table.columns for one in column.constraints if isinstance(one, CheckConstraint)]
        others = cast("Any", super()).create_table_constraints(table, _include_foreign_key_constraints, **kw)
        return ", \n\t".join(part for part in (others, *checks) if part)


class _Lean:
    ddl_compiler = TableChecks
    type_compiler_cls = Types
    statement_compiler = Statements

    def on_connect(self) -> Any:
        """Nothing: the policy's own first statement names the character set."""

    def do_execute(self, cursor: Any, statement: Any, parameters: Any, context: Any = None) -> None:
        """As the driver, which would write any object's text into the statement, and halves doubled per cents only beside parameters."""
        check_values(parameters)
        if not parameters and getattr(context, "compiled", None) is not None and "%%" in statement:
            statement, parameters = statement.replace("%%", "%"), None
        cast("Any", super()).do_execute(cursor, statement, parameters, context)

    def do_executemany(self, cursor: Any, statement: Any, parameters: Any, context: Any = None) -> None:
        """Likewise, for many rows."""
        for row in parameters:
            check_values(row)
        cast("Any", super()).do_executemany(cursor, statement, parameters, context)

    def do_commit(self, dbapi_connection: Any) -> None:
        """COMMIT, but for autocommit."""
        raw = raw_connection(dbapi_connection)
        if dbapi_connection.get_autocommit() and not _in_transaction(raw):
            return
        dbapi_connection.commit()
        raw.infra_committed = True

    def do_rollback(self, dbapi_connection: Any) -> None:
        """ROLLBACK, but for autocommit, and for the one that SQLAlchemy's pool sends after a COMMIT."""
        raw = raw_connection(dbapi_connection)
        committed = getattr(raw, "infra_committed", False) and hasattr(raw, "server_status")
        raw.infra_committed = False
        if (committed or dbapi_connection.get_autocommit()) and not _in_transaction(raw):
            return
        dbapi_connection.rollback()

    def _initialize_mysql(self, connection: Any) -> None:
        super()._initialize_mysql(connection)  # type: ignore[misc]
        # ``VALUES (...) AS new`` keeps all four DBAPIs from sending many rows as one statement; VALUES() of MySQL 5 and MariaDB does not.
        self._requires_alias_for_on_duplicate_key = False


class PyMySQLDialect(_Lean, MySQLDialect_pymysql):
    """PyMySQL."""

    supports_statement_cache = True

    def connect(self, *cargs: Any, **cparams: Any) -> Any:
        """As PyMySQL, which would wait for ever for a greeting that does not come: it bounds the TCP connection alone."""
        try:
            connection: Any = super().connect(*cargs, **{**cparams, "read_timeout": cparams["connect_timeout"]})
        except RuntimeError as error:
            if "cryptography" not in str(error):
                raise
            raise self.loaded_dbapi.OperationalError(2061, RSA_MISSING) from error
        connection._read_timeout = cparams["read_timeout"]
        return connection


class MySQLClientDialect(_Lean, MySQLDialect_mysqldb):
    """mysqlclient."""

    supports_statement_cache = True

    def connect(self, *cargs: Any, **cparams: Any) -> Any:
        """As mysqlclient. With MariaDB's library REQUIRED goes on in the clear when the server has no TLS, and PREFERRED always does."""
        mode = cparams.get("ssl_mode")
        if mode == "PREFERRED" and int(self.loaded_dbapi.get_client_info().split(".")[0]) < _FIRST_OF_MYSQL:
            cparams = {**cparams, "ssl_mode": "REQUIRED"}
        connection: Any = super().connect(*cargs, **cparams)
        if mode in ("REQUIRED", "VERIFY_CA"):
            connection.query("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
            if not connection.store_result().fetch_row()[0][1]:
                connection.close()
                raise self.loaded_dbapi.OperationalError(2026, TLS_MISSING)
        return connection


class AsyncmyDialect(_Lean, MySQLDialect_asyncmy):
    """asyncmy."""

    supports_statement_cache = True


class AiomysqlDialect(_Lean, MySQLDialect_aiomysql):
    """aiomysql."""

    supports_statement_cache = True


_DIALECTS: Final[dict[Driver, type]] = {
    "pymysql": PyMySQLDialect,
    "mysqlclient": MySQLClientDialect,
    "asyncmy": AsyncmyDialect,
    "aiomysql": AiomysqlDialect,
}
#: What our dialects are called in SQLAlchemy's URLs, after ``mysql+``.
NAMES: Final[dict[Driver, str]] = {driver: f"infra_{driver}" for driver in _DIALECTS}
for _driver, _dialect in _DIALECTS.items():
    registry.register(f"mysql.{NAMES[_driver]}", __name__, _dialect.__name__)
