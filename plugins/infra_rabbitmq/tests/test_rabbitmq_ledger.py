"""RabbitMQ killed three times under load, and a worker with it: a ledger says whether anything that was acknowledged is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from infra.queue import Message, PublishError
from infra_rabbitmq.settings import RabbitMQQueueSettings
from infra_testing.harness import Harness, Place
from infra_testing.services import RabbitMQServer
from infra_testing.services.processes import kill_tree

PROCESSES = 2
BACKLOG = 300  # messages that may wait before publishing does: a slow machine must not drain for minutes
HANDLER = """
import os, time

FILE = os.open({file!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

def handle(message, delivery):
    os.write(FILE, f"{{delivery.id}} {{os.getpid()}}\\n".encode())
    time.sleep(0.002)
"""


class Log:
    """A file of ids, on disk when `write` returns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, ids: list[str]) -> None:
        os.write(self._file, "".join(f"{one}\n" for one in ids).encode())
        os.fsync(self._file)

    def read(self) -> list[str]:
        return self.path.read_text().splitlines()

    def close(self) -> None:
        os.close(self._file)


class Load:
    """One queue under load: a thread that publishes, and a worker of the command line that handles, with several processes.

    Args:
        server: The broker.
        folder: For the logs and the workers' configuration.
        queue_type: ``quorum`` or ``classic``.
    """

    def __init__(self, server: RabbitMQServer, folder: Path, queue_type: str) -> None:
        self.name = f"ledger.{queue_type}"
        self.folder = folder / queue_type
        self.folder.mkdir()
        self.tried, self.returned = Log(self.folder / "tried"), Log(self.folder / "returned")
        self.handled = Log(self.folder / "handled")
        (self.folder / "ledger_tasks.py").write_text(HANDLER.format(file=str(self.handled.path)))
        (self.folder / "infra.toml").write_text(
            f'[queue.main]\nurl = "{server.url}"\nqueue = "{self.name}"\nqueue_type = "{queue_type}"\ndrain_timeout = 60\n'
        )
        fields = {**RabbitMQQueueSettings.expand_url(server.url), "queue": self.name, "queue_type": queue_type}
        self.queue = Harness("rabbitmq", settings=fields).open("queue", Place(self.folder))
        self.failed = 0
        self._worker: subprocess.Popen[bytes] | None = None
        self._stop = threading.Event()
        self._publishing = threading.Thread(target=self._publish)

    def _publish(self) -> None:
        while not self._stop.wait(0.01):
            if len(self.returned.read()) > len(self.handled.read()) + BACKLOG:
                continue
            messages = [Message(b"x" * 100) for _ in range(10)]
            self.tried.write([message.id for message in messages])
            answers = self.queue.publish_many(messages, timeout=5)
            taken = [answer.id for answer in answers if not isinstance(answer, PublishError)]
            self.returned.write(taken)
            self.failed += len(messages) - len(taken)

    def start(self) -> None:
        arguments = ["worker", "ledger_tasks:handle", "--root", str(self.folder), "--concurrency", "4", "--max-attempts", "1000", "--json"]
        command = [sys.executable, "-m", "infra.cli", *arguments, "--processes", str(PROCESSES)]
        with (self.folder / "worker.log").open("ab") as log:
            self._worker = subprocess.Popen(command, stdout=log, stderr=log)
        self._publishing.start()

    def kill_process(self) -> None:
        """Kill the process of the worker that handled something last."""
        os.kill(int(self.handled.read()[-1].split()[1]), signal.SIGKILL)

    def ids(self) -> list[str]:
        return [line.split()[0] for line in self.handled.read()]

    def progress(self) -> tuple[int, int]:
        return len(self.returned.read()), len(set(self.ids()))

    def said(self) -> str:
        return (self.folder / "worker.log").read_text()[-2000:]

    def stop_publishing(self) -> None:
        self._stop.set()
        if self._publishing.ident is not None:
            self._publishing.join()

    def stop_worker(self) -> int:
        assert self._worker is not None
        self._worker.send_signal(signal.SIGTERM)
        return self._worker.wait(90)

    def close(self) -> None:
        self.stop_publishing()
        if self._worker is not None and self._worker.poll() is None:
            kill_tree(self._worker.pid)
            self._worker.wait()
        self.queue.close()
        for log in (self.tried, self.returned, self.handled):
            log.close()


@contextmanager
def under_load(server: RabbitMQServer, folder: Path) -> Generator[list[Load]]:
    with ExitStack() as stack:
        loads = [Load(server, folder, queue_type) for queue_type in ("quorum", "classic")]
        for load in loads:
            stack.callback(load.close)
        server.sync_declarations()
        for load in loads:
            load.start()
        yield loads


def wait_until(condition: Callable[[], object], what: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.05)


def consumers(server: RabbitMQServer, queue: str) -> Counter[str]:
    """The broker's consumers of a queue, by their connections."""
    listed = server.ctl("list_consumers", "--no-table-headers", "queue_name", "channel_pid")
    channels = [channel for name, channel in (line.split("\t") for line in listed.splitlines()) if name == queue]
    listed = server.ctl("list_channels", "--no-table-headers", "pid", "connection")
    connections = dict(line.split("\t") for line in listed.splitlines())
    return Counter(connections.get(channel, channel) for channel in channels)


def test_nothing_acknowledged_is_lost_when_the_broker_and_a_worker_are_killed(
    start_server: Any, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    server: RabbitMQServer = start_server(RabbitMQServer)
    with under_load(server, tmp_path) as loads:

        def work_goes_on() -> None:
            """Of every queue, so many more messages were published and handled."""
            for load in loads:
                returned, handled = load.progress()
                wait_until(
                    lambda load=load, to=(returned + 50, handled + 50): all(
                        now >= then for now, then in zip(load.progress(), to, strict=True)
                    ),
                    lambda load=load, since=(returned, handled): (
                        f"{load.name}: (returned, handled) went from {since} to {load.progress()}; {load.said()}\n{server.log_tail()}"
                    ),
                )

        work_goes_on()
        for load in loads:
            load.kill_process()
        for _ in range(3):
            server.kill()
            server.start()
            work_goes_on()

        for load in loads:
            wait_until(
                lambda load=load: list(consumers(server, load.name).values()) == [1] * PROCESSES,
                lambda load=load: f"consumers of {load.name} by connection: {consumers(server, load.name)}; {load.said()}",
            )
            load.stop_publishing()
        for load in loads:
            returned = set(load.returned.read())
            wait_until(
                lambda load=load, returned=returned: returned <= set(load.ids()) and not load.queue.stats().ready,
                lambda load=load, returned=returned: f"{load.name} lost {len(returned - set(load.ids()))} of {len(returned)}",
            )
            assert load.stop_worker() == 0
            handled = load.ids()
            assert set(handled) <= set(load.tried.read()), "a message came that nobody published"
            stats = load.queue.stats()
            assert (stats.ready, stats.dead) == (0, 0)
            again = len(handled) - len(set(handled))
            record_property(load.name, {"returned": len(returned), "failed": load.failed, "handled again": again})
            print(f"{load.name}: {len(returned)} returned, {load.failed} not, {again} handled again")
