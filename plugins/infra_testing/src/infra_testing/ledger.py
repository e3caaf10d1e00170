"""A queue under load while servers and workers are killed, with files that say afterwards whether anything was lost.

What was tried is written down, and on disk, before it is published; what was returned after its receipt; what was handled by the handler.
Everything returned must be handled, and nothing handled that was not tried; what is handled again is counted.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from infra.queue.errors import PublishError
from infra.queue.model import Message
from infra_testing.harness import Harness, Place
from infra_testing.services.processes import kill_tree

_HANDLER = """
import os, time

FILE = os.open({file!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

def handle(message, delivery):
    os.write(FILE, f"{{delivery.id}} {{os.getpid()}}\\n".encode())
    time.sleep({seconds})
"""


class Log:
    """A file of lines that are on disk when `write` returns.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, lines: list[str]) -> None:
        """Append lines."""
        os.write(self._file, "".join(f"{line}\n" for line in lines).encode())
        os.fsync(self._file)

    def read(self) -> list[str]:
        """All lines that are whole."""
        return self.path.read_text().split("\n")[:-1]

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


class Load:
    """One queue under load: a thread that publishes, and a worker of the command line that handles, with several processes.

    Args:
        harness: The provider, with settings that other processes can use as well: texts, numbers, true or false.
        folder: For the logs and the worker's configuration; must not exist.
        processes: Of the worker; a single one is not started again when it is killed.
        worker: Further settings of the worker's queue.
        seconds: That the handler takes.
    """

    def __init__(
        self,
        harness: Harness,
        folder: Path,
        *,
        processes: int = 2,
        worker: Mapping[str, object] | None = None,
        seconds: float = 0.002,
    ) -> None:
        folder.mkdir()
        self.folder = folder
        self.tried, self.returned, self.handled = (Log(folder / name) for name in ("tried", "returned", "handled"))
        (folder / "ledger_tasks.py").write_text(_HANDLER.format(file=str(self.handled.path), seconds=seconds))
        fields = {"provider": harness.provider, **harness.values(), **(worker or {})}
        lines = [f"{name} = {_toml(value)}" for name, value in fields.items()]
        (folder / "infra.toml").write_text("\n".join(["[queue.main]", *lines, ""]))
        self.queue: Any = harness.open("queue", Place(folder))
        self.failed = 0
        self.failures: dict[str, int] = {}
        self._processes = processes
        self._worker: subprocess.Popen[bytes] | None = None
        self._stop = threading.Event()
        self._publishing = threading.Thread(target=self._publish)

    def _publish(self) -> None:
        while not self._stop.wait(0.01):
            messages = [Message(b"x" * 100) for _ in range(10)]
            self.tried.write([message.id for message in messages])
            answers = self.queue.publish_many(messages, timeout=5)
            failures = [answer for answer in answers if isinstance(answer, PublishError)]
            self.returned.write([answer.id for answer in answers if not isinstance(answer, PublishError)])
            self.failed += len(failures)
            for failure in failures:
                self.failures[failure.outcome] = self.failures.get(failure.outcome, 0) + 1

    def start(self) -> None:
        """Start the worker, then publish."""
        arguments = ["worker", "ledger_tasks:handle", "--root", str(self.folder), "--concurrency", "4", "--max-attempts", "1000", "--json"]
        command = [sys.executable, "-m", "infra.cli", *arguments, "--processes", str(self._processes)]
        with (self.folder / "worker.log").open("ab") as log:
            self._worker = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603
        self._publishing.start()

    def kill_process(self) -> None:
        """Kill the process of the worker that handled something last."""
        os.kill(int(self.handled.read()[-1].split()[1]), signal.SIGKILL)

    def ids(self) -> list[str]:
        """What was handled, as often as it was."""
        return [line.split()[0] for line in self.handled.read()]

    def wait_for_progress(self, count: int = 50) -> None:
        """Until so many more messages were published, and as many handled."""
        returned, handled = len(self.returned.read()), len(set(self.ids()))
        self.wait_until(lambda: len(self.returned.read()) >= returned + count and len(set(self.ids())) >= handled + count, "no progress")

    def wait_until(self, condition: Callable[[], object], what: str, timeout: float = 120.0) -> None:
        """Wait for a condition; fail, with what the worker said, when it does not come true."""
        deadline = time.monotonic() + timeout
        while not condition():
            said = (self.folder / "worker.log").read_text()[-2000:]
            assert time.monotonic() < deadline, f"{what}; {len(self.returned.read())} returned, {len(self.ids())} handled; {said}"
            time.sleep(0.05)

    def settle(self) -> dict[str, int]:
        """Stop publishing, wait until everything is handled, stop the worker, compare the logs.

        Returns:
            How many were ``returned``, not returned (``failed``), and ``handled_again``.
        """
        self._stop.set()
        self._publishing.join()
        returned = set(self.returned.read())
        self.wait_until(lambda: returned <= set(self.ids()), "messages were lost")
        self.wait_until(self._is_empty, "the queue does not get empty")
        assert self._worker is not None
        self._worker.send_signal(signal.SIGTERM)
        assert self._worker.wait(90) == 0
        handled = self.ids()
        assert set(handled) <= set(self.tried.read()), "a message came that nobody published"
        return {"returned": len(returned), "failed": self.failed, "handled_again": len(handled) - len(set(handled))}

    def _is_empty(self) -> bool:
        stats = self.queue.stats()
        assert not stats.dead
        return not (stats.ready or stats.delayed or stats.in_flight)

    def close(self) -> None:
        """End everything."""
        self._stop.set()
        if self._publishing.ident is not None:
            self._publishing.join()
        if self._worker is not None and self._worker.poll() is None:
            kill_tree(self._worker.pid)
            self._worker.wait()
        self.queue.close()
        for log in (self.tried, self.returned, self.handled):
            log.close()

    def __enter__(self) -> Load:
        """Under load from here."""
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        """End everything."""
        self.close()


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else f'"{value}"'
