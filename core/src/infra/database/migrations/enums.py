"""Enum types of PostgreSQL: made before the first column that has them, altered with their members, dropped with the last one."""

# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alembic.autogenerate import renderers
from alembic.operations.ops import AlterColumnOp, MigrateOperation, ModifyTableOps
from alembic.util import PriorityDispatchResult
from sqlalchemy import Connection, inspect, text

from infra.database.migrations.rendering import native_enum, write_enum

_COLUMNS = """
SELECT n.nspname, c.relname, a.attname, t.oid <> e.oid AS is_array, pg_get_expr(d.adbin, d.adrelid) AS preset
FROM pg_type e JOIN pg_namespace s ON s.oid = e.typnamespace
JOIN pg_type t ON t.oid IN (e.oid, e.typarray) JOIN pg_attribute a ON a.atttypid = t.oid AND NOT a.attisdropped
JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p') AND NOT c.relispartition
JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE e.typname = :name AND s.nspname = coalesce(:schema, current_schema())
"""
Values = tuple[str, ...] | None


class EnumOp(MigrateOperation):
    """An enum type whose members change: from `before` to `after`, None for a type that is not there."""

    def __init__(self, name: str, schema: str | None, before: Values, after: Values) -> None:
        self.name, self.schema, self.before, self.after = name, schema, before, after

    def reverse(self) -> EnumOp:
        """The way back."""
        return EnumOp(self.name, self.schema, self.after, self.before)

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """For `infra.database.migrations.differences`."""
        return ("enum", f"{self.schema}.{self.name}" if self.schema else self.name, self.before, self.after)


def compare_enums(context: Any, upgrade_ops: Any, schemas: set[str | None]) -> PriorityDispatchResult:
    """Add what the enum types of the models need, before and after all else."""
    default = context.dialect.default_schema_name
    wanted: dict[tuple[str | None, str], tuple[str, ...]] = {}
    for table in context.sorted_tables:
        for column in table.columns:
            enum = native_enum(column.type)
            if enum is not None and getattr(enum, "create_type", True):
                schema = enum.schema if enum.schema != default else None
                wanted.setdefault((schema, str(enum.name)), tuple(enum.enums))
    inspector: Any = inspect(context.connection)
    present = {
        (schema, found["name"]): tuple(found["labels"])
        for schema in schemas | {schema for schema, _ in wanted}
        for found in inspector.get_enums(schema=schema or default)
    }
    first = [EnumOp(name, schema, present.get((schema, name)), values) for (schema, name), values in wanted.items()]
    ours: set[str] = context.opts["infra_enums"]
    last = [
        EnumOp(name, schema, values, None) for (schema, name), values in present.items() if name in ours and (schema, name) not in wanted
    ]
    upgrade_ops.ops[:0] = [op for op in first if op.before != op.after]
    upgrade_ops.ops += last
    return PriorityDispatchResult.CONTINUE


@renderers.dispatch_for(EnumOp)
def _render(context: Any, op: EnumOp) -> str:
    if op.before is None:
        return f"{write_enum(op.name, op.after, op.schema)}.create(op.get_bind(), checkfirst=True)"
    if op.after is None:
        return f"{write_enum(op.name, op.before, op.schema)}.drop(op.get_bind(), checkfirst=True)"
    context.imports.add("from infra.database.migrations import alter_enum")
    schema = f", schema={op.schema!r}" if op.schema else ""
    return f"alter_enum(op.get_bind(), {op.name!r}, {[str(value) for value in op.after]!r}{schema})"


class CastColumnOp(AlterColumnOp):
    """A column that becomes an enum, whose values the server must be told to cast."""


@renderers.dispatch_for(CastColumnOp)
def _render_cast(context: Any, op: CastColumnOp) -> str:
    plain = AlterColumnOp.__new__(AlterColumnOp)
    plain.__dict__.update(op.__dict__)
    written = renderers.dispatch(plain)(context, plain)
    modified: Any = op.modify_type
    kind = modified.dialect_impl(context.dialect).compile(context.dialect)
    many = "[]" if kind.endswith("[]") else ""
    column = context.dialect.identifier_preparer.quote(op.column_name)
    return f"{written.removesuffix(')')},\n{' ' * 11}postgresql_using={f'{column}::text{many}::{kind}'!r})"


def cast_columns(container: Any) -> None:
    """Let every change of a column's type to an enum say how values are cast."""
    for op in container.ops:
        if isinstance(op, ModifyTableOps):
            cast_columns(op)
        elif isinstance(op, AlterColumnOp) and op.modify_type is not None and native_enum(op.modify_type) is not None:
            op.__class__ = CastColumnOp


def created_enums(path: Path) -> set[str]:
    """The names of the enum types in a revision: the ones that a later revision may drop."""
    return {
        str(keyword.value.value)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in ("Enum", "ENUM")
        for keyword in node.keywords
        if keyword.arg == "name" and isinstance(keyword.value, ast.Constant)
    }


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def alter_enum(connection: Connection, name: str, values: Sequence[str], schema: str | None = None) -> None:
    """Give an enum type of PostgreSQL these members, in this order; elsewhere it does nothing.

    Members are added where that suffices; such a member cannot be used in the same revision. Otherwise the type is made anew, and every
    column that has it is rewritten; a row with a member that is gone stops it, and all stays as it was.

    Args:
        connection: ``op.get_bind()``.
        name: The type.
        values: Its members to be.
        schema: The type's, if not the default one.
    """
    if connection.dialect.name != "postgresql":
        return
    quote = connection.dialect.identifier_preparer.quote
    place = f"{quote(schema)}." if schema else ""
    kind, old = f"{place}{quote(name)}", f"{name}_before"
    inspector: Any = inspect(connection)
    found: dict[str, list[str]] = {enum["name"]: enum["labels"] for enum in inspector.get_enums(schema=schema)}
    present = list(found.get(name, ()))
    if [value for value in values if value in present] == present and present:
        for position, value in enumerate(values):
            if value not in present:
                where = f"AFTER {_literal(values[position - 1])}" if position else f"BEFORE {_literal(present[0])}"
                connection.exec_driver_sql(f"ALTER TYPE {kind} ADD VALUE IF NOT EXISTS {_literal(value)} {where}".replace("%", "%%"))
        return
    columns = connection.execute(text(_COLUMNS), {"name": name, "schema": schema}).all()
    members = ", ".join(map(_literal, values))
    statements = [f"ALTER TYPE {kind} RENAME TO {quote(old)}", f"CREATE TYPE {kind} AS ENUM ({members})"]
    for column in columns:
        many = "[]" if column.is_array else ""
        alter = f"ALTER TABLE {quote(column.nspname)}.{quote(column.relname)} ALTER COLUMN {quote(column.attname)}"
        if column.preset is not None:
            statements.append(f"{alter} DROP DEFAULT")
        statements.append(f"{alter} TYPE {kind}{many} USING {quote(column.attname)}::text{many}::{kind}{many}")
        if column.preset is not None:
            statements.append(f"{alter} SET DEFAULT {column.preset}")
    for statement in [*statements, f"DROP TYPE {place}{quote(old)}"]:
        connection.exec_driver_sql(statement.replace("%", "%%"))
