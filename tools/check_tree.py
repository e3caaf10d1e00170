"""Fail on files that are far too long, and on text that belongs to one machine: registry hosts, home folders, addresses of lock files.

A file of more than 500 lines is named: it may hold two concerns. More than 800 fail.

python tools/check_tree.py
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LONG, LONGEST = 500, 800
CODE = {".py", ".toml", ".sh", ""}
VAGUE = {"utils", "helpers", "common", "base", "misc"}
#: Written so that this file does not match itself.
FORBIDDEN = {
    "a package registry's host": re.compile(
        r"(pypi\.(org)|pythonhosted\.(org)|registry\.npmjs\.(org|com)|deb\.debian\.(org)|npmmirror\.(com))\b"
    ),
    "a path of one machine": re.compile(r"(?<![\w.])/(work|root|Users|home/(?!me/)[a-z]+)/[a-zA-Z.]"),
}


def files() -> list[Path]:
    """Every file that is, or is about to be, under version control."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [path for name in listing.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def breaches(path: Path) -> Iterator[str]:
    """What is wrong with a file."""
    name = path.relative_to(ROOT)
    try:
        lines = path.read_text().splitlines()
    except UnicodeDecodeError:
        return
    if path.suffix in CODE and path.name != "LICENSE" and len(lines) > LONG:
        said = f"{name}: {len(lines)} lines; more than {LONG} may be two concerns, more than {LONGEST} are not taken"
        if len(lines) > LONGEST:
            yield said
        else:
            print(said)
    if path.suffix == ".py" and path.stem in VAGUE:
        yield f"{name}: {path.stem} says nothing about what is in it"
    for number, line in enumerate(lines, 1):
        for what, pattern in FORBIDDEN.items():
            if pattern.search(line):
                yield f"{name}:{number}: {what}"


def main() -> None:
    """Print each breach; fail when there is one."""
    found = [breach for path in files() for breach in breaches(path)]
    print("\n".join(found) or "tree: clean")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
