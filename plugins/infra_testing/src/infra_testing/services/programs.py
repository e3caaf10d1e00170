"""Finding the programs of servers on this machine, and their versions."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from infra_testing.services.server import MissingServiceError

FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/opt/homebrew/bin", "/opt/homebrew/sbin", "/usr/local/bin")


def find_program(*names: str, folders: Iterable[Path] = ()) -> Path:
    """The first of these programs in the given folders, on the PATH, or where system programs are.

    Raises:
        MissingServiceError: None of them is there.
    """
    path = os.pathsep.join([*map(str, folders), os.environ.get("PATH", ""), *FOLDERS])
    for name in names:
        found = shutil.which(name, path=path)
        if found:
            return Path(found)
    raise MissingServiceError(f"no {' or '.join(names)} found")


def beside_python(name: str) -> Path:
    """A program that a Python package brought, from this interpreter's environment first.

    Raises:
        MissingServiceError: It is not there.
    """
    return find_program(name, folders=[Path(sys.executable).parent])


def version_of(program: Path, *arguments: str) -> str:
    """The first version number that a program prints of itself.

    Raises:
        MissingServiceError: It cannot be run.
    """
    return version_in(program, said_version(program, *arguments))


def said_version(program: Path, *arguments: str) -> str:
    """What a program prints when it is asked for its version.

    Raises:
        MissingServiceError: It cannot be run.
    """
    try:
        done = subprocess.run([str(program), *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingServiceError(f"{program} cannot be run: {error}") from None
    if done.returncode:
        raise MissingServiceError(f"{program} does not work: {(done.stderr or done.stdout).strip()[:200]}")
    return done.stdout + done.stderr


def version_in(program: Path, said: str) -> str:
    """The first version number in what a program printed.

    Raises:
        MissingServiceError: There is none.
    """
    found = re.search(r"\d+\.\d+(?:\.\d+)*", said)
    if not found:
        raise MissingServiceError(f"{program} does not work: {said.strip()[:200]}")
    return found.group()
