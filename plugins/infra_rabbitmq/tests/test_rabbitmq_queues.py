"""What is RabbitMQ's own: how it is chosen, shared and refused, and what classic queues do."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pika
import pytest

from infra import Infra
from infra.errors import ErrorCode, UnsupportedError
from infra.queue import Message, PublishError, QueueError, Receipt
from infra.runtime import aio
from infra_rabbitmq import topology
from infra_rabbitmq.envelope import dead_letter, envelope, properties
from infra_rabbitmq.settings import RabbitMQQueueSettings
from infra_testing.harness import Harness, Place
from infra_testing.services import RabbitMQServer


@pytest.fixture
def name(rabbitmq_server: RabbitMQServer) -> Iterator[str]:
    """A queue's name of the test's own."""
    name = f"own.{uuid.uuid4().hex}"
    yield name
    connection = pika.BlockingConnection(pika.URLParameters(rabbitmq_server.url))
    for queue in (name, f"{name}.dead", f"{name}.other", f"{name}.other.dead"):
        connection.channel().queue_delete(queue)
    connection.close()


def opened(server: RabbitMQServer, folder: Path, name: str, **settings: object) -> Any:
    fields = {**RabbitMQQueueSettings.expand_url(server.url), "queue": name, **settings}
    return Harness("rabbitmq", settings=fields).open("queue", Place(folder))


def one(queue: Any) -> Any:
    deadline = time.monotonic() + 20
    while not (found := queue.receive(max=1, wait=1.0)):
        assert time.monotonic() < deadline, "no message came"
    return found[0]


def cut(queue: Any) -> None:
    connection = queue.unwrap(pika.SelectConnection)
    connection.ioloop.add_callback_threadsafe(connection.close)
    deadline = time.monotonic() + 20
    while not connection.is_closed:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_url_chooses_it_and_queues_of_one_account_share_their_connections(
    rabbitmq_server: RabbitMQServer, tmp_path: Path, name: str
) -> None:
    url = rabbitmq_server.url
    settings = {"queue": {"main": {"queue": name}, "other": {"url": url, "queue": f"{name}.other"}}}
    with Infra(settings, root=tmp_path, environ={"RABBITMQ_URL": url}) as services:
        main, other = services.queue(), services.queue("other")
        assert main.provider == "rabbitmq"
        assert main.driver is other.driver
        main.publish(b"main")
        other.publish(b"other")
        assert (one(main).body, one(other).body) == (b"main", b"other")


def test_urls_of_amqp() -> None:
    expand = RabbitMQQueueSettings.expand_url
    assert expand("amqp://u:p%40@h:1/%2F")["vhost"] == "/"
    assert expand("amqp://u:p%40@h:1/%2F")["password"] == "p@"
    assert expand("amqp://h/team")["vhost"] == "team"
    assert "vhost" not in expand("amqp://h")
    assert "tls" not in expand("amqp://h")
    assert expand("amqps://h?heartbeat=5") == {"host": "h", "tls": True, "heartbeat": "5"}


def test_what_no_queue_takes_comes_back_and_fails_alone(rabbitmq_server: RabbitMQServer, tmp_path: Path, name: str) -> None:
    queue = opened(rabbitmq_server, tmp_path, name)
    nowhere = opened(rabbitmq_server, tmp_path, f"{name}.nowhere", topology="none")
    try:
        answers = nowhere.publish_many([b"1", b"2"])
        assert [type(answer) for answer in answers] == [PublishError] * 2
        assert {answer.outcome for answer in answers} == {"refused"}
        assert {answer.code for answer in answers} == {ErrorCode.NOT_FOUND}
        assert isinstance(queue.publish(b"there"), Receipt)
    finally:
        queue.close()
        nowhere.close()


def test_a_queue_that_is_deleted_while_it_is_consumed_is_made_again(rabbitmq_server: RabbitMQServer, tmp_path: Path, name: str) -> None:
    queue = opened(rabbitmq_server, tmp_path, name)
    try:
        queue.publish(b"1")
        one(queue).ack()
        connection = pika.BlockingConnection(pika.URLParameters(rabbitmq_server.url))
        connection.channel().queue_delete(name)
        connection.close()
        deadline = time.monotonic() + 20
        answers: list[Any] = []
        while not answers or isinstance(answers[0], PublishError):  # until the receiver has made it again
            assert time.monotonic() < deadline
            assert queue.receive(wait=0.2) == []
            answers = queue.publish_many([b"2"])
        assert one(queue).body == b"2"
    finally:
        queue.close()


def test_looking_at_dead_letters_does_not_change_them(rabbitmq_server: RabbitMQServer, tmp_path: Path, name: str) -> None:
    queue = opened(rabbitmq_server, tmp_path, name)
    try:
        queue.publish_many([b"1", b"2"])
        for _ in range(2):
            one(queue).dead("no use")
        first = queue.dead_letters.list()
        assert [letter.message.attempt for letter in first] == [1, 1]
        assert queue.dead_letters.list() == first
    finally:
        queue.close()


def test_a_connection_cut_before_the_confirm_leaves_one_message_with_one_id(
    rabbitmq_server: RabbitMQServer, fault_proxy: Any, tmp_path: Path, name: str
) -> None:
    proxy = fault_proxy(rabbitmq_server)
    queue = opened(rabbitmq_server, tmp_path, name, port=proxy.port)
    try:
        proxy.cut_answer_to(b"a body to look for")
        receipt = queue.publish(b"a body to look for")
        assert proxy.accepted == 2
        deadline = time.monotonic() + 20
        ids: list[str] = []
        while queue.stats().ready or not ids:
            assert time.monotonic() < deadline
            delivery = one(queue)
            ids.append(delivery.id)
            delivery.ack()
        assert set(ids) == {receipt.id}
    finally:
        queue.close()


async def test_connections_that_are_reset_lose_nothing(
    rabbitmq_server: RabbitMQServer, fault_proxy: Any, tmp_path: Path, name: str
) -> None:
    proxy = fault_proxy(rabbitmq_server)
    fields = {**RabbitMQQueueSettings.expand_url(rabbitmq_server.url), "queue": name, "port": proxy.port}
    queue: Any = await Harness("rabbitmq", settings=fields).open_async("queue", Place(tmp_path))
    handled: set[str] = set()
    returned: set[str] = set()
    stop = aio.Stop()

    async def handle(delivery: Any) -> None:
        handled.add(delivery.id)

    consuming = asyncio.create_task(queue.consume(handle, stop=stop, concurrency=4))
    try:
        for _ in range(3):
            for _ in range(5):
                answers = await queue.publish_many([b"x"] * 20)
                returned |= {answer.id for answer in answers if isinstance(answer, Receipt)}
            await asyncio.to_thread(proxy.reset)
        async with asyncio.timeout(30):
            while not returned <= handled:
                await asyncio.sleep(0.02)
        assert len(returned) == 300
    finally:
        stop.set()
        await consuming
        await queue.close()


def test_a_connection_that_nothing_comes_back_on_is_replaced_without_waiting_for_a_heartbeat(
    rabbitmq_server: RabbitMQServer, fault_proxy: Any, tmp_path: Path, name: str
) -> None:
    """The network is whole again, but what stood before stays dead; without heartbeats nothing else would ever tell."""
    proxy = fault_proxy(rabbitmq_server)
    queue = opened(rabbitmq_server, tmp_path, name, port=proxy.port, heartbeat=0)
    try:
        ids = {queue.publish(b"before").id}
        one(queue).ack()
        proxy.truncate(0, then="hang")
        with pytest.raises(PublishError) as caught:
            queue.publish(b"unknown", timeout=0.5)
        assert caught.value.outcome == "unknown"
        proxy.heal()
        receipt = queue.publish(b"after", timeout=60)
        ids |= {receipt.id, caught.value.message_id}
        found: set[str] = set()
        deadline = time.monotonic() + 60
        while receipt.id not in found:
            assert time.monotonic() < deadline, "the message does not come"
            try:
                deliveries = queue.receive(max=1, wait=1.0)
            except QueueError:  # while the connection for consuming is made anew
                continue
            for delivery in deliveries:
                found.add(delivery.id)
                delivery.ack()
        assert found <= ids
    finally:
        queue.close()


def test_closing_ends_on_time_when_the_broker_is_silent(
    rabbitmq_server: RabbitMQServer, fault_proxy: Any, tmp_path: Path, name: str
) -> None:
    proxy = fault_proxy(rabbitmq_server)
    queue = opened(rabbitmq_server, tmp_path, name, port=proxy.port)
    before = {thread for thread in threading.enumerate() if thread.name.startswith("infra-rabbitmq")}
    assert before
    proxy.black_hole()
    queue.close(0.5)
    deadline = time.monotonic() + 20
    while any(thread.is_alive() for thread in before):
        assert time.monotonic() < deadline, "a thread lives on"
        time.sleep(0.02)


def test_classic_queues_count_in_a_copy_and_refuse_delays(rabbitmq_server: RabbitMQServer, tmp_path: Path, name: str) -> None:
    queue = opened(rabbitmq_server, tmp_path, name, queue_type="classic")
    try:
        assert "delay" not in queue.features
        with pytest.raises(UnsupportedError, match="delay"):
            queue.publish(b"later", delay=1)
        receipt = queue.publish(b"x", headers={"a": "b"})
        for attempt in (1, 2, 3):
            delivery = one(queue)
            assert (delivery.id, delivery.attempt, dict(delivery.headers)) == (receipt.id, attempt, {"a": "b"})
            if attempt < 3:
                cut(queue)
        delivery.retry()
        delivery = one(queue)
        assert delivery.attempt == 4
        delivery.dead("enough")
        (letter,) = queue.dead_letters.list()
        assert (letter.message.id, letter.message.attempt, letter.reason) == (receipt.id, 4, "enough")
    finally:
        queue.close()


def test_an_envelope_comes_through_with_headers_named_like_the_brokers() -> None:
    sent = Message(
        b"x",
        headers={"x-death": "mine", "infra-attempt": "7", "traceparent": "odd", "plain": "text"},
        key="k",
        deliver_at=datetime(2030, 1, 2, tzinfo=UTC),
        traceparent="00-a-b-01",
    )
    found = envelope(properties(sent, 2), sent.body, 1)
    assert found == Message(
        sent.body, sent.id, sent.content_type, sent.headers, sent.created_at, "k", None, sent.deliver_at, 3, sent.traceparent
    )


def test_messages_of_other_publishers_are_understood() -> None:
    plain = envelope(pika.BasicProperties(), b"x", 1)
    assert (plain.body, plain.attempt, plain.content_type) == (b"x", 1, "application/octet-stream")
    foreign = pika.BasicProperties(
        message_id="i", timestamp=1_700_000_000, headers={"n": 5, "x-delivery-count": 2, "infra-created-at": "never", "infra-key": 1}
    )
    message = envelope(foreign, b"x", 1)
    assert (message.id, message.attempt, dict(message.headers), message.key) == ("i", 3, {"n": "5"}, None)
    assert message.created_at == datetime.fromtimestamp(1_700_000_000, UTC)
    letter = dead_letter(pika.BasicProperties(headers={"x-death": [{"reason": "delivery_limit"}]}), b"x")
    assert "delivery_limit" in letter.reason


def test_the_ladder_holds_no_message_too_short() -> None:
    for delay in (0.01, 0.1, 0.25, 1.0, 3600.0, topology.LONGEST, 10 * topology.LONGEST):
        exchange, key = topology.route("a.b", delay)
        digits = key.split(".")[: topology.RUNGS]
        units = int("".join(digits), 2)
        assert units * topology.UNIT >= min(delay, topology.LONGEST) - 1e-6
        assert (units - 1) * topology.UNIT < delay
        assert exchange == f"infra.delay.{units.bit_length() - 1}"
        assert key.endswith(".a.b")
    assert topology.route("a.b", 0.0) == ("", "a.b")
    assert topology.route("a.*.#", 1.0)[1].endswith(".a.%2A.%23")
