"""Finding what a migration would destroy: in its file before anything runs, and in each statement that runs after all."""

# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

import ast
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from alembic.script import Script
from sqlalchemy import Connection, event
from sqlalchemy.types import TypeEngine, to_instance

from infra.database.migrations.errors import DropRefusedError
from infra.database.migrations.losses import loses, retypes
from infra.database.migrations.widening import widens

_CALLS: Final = frozenset({"drop_table", "drop_column", "drop_all", "delete"})
_BATCH: Final = "_alembic_tmp_"
_HOLE: Final = " some_name "


def drops(step: Script, direction: str) -> list[str]:
    """The calls and SQL texts in a revision that can lose data, as ``line: text``.

    The whole module counts except the function of the other direction, so that its own helper functions are seen. Dropping an index or a
    constraint loses no data, and neither does a type that holds every value of the one before.

    Args:
        step: The revision.
        direction: ``upgrade`` or ``downgrade``.
    """
    other = "downgrade" if direction == "upgrade" else "upgrade"
    tree = ast.parse(Path(step.path).read_text(encoding="utf-8"))
    body = [node for node in tree.body if not (isinstance(node, ast.FunctionDef) and node.name == other)]
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.FunctionDef) and node.body and isinstance(node.body[0], ast.Expr)
    }
    found: dict[int, str] = {}
    for top in body:
        for node in ast.walk(top):
            if isinstance(node, ast.Call) and (_name(node) in _CALLS or _narrows(node, step.module)):
                found.setdefault(node.lineno, " ".join(ast.unparse(node).split()))
            elif id(node) not in docstrings and (sql := _text(node)) is not None and (loses(sql) or retypes(sql)):
                found.setdefault(getattr(node, "lineno", 0), " ".join(sql.split()))
    return [f"{line}: {text[:100]}" for line, text in sorted(found.items())]


def created(path: Path) -> set[str]:
    """The names of the tables that a revision creates: the ones that a later revision may drop."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        str(node.args[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and _name(node) == "create_table" and node.args and isinstance(node.args[0], ast.Constant)
    }


@contextmanager
def guarded(connection: Connection, version_table: str, refused: type[DropRefusedError], **fields: Any) -> Generator[None]:
    """Refuse each statement on `connection` that can lose data: what a file did not show, such as SQL that is put together when it runs.

    The moves by which SQLite changes a table pass when they copy every column; so does the table of versions.
    """
    copied: dict[str, str] = {}

    def look(live: Connection, _cursor: Any, statement: str, *_rest: Any) -> None:
        move = re.match(rf'\s*INSERT INTO "?{_BATCH}(\w+)', statement)
        if move is not None:
            copied[move[1]] = statement
        if not loses(statement) or re.match(rf'\s*(?:DELETE FROM|DROP TABLE) ["`]?{version_table}\b', statement):
            return
        dropped = re.match(r'\s*DROP TABLE "?([^";]+)"?\s*$', statement)
        table = None if dropped is None else dropped[1]
        lost = list(_left_behind(live, table, copied[table])) if table in copied else None  # type: ignore[index]
        if lost == []:
            return
        what = " ".join(statement.split())[:100] if lost is None else f"a new form of the table {table} without {', '.join(lost)}"
        raise refused(f"it would drop data: {what}", **fields)

    event.listen(connection, "before_cursor_execute", look)
    try:
        yield
    finally:
        event.remove(connection, "before_cursor_execute", look)


def _left_behind(connection: Connection, table: str | None, copy: str) -> Iterator[str]:
    cursor = connection.connection.cursor()
    try:
        cursor.execute(f'PRAGMA table_info("{table}")')
        names = [str(row[1]) for row in cursor.fetchall()]
    finally:
        cursor.close()
    _, _, chosen = copy.partition("SELECT ")
    for name in names:
        if re.search(rf'[."]{re.escape(name)}(?!\w)', chosen) is None:
            yield name


def _name(call: ast.Call) -> str | None:
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else None


def _narrows(call: ast.Call, module: Any) -> bool:
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    if _name(call) != "alter_column" or "type_" not in given:
        return False
    new = _evaluated(given["type_"], module)
    return new is None or not widens(_evaluated(given.get("existing_type"), module), new)


def _evaluated(node: ast.expr | None, module: Any) -> TypeEngine[Any] | None:
    if node is None:
        return None
    try:  # the revision's own text, in its own module: it has been imported already
        return to_instance(eval(ast.unparse(node), dict(vars(module))))  # noqa: S307
    except Exception:  # it needs what is known only when it runs
        return None


def _text(node: ast.AST) -> str | None:
    """The text that an expression makes, with a name in place of what is known only when it runs."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) or _HOLE for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _text(node.left), _text(node.right)
        return None if left is None and right is None else (left or _HOLE) + (right or _HOLE)
    return None
