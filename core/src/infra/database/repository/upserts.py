"""The server's own upsert as one statement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Insert, Table
from sqlalchemy.dialects import mysql, postgresql, sqlite

from infra.database.repository.errors import UniqueKeyError
from infra.database.repository.mapping import ModelMap
from infra.database.repository.rows import Groups
from infra.errors import UnsupportedError


def statement(dialect: str, table: Table, keys: Sequence[str], update: Sequence[str], fixed: Mapping[str, Any]) -> Insert:
    """INSERT, or UPDATE of the row that has the same values in `keys`.

    Args:
        dialect: SQLAlchemy's name of the server.
        table: The table.
        keys: The columns of a unique key.
        update: Columns that take the new row's values on conflict; with none, and nothing fixed, the old row stays as it is.
        fixed: Columns with expressions or values of their own on conflict.
    """
    if dialect in ("postgresql", "sqlite"):
        insert = (postgresql.insert if dialect == "postgresql" else sqlite.insert)(table)
        elements = [table.c[key] for key in keys]
        if not update and not fixed:
            return insert.on_conflict_do_nothing(index_elements=elements)
        return insert.on_conflict_do_update(index_elements=elements, set_={name: insert.excluded[name] for name in update} | dict(fixed))
    if dialect in ("mysql", "mariadb"):
        into = mysql.insert(table)
        changes: dict[str, Any] = {name: into.inserted[name] for name in update} | dict(fixed)
        return into.on_duplicate_key_update(changes or {keys[0]: table.c[keys[0]]})
    raise UnsupportedError(f"no upsert is known for {dialect}", operation="upsert_many", remedy="write it as SQL for that server")


def prove_key(models: ModelMap[Any], keys: Sequence[str], groups: Groups, dialect: str) -> None:
    """Check that `keys` are exactly a unique key, and that no other one can conflict unnoticed.

    Raises:
        UnknownFieldError: A key names no column.
        UniqueKeyError: They are no unique key, or the server would also match another one (MySQL and MariaDB match any).
    """
    for key in keys:
        models.column(key, "upsert_many")
    known = models.unique_keys()
    if frozenset(keys) not in known:
        listed = " or ".join(f"({', '.join(sorted(key))})" for key in known)
        raise UniqueKeyError(
            f"{models.name} has no unique key over exactly ({', '.join(keys)})",
            operation="upsert_many",
            remedy=f"use {listed}, or add a unique constraint",
        )
    if dialect not in ("mysql", "mariadb"):
        return
    given = {column for columns in groups for column in columns}
    for other in known:
        if other != frozenset(keys) and {models.plan.column_keys[name] for name in other} <= given:
            raise UniqueKeyError(
                f"{models.name} has another unique key over ({', '.join(sorted(other))}), on which {dialect} would update a row as well",
                operation="upsert_many",
                remedy="leave its columns out of the rows, or update rows one by one",
            )


def distinct(rows: list[dict[str, Any]], keys: Sequence[str]) -> list[dict[str, Any]]:
    """The rows without those that a later one replaces. PostgreSQL refuses to touch a row twice in one statement.

    Raises:
        UniqueKeyError: A row has no value in a key column: NULL never conflicts, so that it would be inserted again and again.
    """
    columns = [[row.get(name) for row in rows] for name in keys]
    for name, column in zip(keys, columns, strict=True):
        if None in column:
            raise UniqueKeyError(
                f"a row has no value for {name}, which is part of its key",
                operation="upsert_many",
                remedy="give every row a value in each key column",
            )
    identities = columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))
    last = dict(zip(identities, rows, strict=True))
    return list(last.values()) if len(last) < len(rows) else rows


class _Context:
    """What an `onupdate` function with a parameter may ask: the values of its row."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        self.current_parameters = row

    def get_current_parameters(self, isolate_multiinsert_groups: bool = True) -> Mapping[str, Any]:  # noqa: ARG002 - SQLAlchemy's signature
        return self.current_parameters


def changes(
    models: ModelMap[Any], given: Sequence[str], keys: Sequence[str], chosen: Sequence[str] | None, row: Mapping[str, Any]
) -> tuple[list[str], dict[str, Any]]:
    """What a conflict changes: the columns that take the new row's values, and those with values of their own.

    Beside the given columns, or the `chosen` ones, an update stamps ``updated_at`` and the like, counts the version up and revives a
    soft-deleted row.
    """
    plan = models.plan
    protected = {plan.column_keys[name] for name in (*models.primary_key, *keys)}
    fixed: dict[str, Any] = {}
    if models.version is not None:
        version = plan.column_keys[models.version]
        fixed[version] = plan.table.c[version] + 1
    if chosen is None:
        update = [column for column in given if column not in protected]
    else:
        update = [plan.column_keys[models.column(name, "upsert_many").key] for name in chosen]
    if not update and (chosen is not None or not models.soft_delete):
        return [], {}
    defaulted = {column for column, _, _ in plan.defaults}
    for column, change in plan.on_update_in_context.items():
        if column not in update:
            fixed[column] = change(_Context(row))
    for column, make in plan.on_update.items():
        if column in update:  # a value that the caller gives
            continue
        if column in defaulted:
            update.append(column)
        else:
            fixed[column] = make()
    if models.soft_delete:
        update.append(plan.column_keys["deleted_at"])
    return [column for column in dict.fromkeys(update) if column not in fixed], fixed
