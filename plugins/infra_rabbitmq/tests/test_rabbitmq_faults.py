"""RabbitMQ when the broker is restarted and short of memory."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pika
import pytest

from infra.queue import Message, PublishError, Receipt
from infra.runtime.threads import Stop
from infra_rabbitmq.settings import RabbitMQQueueSettings
from infra_testing.harness import Harness, Place
from infra_testing.pytest_plugin import provide
from infra_testing.services import RabbitMQServer


@pytest.fixture(scope="module")
def broker() -> Iterator[RabbitMQServer]:
    """A broker that these tests may restart."""
    with ExitStack() as stack:
        yield provide(RabbitMQServer, lambda kind: stack.enter_context(kind()))


def opened(server: RabbitMQServer, name: str, folder: Path, **settings: object) -> Any:
    fields = {**RabbitMQQueueSettings.expand_url(server.url), "queue": name, **settings}
    return Harness("rabbitmq", settings=fields).open("queue", Place(folder))


def wait_until(condition: Callable[[], object], timeout: float = 120.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not happen"
        time.sleep(0.02)


def consumers_of(server: RabbitMQServer, queue: str) -> int:
    connection = pika.BlockingConnection(pika.URLParameters(server.url))
    try:
        return connection.channel().queue_declare(queue, passive=True).method.consumer_count
    finally:
        connection.close()


def drain(queue: Any) -> list[str]:
    handled: list[str] = []
    deadline = time.monotonic() + 60
    while True:
        queue.consume(lambda delivery: handled.append(delivery.id), until="empty", concurrency=4)
        stats = queue.stats()
        if not stats.ready and not stats.in_flight:
            return handled
        assert time.monotonic() < deadline, f"{stats} after draining"


def test_a_consumer_goes_on_after_a_restart_and_there_is_one_of_it(broker: RabbitMQServer, tmp_path: Path) -> None:
    name = f"restarted.{uuid.uuid4().hex}"
    queue = opened(broker, name, tmp_path)
    broker.sync_declarations()
    handled: set[str] = set()
    stop = Stop()

    def publish(count: int) -> set[str]:
        waiting = [Message(b"x") for _ in range(count)]
        ids = {message.id for message in waiting}
        deadline = time.monotonic() + 60
        while waiting:
            assert time.monotonic() < deadline, "the broker takes nothing"
            answers = queue.publish_many(waiting)
            waiting = [message for message, answer in zip(waiting, answers, strict=True) if isinstance(answer, PublishError)]
        return ids

    try:
        with ThreadPoolExecutor(1) as pool:
            consuming = pool.submit(queue.consume, lambda delivery: handled.add(delivery.id), stop=stop, concurrency=4)
            try:
                first = publish(100)
                wait_until(lambda: first <= handled)
                for _ in range(2):  # connections that are lost, beside the broker that is
                    connection = queue.unwrap(pika.SelectConnection)
                    connection.ioloop.add_callback_threadsafe(connection.close)
                    wait_until(lambda connection=connection: connection.is_closed)
                    again = publish(20)
                    wait_until(lambda again=again: again <= handled)
                assert consumers_of(broker, name) == 1
                broker.restart()
                second = publish(100)
                wait_until(lambda: second <= handled)
                assert consumers_of(broker, name) == 1
            finally:
                stop.set()
            consuming.result(30)
    finally:
        queue.close()


def test_without_memory_publishers_wait_then_fail_while_consumers_go_on(broker: RabbitMQServer, tmp_path: Path) -> None:
    queue = opened(broker, f"alarm.{uuid.uuid4().hex}", tmp_path)
    try:
        queue.publish_many([b"1", b"2"])
        broker.ctl("set_vm_memory_high_watermark", "absolute", "1MB")
        try:
            with pytest.raises(PublishError) as caught:
                queue.publish(b"3", timeout=1.5)
            assert caught.value.outcome in ("not_sent", "unknown")
            assert caught.value.retryable
            found: list[Any] = []
            deadline = time.monotonic() + 20
            while len(found) < 2:
                assert time.monotonic() < deadline
                found += queue.receive(max=2, wait=1.0)
            for delivery in found:
                delivery.ack()
            waiting = threading.Thread(target=lambda: found.append(queue.publish(b"4", timeout=30)))
            waiting.start()
        finally:
            broker.ctl("set_vm_memory_high_watermark", "absolute", "512MB")
        waiting.join(30)
        assert isinstance(found[-1], Receipt)
        assert found[-1].id in drain(queue)
    finally:
        queue.close()
