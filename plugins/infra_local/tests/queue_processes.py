"""What the queue tests run in processes of its own: ``python queue_processes.py ROLE FOLDER ...``, and the host of the worker tests."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pydantic

from infra.queue import AsyncQueue, PublishError, Queue, RetryPolicy
from infra.queue.worker import WorkerOptions, run_worker
from infra_testing.harness import Harness, Place

HARNESS = Harness("sqlite")


class Ledger:
    """A file of lines that are on disk when `write` returns."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, *lines: str) -> None:
        os.write(self._file, "".join(f"{line}\n" for line in lines).encode())
        os.fsync(self._file)


def open_blocking(folder: str, **settings: object) -> Queue:
    return HARNESS.open("queue", Place(Path(folder)), **settings)


def publisher(folder: str, name: str, count: str) -> None:
    """Publish `count` messages in batches of mixed sizes; ledger what was tried, and what returned."""
    queue = open_blocking(folder)
    tried, returned = Ledger(Path(folder) / f"tried-{name}"), Ledger(Path(folder) / f"returned-{name}")
    left, size = int(count), 1
    while left:
        size = min(left, size % 17 + 1)
        messages = [queue.message(f"{name}-{left - number}".encode()) for number in range(size)]
        tried.write(*[message.id for message in messages])
        answers = queue.publish_many(messages)
        returned.write(*[answer.id for answer in answers if not isinstance(answer, PublishError)])
        left -= size
    queue.close()


def consumer(folder: str, name: str) -> None:
    """Handle until killed; ledger what was handled."""
    queue = open_blocking(folder)
    handled = Ledger(Path(folder) / f"handled-{name}")
    queue.consume(lambda delivery: handled.write(delivery.id), concurrency=2, lease=2.0, retry=RetryPolicy(max_attempts=1000))


def holder(folder: str) -> None:
    """Open a transaction that wrote, say so, and hang."""
    queue = open_blocking(folder)
    queue.close()
    import sqlite3

    connection = sqlite3.connect(Path(folder) / "queues.db", isolation_level=None)
    connection.execute("PRAGMA cache_size = 1")  # spills uncommitted pages into the log
    connection.execute("BEGIN IMMEDIATE")
    for number in range(2000):
        connection.execute(
            "INSERT INTO message (queue, visible_at, id, content_type, created_at, body) VALUES (1, 0, ?, 'x', 0, ?)",
            (f"ghost-{number}", b"x" * 500),
        )
    print("holding", flush=True)
    time.sleep(600)


def sleeper(folder: str) -> None:
    """Take a message, say so, and acknowledge it when told to; say how that went."""
    queue = open_blocking(folder)
    (delivery,) = queue.receive(wait=90, lease=1.0)
    print(delivery.id, flush=True)
    sys.stdin.readline()
    try:
        delivery.ack()
    except Exception as error:
        print(type(error).__name__, flush=True)
    else:
        print("acknowledged", flush=True)


def limited(folder: str) -> None:
    """Publish until the file may not grow, then let it grow again; say what happened."""
    queue = open_blocking(folder, publish_attempts=1)
    receipt = queue.publish(b"before")
    size = max(path.stat().st_size for path in Path(folder).iterdir())
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 8192, hard))
    outcome = "none"
    failed: Any = None
    for _ in range(50):
        failed = queue.message(b"x" * 20_000)
        try:
            queue.publish(failed)
        except PublishError as error:
            outcome = str(error.outcome)
            break
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    again = queue.publish(failed)
    bodies = {delivery.id for delivery in queue.receive(max=100, wait=5)}
    queue.close()
    print(outcome, again.id == failed.id, {receipt.id, failed.id} <= bodies, flush=True)


# The host of the worker tests.


class Order(pydantic.BaseModel):
    number: int


@asynccontextmanager
async def open_never(folder: str) -> AsyncIterator[AsyncQueue]:
    """As with a server that does not answer."""
    (Path(folder) / "opening").touch()
    await asyncio.sleep(3600)
    yield cast("AsyncQueue", None)


@asynccontextmanager
async def open_queue(folder: str, **settings: object) -> AsyncIterator[AsyncQueue]:
    queue = await HARNESS.open_async("queue", Place(Path(folder)), **settings)
    try:
        yield queue
    finally:
        await queue.close()


def _note(name: str, text: object) -> None:
    Ledger(Path(os.environ["QUEUE_TEST_FOLDER"]) / name).write(f"{os.getpid()} {text}")


async def handle(order: Order) -> None:
    await asyncio.sleep(0.002)
    _note("handled", order.number)


async def handle_slowly(order: Order) -> None:
    _note("started", order.number)
    await asyncio.sleep(0.5)
    _note("handled", order.number)


async def handle_for_ever(order: Order) -> None:
    _note("started", order.number)
    await asyncio.sleep(600)


def handle_stuck(order: Order) -> None:
    _note("started", order.number)
    time.sleep(600)


def handle_or_die(order: Order) -> None:
    if order.number == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    _note("handled", order.number)


def worker(folder: str, handler: str, *fields: str) -> None:
    """``key=value`` fields are options of the worker; ``queue.key=value`` of the queue."""
    given: dict[str, Any] = {"opener": "queue_processes:open_queue"}
    settings: dict[str, Any] = {}
    for field in fields:
        name, _, value = field.partition("=")
        target = settings if name.startswith("queue.") else given
        target[name.removeprefix("queue.")] = int(value) if value.isdigit() else float(value) if value[:1].isdigit() else value
    sys.exit(run_worker(WorkerOptions(handler=f"queue_processes:{handler}", arguments={"folder": folder, **settings}, **given)))


if __name__ == "__main__":
    role, *arguments = sys.argv[1:]
    {"publisher": publisher, "consumer": consumer, "holder": holder, "sleeper": sleeper, "limited": limited, "worker": worker}[role](
        *arguments
    )
