"""What one user of a broker, or one message, must not do to the others: hold up delays, take attempts, be run twice at once."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pika
import pytest

from infra.queue import RetryPolicy
from infra_rabbitmq.settings import RabbitMQQueueSettings
from infra_testing.harness import Harness, Place
from infra_testing.pytest_plugin import provide
from infra_testing.services import RabbitMQServer


@pytest.fixture(scope="module")
def broker() -> Iterator[RabbitMQServer]:
    """A broker whose connections and deliveries these tests may end."""
    with ExitStack() as stack:
        yield provide(lambda: RabbitMQServer({"consumer_timeout": "3000"}), lambda make: stack.enter_context(make()))


@pytest.fixture
def opened(broker: RabbitMQServer, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    with ExitStack() as stack:

        def make(name: str, **settings: object) -> Any:
            fields = {**RabbitMQQueueSettings.expand_url(broker.url), "queue": name, **settings}
            return stack.enter_context(Harness("rabbitmq", settings=fields).open("queue", Place(tmp_path)))

        yield make


def raw(server: RabbitMQServer) -> pika.BlockingConnection:
    return pika.BlockingConnection(pika.URLParameters(server.url))


def come(queue: Any, count: int, patience: float = 90.0) -> list[bytes]:
    found: list[bytes] = []
    deadline = time.monotonic() + patience
    while len(found) < count:
        assert time.monotonic() < deadline, f"{len(found)} of {count} came"
        for delivery in queue.receive(wait=1):
            found.append(delivery.body)
            delivery.ack()
    return found


@pytest.mark.parametrize("full", [False, True], ids=["deleted", "full"])
def test_delayed_messages_that_nobody_takes_hold_up_no_others(broker: RabbitMQServer, opened: Callable[..., Any], full: bool) -> None:
    name = f"old.{uuid.uuid4().hex}"
    old, live = opened(name), opened(f"live.{uuid.uuid4().hex}")
    old.publish_many([old.message(b"x", delay=0.2) for _ in range(100)])
    connection = raw(broker)
    if full:
        broker.ctl("set_policy", name, f"^{name}$", '{"max-length":1}', "--apply-to", "queues")
    else:
        connection.channel().queue_delete(name)
    live.publish_many([live.message(b"y", delay=1) for _ in range(10)])
    assert len(come(live, 10)) == 10
    if full:
        broker.ctl("clear_policy", name)
    connection.close()


def test_a_queue_that_is_made_anew_gets_its_delayed_messages(broker: RabbitMQServer, opened: Callable[..., Any]) -> None:
    name = f"anew.{uuid.uuid4().hex}"
    queue = opened(name)
    queue.publish(b"1", delay=0.1)
    assert come(queue, 1) == [b"1"]
    connection = raw(broker)
    for one in (name, f"{name}.due"):
        connection.channel().queue_delete(one)
    connection.close()
    opened(name, heartbeat=29)  # connections of its own, as another process has
    queue.publish(b"2", delay=0.1)
    assert come(queue, 1) == [b"2"]


def test_a_queue_of_the_hosts_own_retries_and_dead_letters(broker: RabbitMQServer, opened: Callable[..., Any]) -> None:
    name = f"own.{uuid.uuid4().hex}"
    connection = raw(broker)
    connection.channel().queue_declare(name, durable=True, arguments={"x-queue-type": "quorum"})
    queue = opened(name, topology="check")
    queue.publish(b"x")
    runs: list[int] = []

    def handle(delivery: Any) -> None:
        runs.append(delivery.attempt)
        raise ValueError("never")

    deadline = time.monotonic() + 90
    while not (connection.channel().queue_declare(name, passive=True) and len(runs) == 2):
        assert time.monotonic() < deadline
        queue.consume(handle, until=1.0, retry=RetryPolicy(max_attempts=2, backoff=lambda _: 0.1))
    (letter,) = queue.dead_letters.list()
    assert (runs, letter.message.body) == ([1, 2], b"x")
    connection.close()


def test_what_is_given_back_in_order_loses_no_attempt(opened: Callable[..., Any]) -> None:
    queue = opened(f"back.{uuid.uuid4().hex}")
    queue.publish_many([b"x"] * 40)
    for _ in range(4):
        queue.consume(lambda _: time.sleep(0.2), concurrency=1, prefetch=40, until=1.0)
    left = queue.stats().ready
    found: list[Any] = []
    while len(found) < left:
        found += queue.receive(max=left - len(found), wait=5)
    # What is on its way when a consumer ends, the broker counts: the one that the last acknowledgement made room for.
    assert sum(one.attempt - 1 for one in found) <= 4


def test_a_lost_connection_ends_handlers_before_others_begin_and_is_told_once(
    broker: RabbitMQServer, opened: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    queue = opened(f"cut.{uuid.uuid4().hex}")
    queue.publish(b"x")
    ends: list[bool] = []

    def handle(delivery: Any) -> None:
        if delivery.attempt > 1:
            return
        broker.ctl("close_all_connections", "maintenance")
        deadline = time.monotonic() + 60
        while not delivery.lost and time.monotonic() < deadline:
            time.sleep(0.02)
        ends.append(delivery.lost)

    deadline = time.monotonic() + 90
    handled = 0
    while not handled:
        assert time.monotonic() < deadline
        handled = queue.consume(handle, until=3.0).handled
    assert ends == [True]
    said = [record.getMessage() for record in caplog.records]
    assert sum("the connection to RabbitMQ" in one and "was lost" in one and "maintenance" in one for one in said) == 1
    assert sum("is there again" in one for one in said) == 1
    assert sum("lost the leases of 1 messages" in one for one in said) == 1


def test_a_handler_beyond_consumer_timeout_runs_once_and_the_log_names_it(
    broker: RabbitMQServer, opened: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    broker.ctl("eval", "application:set_env(rabbit, channel_tick_interval, 500).")
    queue = opened(f"long.{uuid.uuid4().hex}")
    queue.publish(b"x")
    runs: list[int] = []

    def handle(delivery: Any) -> None:
        runs.append(delivery.attempt)
        deadline = time.monotonic() + 60
        while not any("consumer_timeout" in record.getMessage() for record in caplog.records) and time.monotonic() < deadline:
            time.sleep(0.05)

    deadline = time.monotonic() + 90
    handled = 0
    while not handled:
        assert time.monotonic() < deadline
        handled = queue.consume(handle, until=6.0, concurrency=2).handled
    assert runs == [1]
    assert queue.dead_letters.list() == []


def test_asking_for_more_while_messages_come_counts_no_delivery(opened: Callable[..., Any]) -> None:
    """A quorum queue takes back what is on its way to a consumer that ends, and counts it."""
    attempts: list[int] = []
    for _ in range(5):
        queue = opened(f"neighbour.{uuid.uuid4().hex}")
        with ThreadPoolExecutor(1) as pool:
            published = pool.submit(lambda queue=queue: [queue.publish_many([b"x"] * 10) for _ in range(100)])
            for power in range(9):
                attempts += [one.attempt for one in queue.receive(2**power, wait=10.0)]
            published.result()
    assert set(attempts) == {1}
