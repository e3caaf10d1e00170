"""A private server: started for a test run or for one test, on a free port, in a folder of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self, TypeVar

from infra_testing.run import Use, current_run
from infra_testing.services.ports import PortLease, is_free, lease_port
from infra_testing.services.processes import kill_tree, signal_tree

S = TypeVar("S", bound="Server")


class ServiceError(Exception):
    """A server did not start, or was used wrongly."""


class MissingServiceError(ServiceError):
    """A server is not installed on this machine."""


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether a server can be started here.

    Args:
        version: The server's version; empty when it is missing.
        reason: What is missing; empty when nothing is.
        remedy: What to install.
    """

    version: str = ""
    reason: str = ""
    remedy: str = ""

    def __bool__(self) -> bool:
        """True when the server can be started."""
        return not self.reason


class Server(ABC):
    """What all launchers have in common. A subclass says which program to run, how to prepare its folder and how to ask if it is up.

    ``with RedisServer() as server: ... server.url ...``; the data survives `stop`, `kill` and `restart`, and goes with `close`.
    """

    name: ClassVar[str]
    #: What to install.
    remedy: ClassVar[str]
    #: Whether `remedy` is the name of a Debian package.
    packaged: ClassVar[bool] = False
    #: Whether a machine may lack it: its tests are left out there, unlike those of the others, which fail in CI.
    optional: ClassVar[bool] = False
    #: Whether a run can share one; False where it stands before another server.
    shareable: ClassVar[bool] = True
    port_count: ClassVar[int] = 1
    start_timeout: ClassVar[float] = 60.0
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    #: The account that the server runs under when we are root.
    account: ClassVar[str | None] = None

    def __init__(self) -> None:
        self.run = current_run()
        self.shared = False
        self.seconds = 0.0
        self.version = ""
        self._leases: list[PortLease] = []
        self._ports: list[int] = []
        self._root: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()

    # What a launcher says

    @classmethod
    @abstractmethod
    def find_version(cls) -> str:
        """The version of the installed server.

        Raises:
            MissingServiceError: It is not installed.
        """

    def prepare(self) -> None:  # noqa: B027 (most servers need nothing)
        """Fill the new folder. Runs once."""

    @abstractmethod
    def command(self) -> list[str]:
        """The program and its arguments."""

    def environment(self) -> Mapping[str, str]:
        """Further variables for the program."""
        return {}

    @abstractmethod
    def ping(self) -> bool:
        """Whether the server serves its protocol now. Needs no client library; False, never an exception."""

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients connect to, user and password included."""

    # What all launchers do

    @classmethod
    def available(cls) -> Availability:
        """Whether this server can be started here, and what to install when not."""
        try:
            return Availability(version=cls.find_version())
        except MissingServiceError as error:
            return Availability(reason=str(error), remedy=cls.remedy)

    @property
    def root(self) -> Path:
        """The server's own folder."""
        if self._root is None:
            raise ServiceError(f"{self.name} was never started")
        return self._root

    @property
    def port(self) -> int:
        """The port that clients connect to."""
        if not self._ports:
            raise ServiceError(f"{self.name} was never started")
        return self._ports[0]

    @property
    def ports(self) -> list[int]:
        """All ports of this server; the first is the clients'."""
        return self._ports

    @property
    def log(self) -> Path:
        """What the server printed, since its first start."""
        return self.root / "server.log"

    @property
    def pid(self) -> int:
        """The id of the server's main process."""
        if self._process is None:
            raise ServiceError(f"{self.name} is not running")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the server's main process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Start the server and wait until it answers.

        Raises:
            MissingServiceError: It is not installed.
            ServiceError: It did not answer in time; the message ends with its log's last lines.
        """
        self._own("start")
        if self.is_running:
            return self
        began = time.monotonic()
        self.version = self.version or self.find_version()
        for attempt in range(5):
            if self._root is None:
                self._settle()
            self._await_ports()
            self._launch()
            try:
                self._await_answer()
                break
            except ServiceError:
                self.kill()
                self.run.keep_log(self.name, self.log)
                if attempt == 4 or "in use" not in self.log_tail().lower():
                    raise
                if self.seconds == 0.0:  # never up: other ports may do; later, clients know the port
                    self._forget()
        self.seconds = time.monotonic() - began
        self.run.record(Use(self.name, self.version, self.seconds))
        return self

    def stop(self, timeout: float = 20.0) -> None:
        """Ask the server to end, wait `timeout` seconds, then kill it. The data stays."""
        self._own("stop")
        if self._process is None:
            return
        if self.is_running:
            signal_tree(self.pid, signal.SIGCONT)
            self._process.send_signal(self.stop_signal)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout)
        self.kill()

    def kill(self) -> None:
        """Kill the server and all its processes at once. The data stays."""
        self._own("kill")
        if self._process is None:
            return
        kill_tree(self._process.pid)
        self._process.wait()
        self.run.unregister(self._process.pid)
        self._process = None

    def pause(self) -> None:
        """Freeze the server: connections stay and new ones are taken by the kernel, but nothing answers."""
        self._own("pause")
        signal_tree(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused server go on."""
        self._own("resume")
        signal_tree(self.pid, signal.SIGCONT)

    def restart(self) -> Self:
        """Stop and start, on the same port with the same data."""
        self.stop()
        return self.start()

    def close(self) -> None:
        """Kill the server, delete its folder and give back its ports. Harmless when done twice."""
        if self.shared or os.getpid() != self._owner:
            return
        self.kill()
        if self._root is not None:
            self.run.keep_log(self.name, self.log)
        self._forget()

    def log_tail(self, lines: int = 20) -> str:
        """The last lines that the server printed."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""

    def __enter__(self) -> Self:
        """Start the server."""
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End the server and delete its data."""
        self.close()

    # Sharing

    def state(self) -> dict[str, Any]:
        """What another process needs to use this server."""
        return {"root": str(self.root), "ports": self._ports, "version": self.version, "seconds": self.seconds}

    def hand_over(self) -> None:
        """Leave the server to the run, which ends it."""
        self.shared = True
        if self._process is not None:
            self._process.returncode = 0  # no longer ours to wait for

    @classmethod
    def attach(cls, state: Mapping[str, Any]) -> Self:
        """A server that another process of the run has started; it can be used, not stopped."""
        server = cls()
        server.shared = True
        server._root = Path(state["root"])
        server._ports = list(state["ports"])
        server.version = state["version"]
        server.seconds = state["seconds"]
        return server

    # Inside

    def _own(self, operation: str) -> None:
        if self.shared:
            raise ServiceError(f"this {self.name} is shared by the whole run: start one of your own to {operation} it")

    def _settle(self) -> None:
        """Take ports and a folder, and prepare it."""
        self._leases = [lease_port() for _ in range(self.port_count)]
        self._ports = [lease.port for lease in self._leases]
        self._root = Path(tempfile.mkdtemp(prefix=f"{self.name}-", dir=self.run.prepare()))
        self._root.chmod(0o711)
        account = self._account()
        if account:
            shutil.chown(self._root, account, account)
        self.prepare()

    def _forget(self) -> None:
        if self._root is not None:
            shutil.rmtree(self._root, ignore_errors=True)
        for lease in self._leases:
            lease.release()
        self._root, self._ports, self._leases = None, [], []

    def _account(self) -> str | None:
        return self.account if os.geteuid() == 0 else None

    def _launch(self) -> None:
        account = self._account()
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                self.command(),
                cwd=self.root,
                env=clean_environment(self.environment()),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=account,
                group=account,
                extra_groups=[] if account else None,
            )
        self._process = process
        self.run.register(process.pid, self.root)

    def _await_ports(self) -> None:
        """A port is free a moment after its last process is gone."""
        deadline = time.monotonic() + 10
        while not all(map(is_free, self._ports)) and time.monotonic() < deadline:
            time.sleep(0.01)

    def _await_answer(self) -> None:
        deadline = time.monotonic() + self.start_timeout
        pause = 0.005
        while not self.ping():
            if not self.is_running:
                raise ServiceError(f"{self.name} ended at its start:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise ServiceError(f"{self.name} did not answer within {self.start_timeout:g} s:\n{self.log_tail()}")
            time.sleep(pause)
            pause = min(pause * 1.5, 0.1)

    def execute(self, command: Iterable[str | Path], *, timeout: float = 60.0, **variables: str) -> str:
        """Run one of the server's own tools under its account; gives what it printed.

        Raises:
            ServiceError: It failed; the message holds what it printed.
        """
        account = self._account()
        done = subprocess.run(
            [str(part) for part in command],
            cwd=self.root,
            env=clean_environment({**self.environment(), **variables}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
            user=account,
            group=account,
            extra_groups=[] if account else None,
        )
        if done.returncode:
            raise ServiceError(f"{self.name}: {' '.join(map(str, command))} failed:\n{done.stdout}")
        return done.stdout


def shared_server(kind: type[S]) -> S:
    """The one server of this kind that all processes of the run share, started by whoever asks first.

    Raises:
        MissingServiceError: It is not installed.
        ServiceError: It is of a kind that stands before another server.
    """
    if not kind.shareable:
        raise ServiceError(f"a {kind.name} stands before a server of its test's choice, and is not shared: start one of your own")
    run = current_run()
    with run.locked(kind.name) as record:
        if record.exists():
            return kind.attach(json.loads(record.read_text()))
        server = kind()
        try:
            server.start()
        except BaseException:
            server.close()
            raise
        record.write_text(json.dumps(server.state()))
        server.hand_over()
        return server


def clean_environment(further: Mapping[str, str]) -> dict[str, str]:
    """This process's variables without those that would configure a server or its tools, and with the given ones."""
    unwanted = ("PG", "MYSQL", "MARIADB", "REDIS", "RABBITMQ", "ERL_", "AWS_", "RCLONE_", "OPENAI_", "COVERAGE_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    return {**kept, "LC_ALL": "C.UTF-8", **further}
