"""Generate every ``_sync.py`` from the ``_async.py`` beside it.

    python tools/generate_sync.py            write the files
    python tools/generate_sync.py --check    fail when one differs

The rules, applied to the syntax tree (comments and layout survive):

- ``async def/for/with`` and ``await`` lose their keyword; ``AsyncX`` becomes ``X``; see NAMES and MODULES for the other names.
- ``infra.runtime.aio`` becomes ``infra.runtime.threads``; a module ``..._async`` becomes ``..._sync``.
- ``# async-only: begin`` to ``# async-only: end`` (comment lines) is left out; ``# sync-only: <code>`` is put in without its mark.
- In strings (docstrings too) the names are replaced as well.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import libcst as cst

ROOT = Path(__file__).resolve().parent.parent
HEADER = "# Generated from {source} by tools/generate_sync.py: edit that file, then run `make sync`.\n"

NAMES = {
    "AbstractAsyncContextManager": "AbstractContextManager",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
    "StopAsyncIteration": "StopIteration",
    "aclosing": "closing",
    "aclose": "close",
    "aiter": "iter",
    "anext": "next",
    "asynccontextmanager": "contextmanager",
    "enter_async_context": "enter_context",
    "push_async_callback": "callback",
    "open_async": "open",
    "open_driver_async": "open_driver",
    "portable_async": "portable",
    "run_async": "run_sync",
    "async_sessionmaker": "sessionmaker",
    "create_async_engine": "create_engine",
    "pytest_asyncio": "pytest",
    "is_async": "is_async",
}
# `from MODULE import ...` whose module changes with the names.
MODULES = {
    "sqlalchemy.ext.asyncio": {
        "AsyncEngine": "sqlalchemy",
        "AsyncConnection": "sqlalchemy",
        "create_async_engine": "sqlalchemy",
        None: "sqlalchemy.orm",
    },
    "infra.runtime.aio": {None: "infra.runtime.threads"},
}
TYPES = {"Awaitable", "Coroutine"}  # Awaitable[T] becomes T; Coroutine[Any, Any, T] becomes T


def rename(name: str) -> str:
    """The blocking twin's name of `name`."""
    if name in NAMES:
        return NAMES[name]
    if re.match(r"^_?Async[A-Z]", name):
        return name.replace("Async", "", 1)
    if name.endswith("_async"):
        return name.removesuffix("_async") + "_sync"
    return name


def rename_text(text: str) -> str:
    """Names within a string or comment."""
    text = text.replace("infra.runtime.aio", "infra.runtime.threads")
    text = re.sub(r"\b_?Async[A-Z]\w*\b|\b\w+_async\b|\b__a(?:enter|exit|iter|next)__\b", lambda match: rename(match.group()), text)
    return re.sub(r"\b(async (?=for|with|def)|await (?=\w))", "", text)


