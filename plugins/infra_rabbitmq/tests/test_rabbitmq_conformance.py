"""RabbitMQ, against the suite that holds for every queue. Each test has a queue of its own on the run's one broker."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pika
import pytest

from infra_rabbitmq.settings import RabbitMQQueueSettings
from infra_testing.conformance.queue import AsyncQueueConformance, QueueConformance
from infra_testing.conformance.queue._async import steps as async_steps
from infra_testing.conformance.queue._sync import steps as sync_steps
from infra_testing.harness import Harness
from infra_testing.services import RabbitMQServer


def cut(queue: Any) -> pika.SelectConnection:
    """Close the connection that `queue` receives on, as an administrator may; its driver connects again."""
    connection = queue.unwrap(pika.SelectConnection)
    connection.ioloop.add_callback_threadsafe(connection.close)
    return connection


class Broker:
    """A queue of the test's own, whose leases are those of connections."""

    connection_lease = True
    extra: dict[str, object] = {}

    @pytest.fixture(autouse=True)
    def queue_of_its_own(self, rabbitmq_server: RabbitMQServer) -> Iterator[None]:
        name = f"conformance.{uuid.uuid4().hex}"
        settings = RabbitMQQueueSettings.expand_url(rabbitmq_server.url)
        self.harness = Harness("rabbitmq", settings={**settings, "queue": name, **self.extra})
        yield
        remove(rabbitmq_server.url, name)


def remove(url: str, *names: str) -> None:
    """Delete queues with their dead letters."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    for name in names:
        channel.queue_delete(name)
        channel.queue_delete(f"{name}.dead")
    connection.close()


class TestRabbitMQ(Broker, QueueConformance):
    def cut(self, queue: Any) -> None:
        connection = cut(queue)
        sync_steps.eventually(lambda: connection.is_closed)


class TestAsyncRabbitMQ(Broker, AsyncQueueConformance):
    async def cut(self, queue: Any) -> None:
        connection = cut(queue)
        await async_steps.eventually(lambda: connection.is_closed)
