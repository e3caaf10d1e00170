"""How a schema differs from its models, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from sqlalchemy import DefaultClause


def describe(differences: object) -> Iterator[str]:
    """One sentence for each difference that Alembic's ``compare_metadata`` found."""
    for item in cast("list[Any]", differences):
        if isinstance(item, list):
            yield from describe(cast("object", item))
            continue
        kind: str = item[0]
        if kind == "add_table":
            yield f"the table {item[1].fullname} is missing"
        elif kind == "remove_table":
            yield f"the table {item[1].fullname} is in no model any more"
        elif kind in ("add_column", "remove_column"):
            name = f"{item[2]}.{item[3].name}"
            yield f"the column {name} is missing" if kind == "add_column" else f"the column {name} is in no model"
        elif kind == "schema":
            yield f"the schema {item[1]} is missing"
        elif kind == "enum":
            yield f"the enum type {item[1]} is {_members(item[2])}, in the models {_members(item[3])}"
        elif kind.startswith("modify_"):
            what = kind.removeprefix("modify_").replace("_", " ")
            yield f"the {what} of {item[2]}.{item[3]} is {_told(item[5])}, in the models {_told(item[6])}"
        else:
            action, _, what = kind.partition("_")
            name = getattr(item[1], "name", None) or "without a name"
            table = getattr(getattr(item[1], "table", None), "fullname", "?")
            what = {"fk": "foreign key"}.get(what, what.replace("_", " "))
            yield f"the {what} {name} of {table} is " + ("missing" if action == "add" else "in no model")


def _members(values: tuple[str, ...] | None) -> str:
    return "missing" if values is None else f"({', '.join(values)})"


def _told(value: Any) -> str:
    return repr(str(value.arg)) if isinstance(value, DefaultClause) else repr(value)