class ToSync(cst.CSTTransformer):
    """Rewrites an asyncio module into its blocking twin."""

    def leave_FunctionDef(self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef) -> cst.FunctionDef:
        return updated_node.with_changes(asynchronous=None)

    def leave_With(self, original_node: cst.With, updated_node: cst.With) -> cst.With:
        return updated_node.with_changes(asynchronous=None)

    def leave_For(self, original_node: cst.For, updated_node: cst.For) -> cst.For:
        return updated_node.with_changes(asynchronous=None)

    def leave_CompFor(self, original_node: cst.CompFor, updated_node: cst.CompFor) -> cst.CompFor:
        return updated_node.with_changes(asynchronous=None)

    def leave_Await(self, original_node: cst.Await, updated_node: cst.Await) -> cst.BaseExpression:
        inner = updated_node.expression
        return inner.with_changes(lpar=[*updated_node.lpar, *inner.lpar], rpar=[*inner.rpar, *updated_node.rpar])

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.Name:
        return updated_node.with_changes(value=rename(updated_node.value))

    def leave_Subscript(self, original_node: cst.Subscript, updated_node: cst.Subscript) -> cst.BaseExpression:
        if isinstance(original_node.value, cst.Name) and original_node.value.value in TYPES:
            last = updated_node.slice[-1].slice
            if isinstance(last, cst.Index):
                return last.value
        return updated_node

    def leave_SimpleString(self, original_node: cst.SimpleString, updated_node: cst.SimpleString) -> cst.SimpleString:
        return updated_node.with_changes(value=rename_text(updated_node.value))

    def leave_FormattedStringText(
        self, original_node: cst.FormattedStringText, updated_node: cst.FormattedStringText
    ) -> cst.FormattedStringText:
        return updated_node.with_changes(value=rename_text(updated_node.value))

    def leave_Comment(self, original_node: cst.Comment, updated_node: cst.Comment) -> cst.Comment:
        return updated_node.with_changes(value=rename_text(updated_node.value))

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> cst.BaseStatement | cst.FlattenSentinel[cst.BaseStatement]:
        first = original_node.body[0]
        if not isinstance(first, cst.ImportFrom) or first.module is None or isinstance(first.names, cst.ImportStar):
            return updated_node
        module = cst.Module([]).code_for_node(first.module)
        module = re.sub(r"_async\b", "_sync", module)
        targets = MODULES.get(module)
        groups: dict[str, list[str]] = {}
        for alias in first.names:
            name = cst.ensure_type(alias.name, cst.Name).value
            if module == "collections.abc" and name in TYPES:
                continue
            asname = f" as {rename(cst.ensure_type(alias.asname.name, cst.Name).value)}" if alias.asname else ""
            target = module if targets is None else targets.get(name, targets[None])
            text = rename(name) + asname
            if text not in groups.setdefault(target, []):
                groups[target].append(text)
        lines = [cst.parse_statement(f"from {target} import {', '.join(names)}\n") for target, names in groups.items() if names]
        if not lines:
            return cst.RemovalSentinel.REMOVE  # type: ignore[return-value]
        lines[0] = cst.ensure_type(lines[0], cst.SimpleStatementLine).with_changes(leading_lines=updated_node.leading_lines)
        return cst.FlattenSentinel(lines)


def prepare(source: str) -> str:
    """Apply the marks for code that only one side has."""
    source = re.sub(r"^[ \t]*# async-only: begin\n.*?^[ \t]*# async-only: end\n", "", source, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"^([ \t]*)# sync-only: ?", r"\1", source, flags=re.MULTILINE)


def generate(path: Path) -> str:
    """The text of the blocking twin of the module at `path`."""
    module = cst.parse_module(prepare(path.read_text()))
    text = HEADER.format(source=path.name) + module.visit(ToSync()).code
    for command in (["check", "--select", "I,F401,UP034", "--fix", "--quiet"], ["format", "--quiet"]):
        name = ["--stdin-filename", str(path.with_name(path.name.replace("_async", "_sync")))]
        done = subprocess.run([sys.executable, "-m", "ruff", *command, *name, "-"], input=text, capture_output=True, text=True, cwd=ROOT)
        if done.returncode and command[0] == "format":
            raise SystemExit(f"{path}: ruff {command[0]} failed: {done.stderr or done.stdout}")
        text = done.stdout or text
    return text


def sources() -> list[Path]:
    """Every hand-written asyncio module that has a generated twin."""
    found: list[Path] = []
    for top in ("core", "plugins", "tests", "examples", "bench"):
        for pattern in ("*_async.py", "_async/*.py"):
            found += [path for path in (ROOT / top).rglob(pattern) if ".venv" not in path.parts]
    return sorted(found)


def twin(path: Path) -> Path:
    """Where the generated twin of `path` stands."""
    parts = [part.replace("_async", "_sync") if part in ("_async", path.name) else part for part in path.parts]
    return Path(*parts)


def main() -> None:
    """Write or check all twins; with names, only those below the given folders."""
    check = "--check" in sys.argv
    only = [Path(name).resolve() for name in sys.argv[1:] if not name.startswith("-")]
    stale: list[str] = []
    for path in sources():
        if only and not any(path.is_relative_to(top) for top in only):
            continue
        text, target = generate(path), twin(path)
        if target.exists() and target.read_text() == text:
            continue
        if check:
            stale.append(str(target.relative_to(ROOT)))
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
            print(f"wrote {target.relative_to(ROOT)}")
    if stale:
        raise SystemExit("not as generated: " + ", ".join(stale) + "\nrun `make sync`")


if __name__ == "__main__":
    main()
