"""Types that a dialect writes otherwise where a column is part of a key."""

from __future__ import annotations

from typing import Any

from sqlalchemy import REAL, Column, Double, Integer, String


def differs(context: Any, inspected: Any, column: Column[Any], inspected_type: Any, model_type: Any) -> bool | None:  # noqa: ARG001 - Alembic's
    """Whether a column's type is another one than the model's, for Alembic; None leaves it to Alembic's own comparison."""
    dialect = context.dialect
    if dialect.name == "sqlite" and isinstance(inspected_type, Integer) and model_type._type_affinity is Integer:
        return False  # every INTEGER there has 64 bits
    if dialect.name in ("mysql", "mariadb") and isinstance(model_type, REAL) and isinstance(inspected_type, Double):
        return False  # two names of one
    if isinstance(model_type, String) and model_type.length is None and dialect.name in ("mysql", "mariadb"):
        compiler = dialect.type_compiler_instance
        wanted, found = compiler.process(model_type, type_expression=column), compiler.process(inspected_type)
        if str(wanted).split()[0] == str(found).split()[0]:
            return False
    return None
