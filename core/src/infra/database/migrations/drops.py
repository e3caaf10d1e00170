"""Finding what a migration would destroy, before it runs."""

from __future__ import annotations

import ast
import re
from pathlib import Path

_CALLS = frozenset({"drop_table", "drop_column"})
_SQL = re.compile(r"\b(?:DROP\s+(?:TABLE|COLUMN|SCHEMA|DATABASE|MATERIALIZED\s+VIEW)|TRUNCATE)\b", re.IGNORECASE)


def drops(path: Path, direction: str) -> list[str]:
    """The calls and SQL texts in a revision that drop data, as ``line: text``.

    The whole module counts except the function of the other direction, so that its own helper functions are seen. Dropping an index or a
    constraint loses no data.

    Args:
        path: The revision's file.
        direction: ``upgrade`` or ``downgrade``.
    """
    other = "downgrade" if direction == "upgrade" else "upgrade"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    body = [node for node in tree.body if not (isinstance(node, ast.FunctionDef) and node.name == other)]
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.FunctionDef) and node.body and isinstance(node.body[0], ast.Expr)
    }
    found: list[tuple[int, str]] = []
    for top in body:
        for node in ast.walk(top):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _CALLS:
                found.append((node.lineno, ast.unparse(node)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings and _SQL.search(node.value):
                found.append((node.lineno, " ".join(node.value.split())))
    return [f"{line}: {text[:100]}" for line, text in sorted(found)]


def created(path: Path) -> set[str]:
    """The names of the tables that a revision creates: the ones that a later revision may drop."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        str(node.args[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "create_table"
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }
