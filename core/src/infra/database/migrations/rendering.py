"""How the types of columns are written into a revision, with the imports that they need."""

# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

import importlib
import sys
from typing import Any, cast

from alembic.autogenerate import render as alembic_render
from sqlalchemy import Enum
from sqlalchemy.types import ARRAY, TypeDecorator, TypeEngine

from infra.database.migrations.errors import MigrationError
from infra.database.models import UTCDateTime


def render(kind: str, item: Any, context: Any) -> str | bool:
    """Alembic's ``render_item``: the text for a type, False for what Alembic itself writes.

    Raises:
        MigrationError: A type can neither be imported nor replaced by what it stands for.
    """
    if kind != "type":
        return False
    base = _render_base(item, context)
    if base is False:
        return False
    for dialect, variant in sorted(item._variant_mapping.items()):
        base += f".with_variant({_repr_type(variant, context)}, {dialect!r})"
    return base


def native_enum(kind: Any, dialect: str = "postgresql") -> Enum | None:
    """The enum type of the server's that values of a column type have, beneath decorators and arrays; None when there is none."""
    while True:
        kind = kind._variant_mapping.get(dialect, kind)
        if isinstance(kind, TypeDecorator):
            kind = kind.impl_instance
        elif isinstance(kind, ARRAY):
            kind = cast("Any", kind).item_type
        else:
            return kind if isinstance(kind, Enum) and kind.native_enum and kind.name else None


def write_enum(name: str, values: Any, schema: str | None, *, create_type: bool = True) -> str:
    """The text that makes an enum type."""
    words = [*map(repr, map(str, values)), f"name={str(name)!r}"]
    if schema:
        words.append(f"schema={schema!r}")
    if not create_type:
        words.append("create_type=False")  # a statement of the revision's own makes it, once for all tables
    return f"sa.Enum({', '.join(words)})"


_repr_type: Any = cast("Any", alembic_render)._repr_type


def _render_base(item: Any, context: Any) -> Any:
    if isinstance(item, UTCDateTime):
        context.imports.add("from infra.database.models import UTCDateTime")
        return "UTCDateTime()"
    enum = native_enum(item) if context.dialect.name == "postgresql" and not isinstance(item, ARRAY) else None
    if enum is not None and not (isinstance(item, TypeDecorator) and isinstance(item.impl_instance, ARRAY)):
        return write_enum(enum.name or "", enum.enums, enum.schema, create_type=False)
    kind = type(item)
    if kind.__module__.startswith("sqlalchemy."):
        return False
    path = f"{kind.__module__}.{kind.__qualname__}"
    if _importable(kind):
        _, opening, arguments = repr(item).partition("(")
        for text in (f"{path}{opening}{arguments}" if opening else f"{path}()", f"{path}()"):
            if _makes(text, item, context.dialect):
                context.imports.add(f"import {kind.__module__}")
                return text
    if isinstance(item, TypeDecorator):
        return _repr_type(item.load_dialect_impl(context.dialect), context)  # the same column for the server
    raise MigrationError(
        f"the type {path} cannot be written into a revision: it cannot be imported and made again",
        operation="revision",
        remedy="define it at the top of a module, with a __repr__ that shows the arguments which make it",
    )


def _importable(kind: type) -> bool:
    if kind.__module__ == "__main__":
        return False
    found: Any = sys.modules.get(kind.__module__)
    for part in kind.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is kind


def _makes(text: str, item: TypeEngine[Any], dialect: Any) -> bool:
    module = type(item).__module__
    try:
        importlib.import_module(module)
        made = eval(text, {module.partition(".")[0]: sys.modules[module.partition(".")[0]]})  # noqa: S307 - a type's own repr
        return made.compile(dialect) == item.compile(dialect)
    except Exception:  # an argument may be missing or unwritable, and the type's own code may raise anything
        return False
