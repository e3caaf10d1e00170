"""Bulk load by COPY, within the connection's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import psycopg
from sqlalchemy import Connection, Table
from sqlalchemy.util import await_


def copy_rows(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert rows that all have the same columns; how many it was.

    Values go through the types of the table first, as in an INSERT. Errors take SQLAlchemy's way too, so that they are mapped, mark the
    transaction failed, and replace a broken connection.
    """
    if not rows:
        return 0
    names = list(rows[0])
    converters = [table.c[name].type.dialect_impl(connection.dialect).bind_processor(connection.dialect) for name in names]
    records: Iterable[Sequence[Any]]
    if len(names) > 1 and not any(converters):
        records = map(itemgetter(*names), rows)
    else:
        columns = [list(map(itemgetter(name), rows)) for name in names]
        converted = [list(map(convert, column)) if convert else column for column, convert in zip(columns, converters, strict=True)]
        records = zip(*converted, strict=True)
    quote = connection.dialect.identifier_preparer
    fields = ", ".join(quote.format_column(table.c[name]) for name in names)
    statement = f"COPY {quote.format_table(table)} ({fields}) FROM STDIN"
    if quote._double_percents:  # pyright: ignore[reportPrivateUsage]
        statement = statement.replace("%%", "%")  # nothing fills in parameters here
    adapter: Any = connection.connection.dbapi_connection
    raw: Any = connection.connection.driver_connection
    try:
        if not connection.dialect.is_async:
            _copy(raw, statement, records)
        elif connection.dialect.driver == "psycopg":
            await_(_copy_async(raw, statement, records))
        else:
            # The adapter sends BEGIN with its first statement.
            connection.exec_driver_sql("SELECT 1")
            await_(_copy_asyncpg(adapter, raw, table, [table.c[name].name for name in names], records))
    except BaseException as error:
        connection._handle_dbapi_exception(error, statement, None, None, None)
    return len(rows)


def _copy(raw: psycopg.Connection[Any], statement: str, records: Iterable[Sequence[Any]]) -> None:
    with raw.cursor() as cursor, cursor.copy(statement.encode()) as copy:
        for record in records:
            copy.write_row(record)


async def _copy_async(raw: psycopg.AsyncConnection[Any], statement: str, records: Iterable[Sequence[Any]]) -> None:
    async with raw.cursor() as cursor, cursor.copy(statement.encode()) as copy:
        for record in records:
            await copy.write_row(record)


async def _copy_asyncpg(adapter: Any, raw: Any, table: Table, columns: Sequence[str], records: Iterable[Sequence[Any]]) -> None:
    try:
        await raw.copy_records_to_table(table.name, schema_name=table.schema, columns=columns, records=records)
    except Exception as error:
        adapter._handle_exception(error)
