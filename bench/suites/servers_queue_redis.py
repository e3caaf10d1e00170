"""Queue on Redis Streams.

Publishing and consuming beside the plain commands of redis-py and kombu's Redis transport: bodies of 1 KB, the server's append-only file
synced before each answer, for all alike. Plain XADD and XREADGROUP with XACK have neither leases nor delays, retries or dead letters, and
kombu keeps what it has taken in a hash until it is acknowledged; ours are one script for each batch.
"""

from __future__ import annotations

from typing import Any

import kombu
import redis
from harness import Bench, Contender
from suites.servers_queue import BODY, TIMEOUT, Countdown

from infra.queue import Message
from infra.runtime.threads import Stop
from infra_testing.services import RedisServer

BATCH = 100

ALONE = "validation and the deadline of a lone publish; in batches they are shared"


def measure(bench: Bench) -> None:
    """Publish one, publish many, consume."""
    bench.packages += ["infra-redis", "redis", "hiredis", "kombu"]
    server = bench.serve(RedisServer)
    queue = bench.open("queue", "redis", url=server.url, queue="ours")
    client = bench.stack.enter_context(redis.Redis(port=server.port))
    client.xgroup_create("plain", "workers", mkstream=True)
    connection = kombu.Connection(server.url)
    bench.stack.callback(connection.release)
    peer = connection.SimpleQueue("peer", serializer="raw")
    bench.stack.callback(peer.close)
    publishing(bench, queue, client, peer)
    consuming(bench, queue, client, peer)


def put(peer: Any) -> None:
    """One message by kombu."""
    peer.put(BODY, content_type="application/octet-stream", content_encoding="binary")


def add_many(client: Any, count: int) -> None:
    """Plain entries, a hundred a round trip."""
    for start in range(0, count, BATCH):
        with client.pipeline(transaction=False) as pipeline:
            for _ in range(start, min(count, start + BATCH)):
                pipeline.xadd("plain", {"body": BODY})
            pipeline.execute()


def publishing(bench: Bench, queue: Any, client: Any, peer: Any) -> None:
    """One by one, and batches."""
    one = "publish"
    bench.compare(
        one,
        Contender("redis-py, XADD", bench.repeat(lambda: client.xadd("plain", {"body": BODY}))),
        Contender("driver", bench.repeat(lambda: queue.driver.send(queue.queue, [Message(BODY)], TIMEOUT))),
        Contender("portable", bench.repeat(lambda: queue.publish(BODY))),
        Contender("kombu", bench.repeat(lambda: put(peer))),
        operations=200,
    )
    bench.at_most(f"{one}: the core", "portable", 1.10, over="driver", why=ALONE)
    case = f"publish {BATCH} at once, a message"
    bench.compare(
        case,
        Contender("redis-py, pipeline of XADD", lambda count: add_many(client, count)),
        Contender(
            "driver", bench.repeat(lambda: queue.driver.send(queue.queue, [Message(BODY) for _ in range(BATCH)], TIMEOUT), size=BATCH)
        ),
        Contender("portable", bench.repeat(lambda: queue.publish_many([BODY] * BATCH), size=BATCH)),
        Contender("kombu, one by one", bench.repeat(lambda: put(peer))),
        operations=500,
        step=BATCH,
        unit="message",
    )
    bench.at_most(f"{case}: the core", "portable", 1.10, over="driver")
    bench.at_least(case, "portable", 10, over="kombu, one by one")
    bench.compare(
        "publish by 32 at once",
        Contender("redis-py, XADD, 32 threads", bench.repeat_threads(lambda: client.xadd("plain", {"body": BODY}), threads=32)),
        Contender("portable, 32 threads", bench.repeat_threads(lambda: queue.publish(BODY), threads=32)),
        operations=640,
    )
    queue.purge()
    client.xtrim("plain", maxlen=0)
    peer.clear()


def consuming(bench: Bench, queue: Any, client: Any, peer: Any) -> None:
    """A handler that does nothing."""

    def plain(count: int) -> None:
        left = count
        while left:
            for _, entries in client.xreadgroup("workers", "me", {"plain": ">"}, count=BATCH, block=1000):
                client.xack("plain", "workers", *(entry for entry, _ in entries))
                client.xdel("plain", *(entry for entry, _ in entries))
                left -= len(entries)

    def ours(count: int) -> None:
        stop, counted = Stop(), Countdown(count)
        queue.consume(lambda _: counted() and stop.set(), stop=stop)

    def by_kombu(count: int) -> None:
        for _ in range(count):
            peer.get(timeout=5).ack()

    def fill_peer(count: int) -> None:
        for _ in range(count):
            put(peer)

    case = "consume, a message"
    bench.compare(
        case,
        Contender("redis-py, XREADGROUP 100, XACK and XDEL at once", plain, prepare=lambda count: add_many(client, count)),
        Contender("portable", ours, prepare=lambda count: queue.publish_many([BODY] * count)),
        Contender("kombu", by_kombu, prepare=fill_peer),
        operations=500,
        unit="message",
        rounds=5,
    )
