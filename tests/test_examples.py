"""The examples' own tests pass, run as their readers would: from the example's folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted(path.parent for path in (Path(__file__).parent.parent / "examples").glob("*/pyproject.toml"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_the_example_passes_its_suite(example: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "INFRA_"))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=example,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_example_driver_is_small() -> None:
    """A provider is one small driver: its code, without blank lines, comments and docstrings."""
    import ast

    tree = ast.parse((EXAMPLES[0].parent / "infra_dictfile" / "src" / "infra_dictfile" / "driver.py").read_text())
    lines = {node.lineno for node in ast.walk(tree) if isinstance(node, ast.stmt) and not _is_docstring(node)}
    assert len(lines) <= 70


def _is_docstring(node: object) -> bool:
    import ast

    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
