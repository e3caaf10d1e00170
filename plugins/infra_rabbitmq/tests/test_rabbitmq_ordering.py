"""Order by key in RabbitMQ's shards: through losses of connections, processes and the broker, and what is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pika
import pytest

from infra.errors import InfraError, UnsupportedError
from infra.queue import PublishError, RetryPolicy
from infra.runtime.threads import Stop
from infra_rabbitmq import topology
from infra_rabbitmq.settings import RabbitMQQueueSettings
from infra_rabbitmq.shards import PREFETCH
from infra_testing.harness import Harness, Place
from infra_testing.services import RabbitMQServer

KEYS = ("a", "b", "c")
BOTH = pytest.mark.parametrize("queue_type", ["quorum", "classic"])


@pytest.fixture
def name(rabbitmq_server: RabbitMQServer) -> Iterator[str]:
    """A queue's name of the test's own."""
    name = f"ordered.{uuid.uuid4().hex}"
    yield name
    connection = pika.BlockingConnection(pika.URLParameters(rabbitmq_server.url))
    for queue in (name, f"{name}.dead", *topology.Layout("", 4).shards_of(name)):
        connection.channel().queue_delete(queue)
    connection.close()


def fields(server: RabbitMQServer, name: str, **settings: object) -> dict[str, object]:
    return {**RabbitMQQueueSettings.expand_url(server.url), "queue": name, "shards": 2, **settings}


def opened(server: RabbitMQServer, folder: Path, name: str, **settings: object) -> Any:
    return Harness("rabbitmq", settings=fields(server, name, **settings)).open("queue", Place(folder))


def publish(queue: Any, each: int) -> None:
    answers = queue.publish_many([queue.message(str(number).encode(), key=key) for number in range(each) for key in KEYS])
    assert not [answer for answer in answers if isinstance(answer, PublishError)]


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not happen"
        time.sleep(0.02)


def take(queue: Any, count: int) -> list[Any]:
    found: list[Any] = []
    deadline = time.monotonic() + 120
    while len(found) < count:
        assert time.monotonic() < deadline, f"{len(found)} of {count} came"
        found += queue.receive(max=count - len(found), wait=1.0)
    return found


def firsts(seen: list[tuple[str, int]]) -> dict[str, list[int]]:
    """The numbers of each key, in the order in which they came first."""
    return {key: list(dict.fromkeys(number for one, number in seen if one == key)) for key in KEYS}


@BOTH
def test_what_several_consumers_give_back_keeps_its_order(
    rabbitmq_server: RabbitMQServer, tmp_path: Path, name: str, queue_type: str
) -> None:
    """More than a shard's credit, some of it settled each time, by receivers that stop, close, or lose their connection."""
    each, seen = 2 * PREFETCH, list[tuple[str, int]]()
    queues = [opened(rabbitmq_server, tmp_path, name, queue_type=queue_type) for _ in range(2)]
    publish(queues[0], each)
    try:
        for turn in range(4):
            queue = queues[0]
            other = threading.Thread(target=queues[1].receive, kwargs={"max": 1, "wait": 0.5})  # second in line at the broker
            for _ in range(5):
                for delivery in take(queue, 1):
                    seen.append((delivery.key, int(delivery.body)))
                    delivery.ack()
            other.start()
            last = take(queue, 1)[0]
            if turn % 2:
                last.release()
                queue.driver.interrupt(name)
                queue.close()
            else:
                connection = queue.unwrap(pika.SelectConnection)
                connection.ioloop.add_callback_threadsafe(connection.close)
                wait_until(lambda connection=connection: connection.is_closed)
                queue.close()
            other.join()
            queues[1].close()
            queues = [opened(rabbitmq_server, tmp_path, name, queue_type=queue_type) for _ in range(2)]
        policy = RetryPolicy(max_attempts=1000)
        stop = Stop()

        def handle(delivery: Any) -> None:
            seen.append((delivery.key, int(delivery.body)))

        with ThreadPoolExecutor(1) as pool:
            consuming = pool.submit(queues[0].consume, handle, stop=stop, concurrency=3, retry=policy)
            try:
                wait_until(lambda: len(set(seen)) == each * len(KEYS) or consuming.done())
            finally:
                stop.set()
            consuming.result(60)
        assert firsts(seen) == {key: list(range(each)) for key in KEYS}
        assert queues[0].stats().ready == 0
    finally:
        for queue in queues:
            queue.close()


