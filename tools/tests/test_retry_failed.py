"""What failed is run once more, and a flake is told with its first failure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parent.parent / "retry_failed.py"
MAKEFILE = f"test:\n\t@{sys.executable} -m pytest $(ARGS)\n"
FLAKY = """
from pathlib import Path

def test_flaky_{0}(request):
    before = Path(__file__).with_suffix(".{0}")
    seen = before.exists()
    before.touch()
    assert seen, "the first failure of {0}"
"""


def run(folder: Path, body: str) -> subprocess.CompletedProcess[str]:
    (folder / "tools").mkdir()
    (folder / "tools" / TOOL.name).write_bytes(TOOL.read_bytes())
    (folder / "Makefile").write_text(MAKEFILE)
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_it.py").write_text(body)
    return subprocess.run([sys.executable, f"tools/{TOOL.name}"], cwd=folder, capture_output=True, text=True, timeout=120)


def test_a_flake_is_told_with_its_first_failure(tmp_path: Path) -> None:
    done = run(tmp_path, "def test_well():\n    pass\n" + FLAKY.format("one"))
    assert done.returncode == 0
    told = done.stdout.partition("\nFLAKY")[2]
    assert "test_it.py::test_flaky_one" in told
    assert "the first failure of one" in told
    assert "test_well" not in told


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("def test_broken():\n    assert False\n", "alone (1)"),
        ("".join(FLAKY.format(number) for number in range(4)), "4 failed, more than 3: not run again"),
        ("import nothing_of_this_name\n", "alone (1)"),
    ],
    ids=["fails twice", "too many", "not collected"],
)
def test_it_fails(tmp_path: Path, body: str, said: str) -> None:
    done = run(tmp_path, body)
    assert done.returncode != 0
    assert said in done.stdout
    assert "FLAKY" not in done.stdout


def test_what_passes_runs_once(tmp_path: Path) -> None:
    done = run(tmp_path, "def test_well():\n    pass\n")
    assert done.returncode == 0
    assert done.stdout.count("1 passed") == 1


def test_a_run_without_an_end_fails(tmp_path: Path) -> None:
    assert run(tmp_path, "import os\n\ndef test_gone():\n    os._exit(7)\n").returncode != 0
