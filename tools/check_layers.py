"""Fail when a room of the kernel, or a plugin, imports what it may not.

    python tools/check_layers.py

Imports for types alone (``if TYPE_CHECKING``) are free, except of web and cli.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOUNDATION = {"errors", "plugin", "driver", "runtime", "resource", "kernel", "telemetry"}
CAPABILITIES = {"database", "llm", "storage", "queue", "cache"}
SURFACES = {"web", "cli"}
EVERYTHING = FOUNDATION | CAPABILITIES | SURFACES | {"events", "compat", ""}

#: What each room may import besides itself. "" is `infra` itself.
MAY: dict[str, set[str]] = {
    "": FOUNDATION | CAPABILITIES | {"events", "compat"},
    "errors": set(),
    "driver": {"errors", "plugin", "runtime"},
    "plugin": {"errors", "driver", "kernel", "runtime"},
    "runtime": {"errors", "telemetry"},
    "telemetry": {"errors", "plugin", "runtime"},
    "resource": FOUNDATION,
    "kernel": FOUNDATION | {""},
    "database": FOUNDATION,
    "llm": FOUNDATION | {"cache"},
    "storage": FOUNDATION,
    "queue": FOUNDATION,
    "cache": FOUNDATION,
    "events": FOUNDATION | {"queue", "database"},
    "compat": EVERYTHING - SURFACES,
    "web": EVERYTHING,
    "cli": EVERYTHING,
}
#: Ways that only some files of a room may take: the outbox stores messages; the doors hand out portable objects, imported on use.
ONLY = {"queue.model": "/database/outbox", **dict.fromkeys(CAPABILITIES, "/kernel/services/")}


def imports(tree: ast.AST, package: str) -> Iterator[tuple[int, str, bool]]:
    """Line, absolute module and whether it is for types alone, of every import below `tree`."""
    typing = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for child in node.body
        for inner in ast.walk(child)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, id(node) in typing
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                module = ".".join([*package.split(".")[: len(package.split(".")) - node.level + 1], *filter(None, [module])])
            for alias in node.names:
                yield node.lineno, f"{module}.{alias.name}", id(node) in typing


def room_of(path: Path, source: Path) -> str:
    """The room that a file of the kernel belongs to."""
    parts = path.relative_to(source).with_suffix("").parts
    return "" if parts == ("__init__",) else parts[0]


def check_kernel(root: Path) -> Iterator[str]:
    """What the kernel's rooms import wrongly."""
    source = root / "core" / "src" / "infra"
    for path in sorted(source.rglob("*.py")):
        room = room_of(path, source)
        where = path.relative_to(root)
        if room not in MAY:
            yield f"{where}: tools/check_layers.py does not know the room {room!r}"
            continue
        package = ".".join(("infra", *path.relative_to(source).parent.parts))
        for line, module, typing in imports(ast.parse(path.read_text()), package):
            top, _, rest = module.partition(".")
            if top.startswith("infra_"):
                yield f"{where}:{line}: the kernel imports no plugin ({module})"
            if top != "infra" or rest.partition(".")[0] == room:
                continue
            target = rest.partition(".")[0]
            target = target if target in MAY else ""
            if target in SURFACES and room not in SURFACES:
                yield f"{where}:{line}: {room or 'infra'} imports {module}; nothing imports {target}"
            elif typing or target == room or target in MAY[room]:
                continue
            elif not any(place in path.as_posix() for way, place in ONLY.items() if f"{rest}.".startswith(f"{way}.")):
                yield f"{where}:{line}: {room or 'infra'} may not import {module}"


def check_plugins(root: Path) -> Iterator[str]:
    """What plugins import wrongly: other plugins, or the surfaces."""
    for source in sorted(root.glob("plugins/*/src/*")):
        for path in sorted(source.rglob("*.py")):
            package = ".".join(path.relative_to(source.parent).parent.parts)
            for line, module, _ in imports(ast.parse(path.read_text()), package):
                top, _, rest = module.partition(".")
                if top.startswith("infra_") and top != source.name:
                    yield f"{path.relative_to(root)}:{line}: a plugin imports no other plugin ({module})"
                if top == "infra" and rest.partition(".")[0] in SURFACES:
                    yield f"{path.relative_to(root)}:{line}: a plugin imports neither web nor cli ({module})"


def main() -> None:
    """Print each breach; fail when there is one."""
    breaches = [*check_kernel(ROOT), *check_plugins(ROOT)]
    print("\n".join(breaches) or "layers: clean")
    sys.exit(bool(breaches))


if __name__ == "__main__":
    main()