@BOTH
def test_a_retry_holds_its_key_only_and_counts(rabbitmq_server: RabbitMQServer, tmp_path: Path, name: str, queue_type: str) -> None:
    queue = opened(rabbitmq_server, tmp_path, name, queue_type=queue_type, shards=1)
    try:
        publish(queue, 2)
        first = {delivery.key: delivery for delivery in take(queue, 3)}
        queue.driver.settle(name, [(first["a"]._token, queue.retry_action(0.0))], 10.0)
        first["b"].ack()
        first["c"].dead("no use")
        found = {(one.key, one.body, one.attempt) for one in take(queue, 3)}
        assert found == {("a", b"0", 2), ("b", b"1", 1), ("c", b"1", 1)}
        assert queue.dead_letters.redrive() == 1
        assert queue.stats().ready == 2  # a's second one, and c's first one behind its second
        assert queue.purge() == 2
    finally:
        queue.close()


def test_what_is_refused(rabbitmq_server: RabbitMQServer, tmp_path: Path, name: str) -> None:
    plain = opened(rabbitmq_server, tmp_path, name, shards=0)
    queue = opened(rabbitmq_server, tmp_path, name)
    try:
        with pytest.raises(UnsupportedError, match="ordering") as caught:
            plain.publish(b"x", key="k")
        assert "set `shards`" in str(caught.value.remedy)
        with pytest.raises(UnsupportedError) as caught:
            opened(rabbitmq_server, tmp_path, name, shards=0, require=["ordering"])
        assert "set `shards`" in str(caught.value.remedy)
        refused, taken = queue.publish_many([queue.message(b"x", key="k", delay=60), queue.message(b"y", key="k")])
        assert refused.outcome == "refused"
        assert "overtake" in str(refused)
        assert not isinstance(taken, PublishError)
        with pytest.raises(InfraError, match="shard-1"):
            opened(rabbitmq_server, tmp_path, name, shards=1)
    finally:
        queue.close()
        plain.close()


def test_a_key_has_the_same_shard_everywhere() -> None:
    layout = topology.Layout("quorum", 4)
    assert [layout.place("q", key) for key in ("a", "b", "ž", None)] == ["q.shard-3", "q.shard-1", "q.shard-3", "q"]
    assert topology.Layout("quorum").place("q", "a") == "q"


CHILD = """
import json, os, sys, time
from pathlib import Path
from infra_testing.harness import Harness, Place

settings, folder, log = json.loads(sys.argv[1]), Path(sys.argv[2]), os.open(sys.argv[3], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

def handle(delivery):
    os.write(log, f"{delivery.key} {delivery.body.decode()} {os.getpid()}\\n".encode())
    time.sleep(0.01)

Harness("rabbitmq", settings=settings).open("queue", Place(folder)).consume(handle, concurrency=3)
"""


def test_another_process_goes_on_in_order_when_one_is_killed_and_the_broker_restarted(start_server: Any, tmp_path: Path) -> None:
    server: RabbitMQServer = start_server(RabbitMQServer)
    queue, log, each = opened(server, tmp_path, "ordered"), tmp_path / "log", 3 * PREFETCH
    server.sync_declarations()
    publish(queue, each)
    log.touch()
    settings = json.dumps(fields(server, "ordered"), default=str)
    children = [subprocess.Popen([sys.executable, "-c", CHILD, settings, str(tmp_path), str(log)]) for _ in range(2)]

    def lines() -> list[list[str]]:
        return [line.split() for line in log.read_text().splitlines()]

    try:
        wait_until(lambda: len(lines()) >= 20)
        first = lines()[-1][2]
        os.kill(int(first), signal.SIGKILL)
        wait_until(lambda: any(line[2] != first for line in lines()))
        more = len(lines()) + 20
        wait_until(lambda: len(lines()) >= more)
        server.restart()
        wait_until(lambda: len({(key, number) for key, number, _ in lines()}) == each * len(KEYS))
        assert firsts([(key, int(number)) for key, number, _ in lines()]) == {key: list(range(each)) for key in KEYS}
    finally:
        for child in children:
            child.kill()
            child.wait()
        queue.close()
