"""CHECK constraints, primary keys and what else Alembic does not compare."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import nullcontext
from decimal import Decimal, InvalidOperation
from typing import Any

from alembic.operations import ops
from alembic.util import PriorityDispatchResult, sqla_compat
from sqlalchemy import JSON, CheckConstraint, Connection, MetaData, Table, inspect
from sqlalchemy import exc as sa
from sqlalchemy.sql.elements import conv
from sqlalchemy.types import SchemaType

from infra.errors import DatabaseError

_PROBE = "infra_check_probe"


def compare_checks(
    context: Any, modify_ops: Any, schema: str | None, name: str, present: Table | None, wanted: Table | None
) -> PriorityDispatchResult:
    """Add what the CHECK constraints of one table need: by name, and by the text into which the server turns it."""
    if wanted is None:
        return PriorityDispatchResult.CONTINUE
    dialect = context.dialect
    of_columns = [one for column in wanted.columns for one in column.constraints]
    if present is None:  # a new table's own are part of it, those of its columns Alembic forgets
        modify_ops.ops += [_added(one, wanted, dialect) for one in of_columns if isinstance(one, CheckConstraint)]
        return PriorityDispatchResult.CONTINUE
    of_types = {str(column.type.name) for column in wanted.columns if isinstance(column.type, SchemaType)}
    models = [one for one in (*wanted.constraints, *of_columns) if isinstance(one, CheckConstraint) and _is_made(one, dialect)]
    texts = _as_stored(context.connection, wanted, models)
    server = [(found["name"], str(found["sqltext"])) for found in inspect(context.connection).get_check_constraints(name, schema=schema)]
    missing: list[CheckConstraint] = []
    for one, text in zip(models, texts, strict=True):
        called = sqla_compat._get_constraint_final_name(one, dialect)
        # a revision makes the constraint of a type without the naming convention
        same = next((found for found in server if found[0] is not None and found[0] == called), None) or next(
            (
                found
                for found in server
                if (one._type_bound and found[0] in of_types and str(called).endswith(str(found[0])))
                or ((not called or found[0] is None) and text is not None and _plain(found[1]) == _plain(text))
            ),
            None,
        )
        if same is None:
            missing.append(one)
            continue
        server.remove(same)
        if text is None:
            context.opts["infra_notes"].append(
                f"the text of the check constraint {called} of {wanted.fullname}, which the server cannot tell"
            )
        elif _plain(text) != _plain(same[1]):
            server.append(same)
            missing.append(one)
    for called, text in server:
        if called is None:
            context.opts["infra_drift"].append(f"a check constraint without a name of {wanted.fullname} is in no model: {text}")
            continue
        gone = CheckConstraint(text, name=conv(called))
        present.append_constraint(gone)
        modify_ops.ops.append(ops.DropConstraintOp.from_constraint(gone))
    modify_ops.ops += [_added(one, wanted, dialect) for one in missing]
    keys = [column.name for column in wanted.primary_key.columns], inspect(context.connection).get_pk_constraint(name, schema=schema)
    if set(keys[0]) != set(keys[1]["constrained_columns"]):
        context.opts["infra_drift"].append(
            f"the primary key of {wanted.fullname} is {', '.join(keys[1]['constrained_columns']) or 'missing'}, "
            f"in the models {', '.join(keys[0]) or 'none'}"
        )
    return PriorityDispatchResult.CONTINUE


def _added(one: CheckConstraint, table: Table, dialect: Any) -> Any:
    called = sqla_compat._get_constraint_final_name(one, dialect)
    alone = CheckConstraint(_text(one, dialect), name=None if called is None else conv(called))
    Table(table.name, MetaData(), schema=table.schema).append_constraint(alone)
    return ops.AddConstraintOp.from_constraint(alone)


def _text(one: CheckConstraint, dialect: Any) -> str:
    return str(one.sqltext.compile(dialect=dialect, compile_kwargs={"literal_binds": True, "include_table": False}))


def not_compared(dialect: str, tables: list[Table]) -> Iterator[str]:
    """What a comparison of this server leaves out, of what the models say or could say."""
    yield "views, triggers, functions, sequences, privileges, partitions, collations and the order of columns"
    yield "the members of enums that the server keeps as text, but for the length of the column"
    for table in tables:
        for index in table.indexes:
            if any(name.endswith("_where") and value is not None for name, value in index.kwargs.items() if isinstance(name, str)):
                yield f"the condition of the index {index.name} of {table.fullname}"
            if dialect != "postgresql" and any(not hasattr(part, "table") for part in index.expressions):
                yield f"the expressions of the index {index.name} of {table.fullname}"
        if dialect == "sqlite" and (table.comment or any(column.comment for column in table.columns)):
            yield f"the comments of {table.fullname}, which SQLite has none of"


def _is_made(one: CheckConstraint, dialect: Any) -> bool:
    rule = one._create_rule
    return rule is None or bool(rule(dialect.ddl_compiler(dialect, None)))


def _as_stored(connection: Connection, table: Table, models: list[CheckConstraint]) -> list[str | None]:
    """Each constraint as the server would give it back: it is made on a temporary copy of the table, and taken away again."""
    dialect = connection.dialect
    plain = [_text(one, dialect) for one in models]
    if dialect.name == "sqlite" or not models:
        return list(plain)
    quote, full = dialect.identifier_preparer.quote, dialect.identifier_preparer.format_table(table)
    like = f"(LIKE {full})" if dialect.name == "postgresql" else f"LIKE {full}"
    return [_stored(connection, like, f"ADD CONSTRAINT {quote(_PROBE)} CHECK ({text})".replace("%", "%%")) for text in plain]


def _stored(connection: Connection, like: str, addition: str) -> str | None:
    postgres = connection.dialect.name == "postgresql"
    try:
        with connection.begin_nested() if postgres else nullcontext() as savepoint:
            connection.exec_driver_sql(f"CREATE TEMPORARY TABLE {_PROBE} {like}")
            try:
                connection.exec_driver_sql(f"ALTER TABLE {_PROBE} {addition}")
                stored = {one["name"]: str(one["sqltext"]) for one in inspect(connection).get_check_constraints(_PROBE)}
            finally:
                if not postgres:
                    connection.exec_driver_sql(f"DROP TEMPORARY TABLE {_PROBE}")
            if savepoint is not None:
                savepoint.rollback()
    except (DatabaseError, sa.DBAPIError):
        return None
    return stored.get(_PROBE)


def _plain(text: str) -> str:
    words = re.sub(r'["`\[\]]', "", " ".join(text.split())).strip()
    while words.startswith("(") and words.endswith(")") and _encloses(words):
        words = words[1:-1].strip()
    return re.sub(r"\s*([(),])\s*", r"\1", words)


def _encloses(text: str) -> bool:
    depth = 0
    for position, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return position == len(text) - 1
    return False


def default_differs(context: Any, _present: Any, wanted: Any, stored: str | None, default: Any, rendered: str | None) -> bool | None:
    """Alembic's ``compare_server_default``: what a server writes in another way is the same; None leaves the rest to Alembic."""
    text = getattr(default, "arg", None)
    if stored is None or text is None or rendered is None:
        return None
    literal = "'" + text.replace("'", "''") + "'" if isinstance(text, str) else rendered
    plain = re.sub(r"::[\w \"]+(?:\(\d+\))?$", "", stored)
    if plain in (literal, rendered) or _value(plain) == _value(literal):
        return False
    if context.dialect.name != "postgresql" or (isinstance(text, str) and "'" in text) or isinstance(wanted.type, JSON):
        return True
    return None


def _value(default: str) -> object:
    """A default as far as servers differ in writing it: numbers, booleans, and the names of the present time."""
    text = default.strip().strip("'").lower()
    while text.startswith("(") and text.endswith(")") and _encloses(text):
        text = text[1:-1]
    text = re.sub(r"^(?:now|current_timestamp|localtimestamp|localtime)\b(?:\(\))?", "current_timestamp", text)
    try:
        return Decimal({"true": "1", "false": "0"}.get(text, text))
    except InvalidOperation:
        return text if text.startswith("current_timestamp") else default
