"""Queue on RabbitMQ.

Publishing and consuming on quorum queues beside pika, aio-pika and kombu: bodies of 1 KB, persistent, every publish confirmed by the
broker, every delivery acknowledged by hand. The yardstick publishes as pika's own manual does: one message, wait for its confirmation,
the next. Ours carry an envelope (id, time, content type) besides; publishes that happen at the same time share the confirm window.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import aio_pika
import kombu
import pika
from harness import Bench, Contender

from infra.queue import Message
from infra.runtime.aio import Stop as AsyncStop
from infra.runtime.threads import Stop
from infra_testing.services import RabbitMQServer

BODY = b"b" * 1024
PREFETCH = 100
TIMEOUT = 30.0
THREADS = "32 threads take turns under the interpreter's lock, each woken by its own confirm"
ENVELOPE = "handing over to the I/O thread and back, twice a switch of threads, is the price of sharing one window among all callers"


def measure(bench: Bench) -> None:
    """Publish one by one, many, concurrently; consume."""
    bench.packages += ["infra-rabbitmq", "pika", "aio-pika", "kombu", "amqp"]
    server = bench.serve(RabbitMQServer)
    queues = {name: bench.open("queue", "rabbitmq", url=server.url, queue=name) for name in ("ours", "peers")}
    ours = bench.open_async("queue", "rabbitmq", url=server.url, queue="ours-async")
    pika_channel = raw_channel(bench, server)
    kombu_connection = kombu.Connection(server.url, transport_options={"confirm_publish": True})
    bench.stack.callback(kombu_connection.release)
    aio = bench.runner.run(aio_pika.connect(server.url))
    bench.stack.callback(lambda: bench.runner.run(aio.close()))
    clean = lambda: [*(queue.purge() for queue in queues.values()), bench.runner.run(ours.purge())]  # noqa: E731
    publishing(bench, queues["ours"], ours, pika_channel, kombu_connection, aio)
    clean()
    many(bench, queues["ours"], ours, pika_channel, aio)
    clean()
    consuming(bench, server, queues, ours, kombu_connection, aio)


def raw_channel(bench: Bench, server: RabbitMQServer) -> Any:
    """A channel of pika's blocking connection."""
    connection = pika.BlockingConnection(pika.URLParameters(server.url))
    bench.stack.callback(connection.close)
    return connection.channel()


async def channel_of(connection: Any) -> Any:
    """A channel of aio-pika's connection."""
    return await connection.channel()


def publish_by_pika(channel: Any) -> None:
    """One message, until it is confirmed."""
    channel.basic_publish("", "peers", BODY, pika.BasicProperties(delivery_mode=2), mandatory=True)


def publish_by_aio_pika(channel: Any) -> Any:
    """One message, until it is confirmed."""
    return channel.default_exchange.publish(aio_pika.Message(BODY, delivery_mode=2), "peers")


def publishing(bench: Bench, queue: Any, ours: Any, channel: Any, kombu_connection: Any, aio: Any) -> None:
    """One by one, and by 32 at once."""
    channel.confirm_delivery()
    producer = kombu_connection.Producer()
    aio_channel = bench.runner.run(channel_of(aio))

    def by_kombu() -> None:
        producer.publish(
            BODY, routing_key="peers", exchange="", delivery_mode=2, content_type="application/octet-stream", content_encoding="binary"
        )

    one = "publish, one by one"
    bench.compare(
        one,
        Contender("pika", bench.repeat(lambda: publish_by_pika(channel))),
        Contender("driver", bench.repeat(lambda: queue.driver.send(queue.queue, [Message(BODY)], TIMEOUT))),
        Contender("portable", bench.repeat(lambda: queue.publish(BODY))),
        Contender("portable, asyncio", bench.repeat_async(lambda: ours.publish(BODY))),
        Contender("kombu", bench.repeat(by_kombu)),
        Contender("aio-pika", bench.repeat_async(lambda: publish_by_aio_pika(aio_channel))),
        operations=100,
    )
    bench.at_least(one, "portable", 0.95, why=ENVELOPE)
    bench.at_most(f"{one}: the core", "portable", 1.10, over="driver")
    bench.compare(
        "publish by 32 at once",
        Contender("aio-pika, 32 tasks", bench.repeat_async(lambda: publish_by_aio_pika(aio_channel), tasks=32)),
        Contender("portable, 32 threads", bench.repeat_threads(lambda: queue.publish(BODY), threads=32)),
        Contender("portable, asyncio, 32 tasks", bench.repeat_async(lambda: ours.publish(BODY), tasks=32)),
        operations=640,
    )
    for name in ("portable, 32 threads", "portable, asyncio, 32 tasks"):
        bench.at_least(
            f"publish by 32 at once: {name}",
            name,
            5,
            over="portable" if "asyncio" not in name else "portable, asyncio",
            case=one,
            why=THREADS,
        )


