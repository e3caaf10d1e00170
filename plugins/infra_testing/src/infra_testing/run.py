"""A test run: the folder of its servers, the ones its processes share, and the record of which were used."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Generator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

#: Names the run to the processes that a run's process starts. Not INFRA_*: the kernel refuses such names that it does not know.
VARIABLE = "TEST_SERVICES_RUN"


@dataclass(frozen=True, slots=True)
class Use:
    """One start of a server, or one that could not be.

    Args:
        name: The service's name.
        version: The server's own word for its version; why it could not be started when `missing`.
        seconds: From the start to the first answer.
        missing: Whether it is not installed.
        package: Debian's package that brings what is missing; empty where none does.
        optional: Whether a machine may lack it.
    """

    name: str
    version: str
    seconds: float = 0.0
    missing: bool = False
    package: str = ""
    optional: bool = False


class Run:
    """The servers of one test run. Its folder appears with the first server and goes with the run's owner.

    Args:
        folder: Where the servers' folders, the records and the logs are.
        owner: The process whose end ends the run.
    """

    def __init__(self, folder: Path, owner: int) -> None:
        self.folder = folder
        self.owner = owner

    def prepare(self) -> Path:
        """The folder, made on first use along with the process that watches the owner."""
        try:
            self.folder.mkdir(mode=0o711)
        except FileExistsError:
            return self.folder
        for name in ("servers", "logs", "locks"):
            (self.folder / name).mkdir(exist_ok=True)
        guard = [sys.executable, "-m", "infra_testing.services.guard", str(self.folder), str(self.owner)]
        subprocess.run(guard, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, stdin=subprocess.DEVNULL, check=True)
        return self.folder

    @contextlib.contextmanager
    def locked(self, name: str) -> Generator[Path]:
        """Hold the run's lock for a shared server; gives the file of its record."""
        self.prepare()
        locks = self.folder / "locks"
        locks.mkdir(exist_ok=True)
        with (locks / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield locks / f"{name}.json"

    def register(self, pid: int, root: Path) -> None:
        """Note a running server, for the end of the run."""
        servers = self.prepare() / "servers"
        servers.mkdir(exist_ok=True)
        part = servers / f"{pid}.part"
        part.write_text(json.dumps({"pid": pid, "root": str(root)}))
        part.rename(servers / f"{pid}.json")

    def unregister(self, pid: int) -> None:
        """Forget a server that has ended."""
        (self.folder / "servers" / f"{pid}.json").unlink(missing_ok=True)

    def record(self, use: Use) -> None:
        """Note for the run's report that a service was used or missed."""
        with (self.prepare() / "uses.jsonl").open("a") as file:
            file.write(json.dumps(asdict(use)) + "\n")

    def uses(self) -> list[Use]:
        """Every use so far, by all processes of the run."""
        file = self.folder / "uses.jsonl"
        return [Use(**json.loads(line)) for line in file.read_text().splitlines()] if file.exists() else []

    def keep_log(self, name: str, log: Path) -> None:
        """Keep the end of a server's log until the run ends."""
        if log.exists():
            logs = self.prepare() / "logs"
            logs.mkdir(exist_ok=True)
            (logs / f"{name}-{uuid.uuid4().hex[:6]}.log").write_bytes(log.read_bytes()[-1_000_000:])

    def copy_logs(self, target: Path) -> int:
        """Copy the servers' logs, of those that run and those that ended; gives their number."""
        logs = {log.parent.name: log for log in self.folder.glob("*/server.log")} | {
            log.stem: log for log in self.folder.glob("logs/*.log")
        }
        for name, log in logs.items():
            target.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(log, target / f"{name}.log")
        return len(logs)

    def close(self) -> None:
        """Kill every server of the run and delete its folder."""
        from infra_testing.services.processes import kill_tree, leads_session  # the pytest plugin imports this module in every host

        records: list[dict[str, Any]] = [json.loads(file.read_text()) for file in self.folder.glob("servers/*.json")]
        for record in records:
            if leads_session(record["pid"]):
                kill_tree(record["pid"])
        shutil.rmtree(self.folder, ignore_errors=True)


@cache
def current_run() -> Run:
    """The run that this process belongs to: its parent's, or else its own, which ends with this process."""
    named = os.environ.get(VARIABLE)
    if named:
        folder, _, owner = named.rpartition(":")
        return Run(Path(folder), int(owner))
    short = Path("/tmp") if os.access("/tmp", os.W_OK) else Path(tempfile.gettempdir())  # sockets below it have short names
    run = Run(short / f"services-{uuid.uuid4().hex[:10]}", os.getpid())
    os.environ[VARIABLE] = f"{run.folder}:{run.owner}"
    atexit.register(_close_own, run)
    return run


def _close_own(run: Run) -> None:
    """End the run at its owner's exit; a forked child's exit ends nothing."""
    if os.getpid() == run.owner:
        run.close()
