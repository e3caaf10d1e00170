"""Queue, embedded.

Bodies of 256 bytes, at equal durability: every contender of the file cases runs SQLite with a write-ahead log and `synchronous=FULL`, one
receipt a commit. The yardstick is the plain statement that any such queue must issue.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections import deque
from statistics import median
from threading import Lock
from typing import Any

from harness import Bench, Contender
from huey import SqliteHuey
from persistqueue import SQLiteAckQueue

from infra.queue import ACK, Message

BODY = b"b" * 256
BATCH = 100
TIMEOUT = 5.0
ENVELOPE = "a message carries id, time, headers, lease and order, and two indexes; the yardstick inserts one blob"


def measure(bench: Bench) -> None:
    """Publish and receive, one by one and by the hundred, in a file and in memory."""
    bench.packages += ["infra-local", "huey", "persist-queue"]
    bench.notes.append(f"SQLite {sqlite3.sqlite_version}; one fdatasync of 4 KiB takes {probe(bench) * 1e6:.0f} us here")
    file(bench)
    memory(bench)


def probe(bench: Bench) -> float:
    """What making 4 KiB durable costs on this disk."""
    seconds: list[float] = []
    with (bench.folder / "probe").open("wb", buffering=0) as probed:
        for _ in range(50):
            probed.write(b"x" * 4096)
            began = time.perf_counter()
            os.fdatasync(probed.fileno())
            seconds.append(time.perf_counter() - began)
    return median(seconds)


def raw_file(bench: Bench) -> sqlite3.Connection:
    """The least that a queue in SQLite is."""
    raw = sqlite3.connect(bench.folder / "raw.db", isolation_level=None)
    bench.stack.callback(raw.close)
    raw.execute("PRAGMA journal_mode = WAL")
    raw.execute("PRAGMA synchronous = FULL")
    raw.execute("CREATE TABLE message (id INTEGER PRIMARY KEY, body BLOB)")
    return raw


def take(queue: Any, size: int) -> None:
    """Receive up to `size` messages and settle each."""
    for delivery in queue.receive(size, 1.0):
        delivery.ack()


def take_by_driver(queue: Any, size: int) -> None:
    """The same without the portable layer."""
    received = queue.driver.receive(queue.queue, size, 1.0, 30.0)
    queue.driver.settle(queue.queue, [(one.token, ACK) for one in received], TIMEOUT)


def fill(queue: Any, size: int) -> Any:
    """Publishes what a sample will take, unmeasured."""
    return lambda count: queue.publish_many([BODY] * (count * size))


def file(bench: Bench) -> None:
    """The SQLite queue."""
    queue = bench.open("queue", "sqlite")
    raw = raw_file(bench)
    acked = SQLiteAckQueue(str(bench.folder / "persist"), multithreading=True)
    bench.stack.callback(acked.close)
    huey = SqliteHuey(filename=str(bench.folder / "huey.db"), fsync=True)
    insert = "INSERT INTO message (body) VALUES (?)"

    def insert_many() -> None:
        raw.execute("BEGIN")
        raw.executemany(insert, [(BODY,)] * BATCH)
        raw.execute("COMMIT")

    bench.compare(
        "file: publish",
        Contender("INSERT", bench.repeat(lambda: raw.execute(insert, (BODY,)))),
        Contender("driver", bench.repeat(lambda: queue.driver.send(queue.queue, [Message(BODY)], TIMEOUT))),
        Contender("portable", bench.repeat(lambda: queue.publish(BODY))),
        Contender("huey", bench.repeat(lambda: huey.storage.enqueue(BODY))),
        Contender("persist-queue", bench.repeat(lambda: acked.put(BODY))),
        operations=300,
    )
    bench.compare(
        f"file: publish {BATCH} at once",
        Contender("executemany", bench.repeat(insert_many)),
        Contender("driver", bench.repeat(lambda: queue.driver.send(queue.queue, [Message(BODY) for _ in range(BATCH)], TIMEOUT))),
        Contender("portable", bench.repeat(lambda: queue.publish_many([BODY] * BATCH)), 1.25, why=ENVELOPE),
        operations=30,
        unit="batch",
    )
    bench.compare(
        "file: publish by 16 threads",
        Contender("persist-queue", bench.repeat_threads(lambda: acked.put(BODY), threads=16)),
        Contender("portable", bench.repeat_threads(lambda: queue.publish(BODY), threads=16)),
        operations=480,
    )
    queue.purge()

    def peer_take() -> None:
        acked.ack(acked.get())

    def peer_fill(count: int) -> None:
        for _ in range(count):
            acked.put(BODY)

    bench.compare(
        "file: receive and acknowledge",
        Contender("persist-queue", bench.repeat(peer_take), prepare=peer_fill),
        Contender("driver", bench.repeat(lambda: take_by_driver(queue, 1)), prepare=fill(queue, 1)),
        Contender("portable", bench.repeat(lambda: take(queue, 1)), prepare=fill(queue, 1)),
        operations=200,
    )
    bench.compare(
        f"file: receive {BATCH} at once, acknowledge each",
        Contender("driver, acknowledged at once", bench.repeat(lambda: take_by_driver(queue, BATCH)), prepare=fill(queue, BATCH)),
        Contender("portable", bench.repeat(lambda: take(queue, BATCH)), prepare=fill(queue, BATCH)),
        operations=5,
        unit="batch",
    )

    bench.compare(
        "file: a consumer works the queue off",
        Contender("persist-queue, one by one", bench.repeat(peer_take), prepare=peer_fill),
        Contender("portable", lambda _: queue.consume(handle, until="empty"), prepare=fill(queue, 1)),
        operations=1_000,
        unit="message",
    )


def handle(delivery: Any) -> None:
    """Work that costs nothing."""


def memory(bench: Bench) -> None:
    """The queue in memory."""
    queue = bench.open("queue", "memory")
    plain: deque[bytes] = deque()
    lock = Lock()

    def put() -> None:
        with lock:
            plain.append(BODY)

    bench.compare(
        "memory: publish",
        Contender("deque + lock", bench.repeat(put)),
        Contender("driver", bench.repeat(lambda: queue.driver.send(queue.queue, [Message(BODY)], TIMEOUT))),
        Contender("portable", bench.repeat(lambda: queue.publish(BODY))),
        operations=3_000,
    )
    queue.purge()
    bench.compare(
        "memory: receive and acknowledge",
        Contender("driver", bench.repeat(lambda: take_by_driver(queue, 1)), prepare=fill(queue, 1)),
        Contender("portable", bench.repeat(lambda: take(queue, 1)), prepare=fill(queue, 1)),
        operations=2_000,
    )
