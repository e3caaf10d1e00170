"""Comparing a database with its models."""

from __future__ import annotations

from sqlalchemy import Connection, MetaData, inspect

from infra.database.model import SchemaReport


def compare(connection: Connection, metadata: MetaData) -> SchemaReport:
    """Which tables and columns of `metadata` are missing, and which columns are unexpected."""
    inspector = inspect(connection)
    missing_tables: list[str] = []
    missing: list[str] = []
    unexpected: list[str] = []
    for table in metadata.sorted_tables:
        if not inspector.has_table(table.name, schema=table.schema):
            missing_tables.append(table.fullname)
            continue
        present = {column["name"] for column in inspector.get_columns(table.name, schema=table.schema)}
        wanted = {column.name for column in table.columns}
        missing += [f"{table.fullname}.{name}" for name in sorted(wanted - present)]
        unexpected += [f"{table.fullname}.{name}" for name in sorted(present - wanted)]
    return SchemaReport(missing_tables=tuple(missing_tables), missing_columns=tuple(missing), unexpected_columns=tuple(unexpected))