def many(bench: Bench, queue: Any, ours: Any, channel: Any, aio: Any) -> None:
    """Batches."""
    aio_channel = bench.runner.run(channel_of(aio))
    limit = queue.driver.limits.batch
    for size in (100, 1000):

        async def gathered(size: int = size) -> None:
            await asyncio.gather(*(publish_by_aio_pika(aio_channel) for _ in range(size)))

        def driver(size: int = size) -> None:
            for start in range(0, size, limit):
                queue.driver.send(queue.queue, [Message(BODY) for _ in range(start, min(size, start + limit))], TIMEOUT)

        case = f"publish {size} at once, a message"
        bench.compare(
            case,
            Contender("pika, one by one", bench.repeat(lambda: publish_by_pika(channel))),
            Contender("driver", bench.repeat(driver, size=size)),
            Contender("portable", bench.repeat(lambda size=size: queue.publish_many([BODY] * size), size=size)),
            Contender("portable, asyncio", bench.repeat_async(lambda size=size: ours.publish_many([BODY] * size), size=size)),
            Contender("aio-pika, gathered", bench.repeat_async(gathered, size=size)),
            operations=1000 if size == 1000 else 500,
            step=size,
            unit="message",
        )
        bench.at_most(f"{case}: the core", "portable", 1.10, over="driver")
    bench.at_least(case, "portable", 8)
    bench.at_least(f"{case}: over aio-pika", "portable", 1.4, over="aio-pika, gathered")


def consuming(bench: Bench, server: RabbitMQServer, queues: Any, ours: Any, kombu_connection: Any, aio: Any) -> None:
    """A handler that does nothing, each message acknowledged."""
    queue, peers = queues["ours"], queues["peers"]
    channel, channel_of_one = raw_channel(bench, server), raw_channel(bench, server)
    channel.basic_qos(prefetch_count=PREFETCH)
    channel_of_one.basic_qos(prefetch_count=1)
    kombu_channel = kombu_connection.channel()
    kombu_channel.basic_qos(0, PREFETCH, False)

    async def aio_setup() -> Any:
        channel = await aio.channel()
        await channel.set_qos(PREFETCH)
        return await channel.get_queue("peers")

    aio_queue = bench.runner.run(aio_setup())

    def by_pika(channel: Any) -> Callable[[int], None]:
        def run(count: int) -> None:
            left = count

            def handle(channel: Any, method: Any, _properties: Any, _body: bytes) -> None:
                nonlocal left
                channel.basic_ack(method.delivery_tag)
                left -= 1

            tag = channel.basic_consume("peers", handle)
            while left:
                channel.connection.process_data_events(1)
            channel.basic_cancel(tag)

        return run

    def by_kombu(count: int) -> None:
        left = count

        def handle(message: Any) -> None:
            nonlocal left
            kombu_channel.basic_ack(message.delivery_tag)
            left -= 1

        tag = kombu_channel.basic_consume("peers", callback=handle, consumer_tag="kombu", no_ack=False)
        while left:
            with suppress(TimeoutError):
                kombu_connection.drain_events(timeout=5)
        kombu_channel.basic_cancel(tag or "kombu")

    async def by_aio_pika(count: int) -> None:
        left, done = count, asyncio.Event()

        async def handle(message: Any) -> None:
            nonlocal left
            await message.ack()
            left -= 1
            if not left:
                done.set()

        tag = await aio_queue.consume(handle)
        await done.wait()
        await aio_queue.cancel(tag)

    def by_us(count: int) -> None:
        stop, counted = Stop(), Countdown(count)
        queue.consume(lambda _: counted() and stop.set(), stop=stop)

    async def by_us_async(count: int) -> None:
        stop, counted = AsyncStop(), Countdown(count)

        async def handle(_: Any) -> None:
            if counted():
                stop.set()

        await ours.consume(handle, stop=stop)

    def fill(one: Any) -> Callable[[int], object]:
        return lambda count: one.publish_many([BODY] * count)

    case = "consume, a message"
    bench.compare(
        case,
        Contender("pika", by_pika(channel), prepare=fill(peers)),
        Contender("pika, prefetch 1", by_pika(channel_of_one), prepare=fill(peers)),
        Contender("portable", by_us, prepare=fill(queue)),
        Contender(
            "portable, asyncio",
            lambda count: bench.runner.run(by_us_async(count)),
            prepare=lambda count: bench.runner.run(ours.publish_many([BODY] * count)),
        ),
        Contender("kombu", by_kombu, prepare=fill(peers)),
        Contender("aio-pika", lambda count: bench.runner.run(by_aio_pika(count)), prepare=fill(peers)),
        operations=1000,
        unit="message",
        rounds=5,
    )
    for name in ("portable", "portable, asyncio"):
        bench.at_least(f"{case}: {name}, over pika", name, 0.85, why="handlers run in threads, so that each delivery changes threads twice")
        bench.at_least(f"{case}: {name}, over kombu", name, 1.0, over="kombu")
        bench.at_least(f"{case}: {name}, over aio-pika", name, 1.7, over="aio-pika")
        bench.at_least(f"{case}: {name}, over prefetch 1", name, 5, over="pika, prefetch 1")


class Countdown:
    """Counts calls from any thread; True for the last.

    Args:
        count: How many there will be.
    """

    def __init__(self, count: int) -> None:
        self._left = iter(range(count - 1, -1, -1))

    def __call__(self) -> bool:
        """Count one; `next` of a range is atomic."""
        return next(self._left, None) == 0
