"""Peers whose pins do not agree with ours (litellm's openai, s3fs's boto3), measured in a process and an environment of their own.

A module of ``bench/peers`` gives its contenders by name; `Foreign.run` has one do so many operations there and gives what that process
took for it, by the same clocks as here.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

PEERS = Path(__file__).resolve().parent / "peers"
REQUIREMENTS = PEERS / "requirements.txt"
FOLDER = PEERS.parent.parent / ".venv" / "peers"


class Foreign:
    """A process with peers; without any where their environment cannot be made, which `problem` then tells.

    Args:
        module: The module of ``bench/peers``.
        options: What its ``contenders`` takes.
    """

    def __init__(self, module: str, options: Mapping[str, Any]) -> None:
        self.problem = ""
        self.versions: dict[str, str] = {}
        self._process: subprocess.Popen[str] | None = None
        try:
            python = environment()
        except (OSError, subprocess.CalledProcessError) as error:
            self.problem = f"{FOLDER} could not be made ({error})"
            return
        command = [str(python), "-I", str(PEERS / "serve.py"), module, json.dumps(options)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.versions = self._answer()

    def run(self, name: str) -> Callable[[int], tuple[float, float]] | None:
        """Has the contender `name` do a number of operations; the CPU and wall seconds that they took there."""
        if self._process is None:
            return None

        def run(count: int) -> tuple[float, float]:
            self._ask([name, count])
            return tuple(self._answer())

        return run

    def close(self) -> None:
        """End the process."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait(10)

    def _ask(self, question: object) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        print(json.dumps(question), file=self._process.stdin, flush=True)

    def _answer(self) -> Any:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("a process of peers ended; what it said stands above")
        return json.loads(line)


def environment() -> Path:
    """The interpreter of the peers' environment, made anew when what it holds has changed."""
    stamp, python = FOLDER / "requirements.txt", FOLDER / "bin" / "python"
    if stamp.exists() and stamp.read_text() == REQUIREMENTS.read_text():
        return python
    print(f"making {FOLDER}", flush=True)
    venv.create(FOLDER, clear=True, with_pip=True, symlinks=True)
    install = [str(python), "-I", "-m", "pip", "install", "-qq", "--disable-pip-version-check", "-r", str(REQUIREMENTS)]
    subprocess.run(install, check=True, stdout=sys.stderr)
    shutil.copyfile(REQUIREMENTS, stamp)
    return python
