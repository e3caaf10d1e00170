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
from infra_testing.private import PrivateServer
from infra_testing.services import RabbitMQServer


def cut(queue: Any) -> pika.SelectConnection:
    """Close the connection that `queue` receives on, as an administrator may; its driver connects again."""
    connection = queue.unwrap(pika.SelectConnection)
    connection.ioloop.add_callback_threadsafe(connection.close)
    return connection


def through_proxy(port: int) -> dict[str, object]:
    """The private broker's settings, with a queue of the case's own."""
    settings = RabbitMQQueueSettings.expand_url(own_server.proxy.url_of(own_server.server.url))
    return {**settings, "port": port, "queue": f"conformance.{uuid.uuid4().hex}"}


own_server = PrivateServer(RabbitMQServer, through_proxy)


@pytest.fixture(autouse=True, scope="module")
def end_of_own_server() -> Iterator[None]:
    """The broker that the fault cases start ends with the module."""
    yield
    own_server.close()


class Broker:
    """A queue of the test's own, whose leases are those of connections."""

    connection_lease = True
    shards = 0

    @pytest.fixture(autouse=True)
    def queue_of_its_own(self, rabbitmq_server: RabbitMQServer) -> Iterator[None]:
        name = f"conformance.{uuid.uuid4().hex}"
        settings = RabbitMQQueueSettings.expand_url(rabbitmq_server.url)
        self.harness = Harness("rabbitmq", settings={**settings, "queue": name, "shards": self.shards}, server=own_server)
        yield
        remove(rabbitmq_server.url, name, shards=self.shards)


def remove(url: str, *names: str, shards: int = 0) -> None:
    """Delete queues with their dead letters and shards."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    for name in names:
        for queue in (name, f"{name}.dead", *(f"{name}.shard-{number}" for number in range(shards))):
            channel.queue_delete(queue)
    connection.close()


class TestRabbitMQ(Broker, QueueConformance):
    def cut(self, queue: Any) -> None:
        connection = cut(queue)
        sync_steps.eventually(lambda: connection.is_closed)


class TestAsyncRabbitMQ(Broker, AsyncQueueConformance):
    async def cut(self, queue: Any) -> None:
        connection = cut(queue)
        await async_steps.eventually(lambda: connection.is_closed)


class TestRabbitMQShards(TestRabbitMQ):
    shards = 3


class TestAsyncRabbitMQShards(TestAsyncRabbitMQ):
    shards = 3


#: With shards only what they change; the rest runs the same code as without.
DIFFERENT = ("key", "settl", "closing", "stopping", "cancelled", "stats", "purge", "dead_letter", "features", "lost_lease", "two_")
for suite in (TestRabbitMQShards, TestAsyncRabbitMQShards):
    for case in dir(suite):
        if case.startswith("test_") and not any(word in case for word in DIFFERENT):
            setattr(suite, case, None)
