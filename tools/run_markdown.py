"""Run the code blocks of a Markdown page, in order, in the working directory.

    python tools/run_markdown.py docs/tutorial.md

The info string of a block says what happens to it:

- ```` ```python ````               runs, in one namespace a page; top-level ``await`` works
- ```` ```python file=app.py ````    is written to that file (any language), and not run
- ```` ```console ````              each line after ``$ `` runs in a shell and must succeed; ``exit=3`` expects that status instead. The
  lines below a command must all appear in its output, in order; ``...`` matches anything.
- everything else (``text``, ``toml`` without ``file=``) is not run.
"""

from __future__ import annotations

import ast
import asyncio
import builtins
import inspect
import os
import re
import subprocess
import sys
import types
from pathlib import Path

BLOCK = re.compile(r"^(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<body>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)


def main(page: Path) -> None:
    """Run one page."""
    namespace = types.ModuleType("page")
    namespace.__dict__["__builtins__"] = builtins
    sys.modules["page"] = namespace
    sys.path.insert(0, str(Path.cwd()))
    text = page.read_text()
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    for match in BLOCK.finditer(text):
        info = match["info"].split()
        options = dict(word.split("=", 1) for word in info if "=" in word)
        body = re.sub(rf"^{match['indent']}", "", match["body"], flags=re.MULTILINE)
        line = text.count("\n", 0, match.start()) + 2
        if "file" in options:
            target = Path(options["file"])
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(body)
        elif info[:1] == ["python"]:
            run_python(body, f"{page.name}", line, namespace.__dict__, loop)
        elif info[:1] == ["console"]:
            run_console(body, int(options.get("exit", 0)), f"{page.name}:{line}")
    loop.close()


def run_python(body: str, name: str, line: int, namespace: dict[str, object], loop: asyncio.AbstractEventLoop) -> None:
    """Execute a block; its line numbers are those of the page."""
    code = compile("\n" * (line - 1) + body, name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    result = types.FunctionType(code, namespace)()
    if inspect.iscoroutine(result):
        loop.run_until_complete(result)


def run_console(body: str, expected_status: int, where: str) -> None:
    """Run the commands of a block and compare what they print."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for step in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
        command, _, expected = step.partition("\n")
        done = subprocess.run(command, shell=True, capture_output=True, text=True, env=environment)
        output = done.stdout + done.stderr
        if done.returncode != expected_status:
            raise SystemExit(f"{where}: `{command}` ended with {done.returncode}, not {expected_status}:\n{output}")
        pattern = ".*".join(re.escape(part.strip()) for part in re.split(r"\.\.\.|\n", expected) if part.strip())
        if not re.search(pattern, output, re.DOTALL):
            raise SystemExit(f"{where}: `{command}` printed\n{output}\nwhere the page says\n{expected}")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
