# Generated from test_queue_faults_async.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""What happens to the queue when its server, or the way to it, does not do what it should."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis, exceptions

from infra.errors import ConfigurationError, ErrorCode, InfraError
from infra.queue import LeaseLostError, Message, PublishError, PublishOutcome, Queue, QueueMissingError, Receipt
from infra.queue.model import SendFailure
from infra.runtime.threads import Background, Stop, sleep
from infra_redis.queue import scripts
from infra_testing.harness import Harness, Place
from infra_testing.proxy import Direction
from infra_testing.pytest_plugin import StartProxy, StartServer
from infra_testing.services import RedisServer

PATIENCE = 60.0
REDIS = Harness("redis", plugin="infra_redis", settings={"host": "127.0.0.1"})
Open = Callable[..., Queue]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    queues: list[Queue] = []
    name = f"faults.{secrets.token_hex(6)}"

    def open_one(port: int, **settings: Any) -> Queue:
        queue: Queue = REDIS.open("queue", Place(tmp_path), port=port, **{"queue": name, **settings})
        queues.append(queue)
        return queue

    yield open_one
    for queue in queues:
        queue.close()


def taken(queue: Queue, count: int, lease: float = 60.0) -> list[Any]:
    """Exactly so many deliveries; what fails meanwhile is tried again."""
    until = time.monotonic() + PATIENCE
    found: list[Any] = []
    while len(found) < count:
        assert time.monotonic() < until, f"{len(found)} of {count} messages came"
        try:
            found += queue.receive(count - len(found), wait=1.0, lease=lease)
        except InfraError as error:
            if not error.retryable:
                raise
            sleep(0.05)
    return found


def eventually(condition: Callable[[], object]) -> None:
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until, "the condition did not come true in time"
        sleep(0.01)


def send(queue: Queue, messages: list[Message], timeout: float = 20.0) -> list[Any]:
    """One attempt of the driver."""
    return list(queue.driver.send(queue.queue, messages, timeout))


def outcomes(answers: list[Any]) -> list[PublishOutcome]:
    return [answer.outcome for answer in answers if isinstance(answer, SendFailure)]


def test_a_batch_whose_answer_was_cut_off_is_there_once(opened: Open, redis_server: RedisServer, fault_proxy: StartProxy) -> None:
    proxy = fault_proxy(redis_server)
    queue, other = opened(proxy.port), opened(redis_server.port)
    assert isinstance((send(queue, [queue.message(b"first", dedup_key="d")]))[0], Receipt)
    batch = [queue.message(b"a", dedup_key="d"), queue.message(b"b"), queue.message(b"c", delay=3600), queue.message(b"d", key="k")]
    proxy.cut_answer_to(scripts.SEND.digest.encode())
    assert outcomes(send(queue, batch)) == [PublishOutcome.UNKNOWN] * 4
    further = queue.message(b"further")
    answers = send(queue, [*reversed(batch), further])
    assert [answer.id for answer in answers] == [message.id for message in [*reversed(batch), further]]
    assert [answer.duplicate for answer in answers] == [False, False, False, True, False]
    stats = other.stats()
    assert (stats.ready, stats.delayed) == (4, 1)
    send(queue, [batch[1]])  # once more on purpose: nobody asks whether it came
    assert (other.stats()).ready == 5


def test_publishing_through_a_bad_connection_repeats_nothing(opened: Open, redis_server: RedisServer, fault_proxy: StartProxy) -> None:
    proxy = fault_proxy(redis_server)
    queue, other = opened(proxy.port, publish_attempts=100, timeout=PATIENCE), opened(redis_server.port)
    sent: list[str] = []
    for number in range(40):
        if number % 4 == 1:
            proxy.cut_answer_to(scripts.SEND.digest.encode())
        answers = queue.publish_many([b"x"] * 5)
        sent += [answer.id for answer in answers if isinstance(answer, Receipt)]
    assert len(sent) == 200
    assert sorted(delivery.id for delivery in taken(other, 200)) == sorted(sent)
    assert (other.stats()).ready == 0


def test_what_arrives_after_it_was_given_up_is_refused(opened: Open, start_server: StartServer) -> None:
    server = start_server(RedisServer)
    queue = opened(server.port)
    send(queue, [queue.message(b"first")])
    late = queue.message(b"late")
    server.pause()
    assert outcomes(send(queue, [late], 0.3)) == [PublishOutcome.UNKNOWN]
    assert outcomes(send(queue, [late], 0.3)) == [PublishOutcome.UNKNOWN]  # nor does asking get an answer
    server.resume()  # and finds both in its buffers
    assert isinstance((send(queue, [late]))[0], Receipt)
    assert sorted(delivery.body for delivery in taken(queue, 2)) == [b"first", b"late"]
    assert (queue.stats()).ready == 0


def test_what_was_claimed_without_an_answer_comes_again_at_once_and_uncounted(
    opened: Open, redis_server: RedisServer, fault_proxy: StartProxy
) -> None:
    proxy = fault_proxy(redis_server)
    queue, other = opened(proxy.port), opened(redis_server.port)
    other.publish_many([b"x"] * 3)
    taken(queue, 1)
    proxy.cut_answer_to(scripts.CLAIM.digest.encode())
    with pytest.raises(InfraError) as caught:
        queue.receive(10, wait=0, lease=3600)
    assert caught.value.retryable
    assert (other.stats()).in_flight == 3
    received = queue.driver.receive(queue.queue, 10, PATIENCE, 60)
    assert [(one.message.attempt, one.abandoned) for one in received] == [(1, False)] * 2


def test_settling_without_an_answer_is_settled(opened: Open, redis_server: RedisServer, fault_proxy: StartProxy) -> None:
    proxy = fault_proxy(redis_server)
    queue, other = opened(proxy.port), opened(redis_server.port)
    queue.publish_many([b"x"] * 2)
    acknowledged, _ = taken(queue, 2)
    proxy.cut_answer_to(scripts.SETTLE.digest.encode())
    acknowledged.ack()
    stats = other.stats()
    assert (stats.ready, stats.in_flight) == (0, 1)


def test_a_receiver_waits_through_a_restart(opened: Open, start_server: StartServer) -> None:
    server = start_server(RedisServer)
    queue, publisher = opened(server.port), opened(server.port, publish_attempts=100, timeout=PATIENCE)
    handled: list[bytes] = []
    stop = Stop()
    jobs = Background("consumer")

    def handle(delivery: Any) -> None:
        handled.append(delivery.body)

    def consume(_stop: Stop) -> None:
        queue.consume(handle, stop=stop)

    jobs.start(consume, "consume")
    publisher.publish(b"1")
    eventually(lambda: handled == [b"1"])
    server.kill()
    assert outcomes(send(publisher, [Message(b"not")])) != []  # which may find out that the connection is closed
    assert outcomes(send(publisher, [Message(b"nor")])) == [PublishOutcome.NOT_SENT]
    server.start()
    publisher.publish(b"2")
    eventually(lambda: handled == [b"1", b"2"])
    stop.set()
    assert jobs.stop(PATIENCE)


def test_a_wait_can_be_ended_though_nothing_gets_through(opened: Open, redis_server: RedisServer, fault_proxy: StartProxy) -> None:
    proxy = fault_proxy(redis_server)
    queue = opened(proxy.port)
    ended: list[object] = []
    jobs = Background("receiver")

    def receive(_stop: Stop) -> None:
        ended.append(queue.driver.receive(queue.queue, 1, 3600, 60))

    jobs.start(receive, "receive")
    eventually(lambda: proxy.accepted >= 2 and queue.driver._waits.waiting)  # type: ignore[attr-defined]
    proxy.black_hole()
    queue.driver.interrupt(queue.queue)
    eventually(lambda: ended == [[]])
    assert jobs.stop(PATIENCE)
    proxy.heal()
    queue.publish(b"x")
    assert [delivery.body for delivery in taken(queue, 1)] == [b"x"]


def test_a_server_that_cannot_write_has_not_written(opened: Open, start_server: StartServer) -> None:
    server = start_server(RedisServer)
    queue = opened(server.port, publish_attempts=1)
    client = queue.unwrap(Redis)
    queue.publish(b"before")
    for break_it, mend, word in (
        (lambda: client.config_set("maxmemory", 1), lambda: client.config_set("maxmemory", 0), "maxmemory"),
        (lambda: client.replicaof("127.0.0.1", "1"), lambda: client.replicaof("NO", "ONE"), "replica"),
        (lambda: client.config_set("min-replicas-to-write", 1), lambda: client.config_set("min-replicas-to-write", 0), "replicas"),
    ):
        break_it()
        with pytest.raises(PublishError, match=word) as caught:
            queue.publish(b"x")
        assert (caught.value.outcome, caught.value.code, caught.value.retryable) == ("not_sent", ErrorCode.UNAVAILABLE, True)
        mend()
        queue.publish(b"after")
    assert sorted(delivery.body for delivery in taken(queue, 4)) == [b"after"] * 3 + [b"before"]
    assert (queue.stats()).ready == 0


def test_a_server_without_memory_serves_receivers(opened: Open, start_server: StartServer) -> None:
    server = start_server(RedisServer)
    queue = opened(server.port)
    client = queue.unwrap(Redis)
    queue.publish_many([b"%d" % number for number in range(6)])
    extended, retried, released, dead = taken(queue, 4)
    taken(queue, 1, lease=0.1)
    client.config_set("maxmemory", 1)
    extended.extend(120)
    retried.retry()
    released.release()
    dead.dead("seen")
    extended.ack()
    assert sorted(delivery.body for delivery in taken(queue, 4)) == [b"1", b"2", b"4", b"5"]
    client.config_set("maxmemory", 0)
    assert (queue.stats()).dead == 1


def test_an_entry_that_only_looks_like_ours_stops_nobody(opened: Open, start_server: StartServer) -> None:
    server = start_server(RedisServer)
    queue = opened(server.port)
    client = queue.unwrap(Redis)
    for about in ("no JSON", "[]", "{}", '{"created":"yesterday"}'):
        client.xadd(f"infra:{{{queue.queue}}}:messages", {"id": "1", "body": "x", "about": about})
    queue.publish(b"ours")
    *foreign, ours = taken(queue, 5)
    assert [delivery.decode()["body"] for delivery in foreign] == ["x"] * 4
    assert ours.body == b"ours"


def test_a_server_that_forgot_its_queues_gets_them_again_or_not(opened: Open, start_server: StartServer) -> None:
    server = start_server(RedisServer)
    queue = opened(server.port)
    checked = opened(server.port, topology="check", publish_attempts=1)
    queue.publish(b"lost")
    (delivery,) = taken(queue, 1)
    client = queue.unwrap(Redis)
    client.flushall()
    client.script_flush()
    with pytest.raises(LeaseLostError):
        delivery.ack()
    with pytest.raises(QueueMissingError):
        checked.receive(wait=0)
    with pytest.raises(PublishError) as caught:
        checked.publish(b"x")
    assert (caught.value.outcome, caught.value.code) == ("refused", ErrorCode.NOT_FOUND)
    assert queue.receive(wait=0) == []
    client.flushall()
    queue.publish(b"new")
    assert [delivery.body for delivery in taken(checked, 1)] == [b"new"]


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_a_server_that_evicts_is_refused(opened: Open, start_server: StartServer, policy: str) -> None:
    server = start_server(RedisServer, options={"maxmemory-policy": policy})
    with pytest.raises(ConfigurationError, match=policy) as caught:
        opened(server.port)
    assert caught.value.resource == "queue.main"
    assert "noeviction" in str(caught.value.remedy)


def test_receipts_say_what_the_server_does(opened: Open, start_server: StartServer) -> None:
    server = start_server(RedisServer)
    queue = opened(server.port)
    client = queue.unwrap(Redis)
    assert (queue.publish(b"x")).durability == "disk"
    for name, value, durability in (
        ("no-appendfsync-on-rewrite", "yes", "process"),
        ("no-appendfsync-on-rewrite", "no", "disk"),
        ("appendfsync", "everysec", "process"),
        ("appendonly", "no", "none"),
    ):
        client.config_set(name, value)
        queue.ping()
        assert (queue.publish(b"x")).durability == durability
    client.config_set("maxmemory-policy", "allkeys-lru")
    with pytest.raises(ConfigurationError, match="allkeys-lru"):
        queue.ping()


def test_an_account_that_may_not_ask_gets_the_least(opened: Open, start_server: StartServer, caplog: pytest.LogCaptureFixture) -> None:
    server = start_server(RedisServer)
    admin = (opened(server.port)).unwrap(Redis)
    for name, commands, durability in (
        ("half", ["+@all", "-config"], "process"),
        ("blind", ["+@all", "-config", "-info"], "none"),
    ):
        admin.acl_setuser(name, enabled=True, passwords=["+s3cret"], commands=commands, keys=["*"])
        caplog.clear()
        queue = opened(server.port, username=name, password="s3cret")
        assert (queue.publish(b"x")).durability == durability
        assert any("CONFIG GET" in record.message and durability in record.message for record in caplog.records)
    admin.acl_setuser("reader", enabled=True, passwords=["+s3cret"], commands=["+@all", "-xadd"], keys=["*"])
    queue = opened(server.port, username="reader", password="s3cret")
    with pytest.raises(PublishError) as caught:
        queue.publish(b"x")
    assert (caught.value.outcome, caught.value.code) == ("refused", ErrorCode.PERMISSION_DENIED)


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"password": "wrong-s3cret"}, ErrorCode.UNAUTHENTICATED),
        ({}, ErrorCode.UNAUTHENTICATED),
        ({"port": 1}, ErrorCode.UNAVAILABLE),
        ({"host": "nowhere.invalid"}, ErrorCode.UNAVAILABLE),
        ({"password": "right-s3cret", "db": 99}, ErrorCode.CONFIGURATION),
    ],
    ids=["password", "no-password", "port", "host", "database"],
)
def test_what_is_configured_wrongly_is_one_clear_line(
    tmp_path: Path, start_server: StartServer, settings: dict[str, Any], code: ErrorCode
) -> None:
    server = start_server(RedisServer, options={"requirepass": "right-s3cret"})
    with pytest.raises(InfraError) as caught:
        REDIS.open("queue", Place(tmp_path), **{"port": server.port, **settings})
    line = str(caught.value)
    assert caught.value.code is code
    assert line.startswith("queue.main: ")
    assert "\n" not in line
    assert "s3cret" not in line
    assert caught.value.remedy


def test_what_others_add_to_the_stream_is_delivered(opened: Open, redis_server: RedisServer) -> None:
    queue = opened(redis_server.port)
    client = queue.unwrap(Redis)
    stream = f"infra:{{{queue.queue}}}:messages"
    entry = client.xadd(stream, {"amount": "7", "what": "ž"})
    (delivery,) = taken(queue, 1)
    assert delivery.decode() == {"amount": "7", "what": "ž"}
    assert delivery.id.encode() == entry
    delivery.dead("nobody knows it")
    assert [letter.reason for letter in queue.dead_letters.list()] == ["nobody knows it"]
    assert queue.dead_letters.redrive([delivery.id]) == 1
    (delivery,) = taken(queue, 1)
    assert delivery.decode() == {"amount": "7", "what": "ž"}
    client.xdel(stream, delivery.id)
    delivery.ack()
    client.xadd(stream, {"deleted": "by hand"})
    taken(queue, 1, lease=0.05)
    client.xtrim(stream, 0)
    sleep(0.06)
    assert queue.receive(wait=0) == []
    stats = queue.stats()
    assert (stats.ready, stats.in_flight) == (0, 0)


def test_lines_survive_what_is_done_to_their_heads(opened: Open, redis_server: RedisServer) -> None:
    queue = opened(redis_server.port)

    def publish(*bodies: str, delay: float | None = None) -> None:
        messages = [queue.message(body.encode(), key="" if body.startswith("e") else body[0], delay=delay) for body in bodies]
        assert all(isinstance(answer, Receipt) for answer in queue.publish_many(messages))

    def bodies(count: int) -> list[str]:
        return sorted(delivery.body.decode() for delivery in taken(queue, count))

    publish("a0", "a1", "b0", "b1", "e0", "e1")
    held = {delivery.body.decode(): delivery for delivery in taken(queue, 3)}
    assert sorted(held) == ["a0", "b0", "e0"]
    assert queue.receive(wait=0) == []
    held["b0"].dead("so that it comes back behind b1")
    assert bodies(1) == ["b1"]
    assert queue.dead_letters.redrive() == 1
    assert queue.receive(wait=0) == []
    assert queue.purge() == 3  # a1, e1, b0
    publish("a2")
    assert queue.receive(wait=0) == []
    held["a0"].ack()
    assert bodies(1) == ["a2"]
    publish("c0", delay=3600)
    publish("c1", "c2")
    assert queue.receive(wait=0) == []
    assert queue.purge() == 3
    publish("c3")
    assert bodies(1) == ["c3"]
    held["e0"].ack()
    publish("e2")
    assert bodies(1) == ["e2"]


def test_nothing_is_left_of_a_queue_that_is_done(opened: Open, redis_server: RedisServer) -> None:
    queue, other = opened(redis_server.port), opened(redis_server.port)
    client = other.unwrap(Redis)
    queue.publish_many([queue.message(b"x", key=str(number % 3), delay=0.01 * (number % 2)) for number in range(20)])
    for _ in range(20):
        (delivery,) = taken(queue, 1)
        delivery.release()
        (delivery,) = taken(queue, 1)
        delivery.ack()
    queue.close()
    prefix = f"infra:{{{queue.queue}}}:"
    kept = {key.decode().removeprefix(prefix): client.type(key) for key in client.keys(f"{prefix}*")}
    assert {name for name in kept if not name.startswith("sent:")} == {"messages", "later", "wake"}
    assert [client.xlen(f"{prefix}{name}") for name in ("messages", "later", "wake")] == [0, 0, 1]
    assert client.xinfo_consumers(f"{prefix}messages", scripts.GROUP) == []
    lasting = [client.ttl(f"{prefix}{name}") for name in kept if name.startswith("sent:")]
    assert all(0 < seconds <= scripts.REMEMBERED for seconds in lasting)


def test_what_a_failed_script_says_is_classified(redis_server: RedisServer) -> None:
    from infra_redis.faults import classify

    for text, code in (
        ("NOGROUP No such key", ErrorCode.NOT_FOUND),
        ("ACL failure in script: User x has no permissions to run the 'xadd' command", ErrorCode.PERMISSION_DENIED),
        ("Error running script: -READONLY You can't write against a read only replica.", ErrorCode.UNAVAILABLE),
        ("Error running script: -OOM command not allowed when used memory > 'maxmemory'.", ErrorCode.UNAVAILABLE),
        ("MISCONF Errors writing to the AOF file: No space left on device", ErrorCode.UNAVAILABLE),
    ):
        assert classify(exceptions.ResponseError(text)) is code
    assert classify(exceptions.BusyLoadingError("Redis is loading the dataset in memory")) is ErrorCode.UNAVAILABLE


@pytest.mark.parametrize("way", [Direction.TO_SERVER, Direction.TO_CLIENT])
def test_a_way_that_is_cut_in_the_middle_costs_time_only(
    opened: Open, redis_server: RedisServer, fault_proxy: StartProxy, way: Direction
) -> None:
    proxy = fault_proxy(redis_server)
    queue, other = opened(proxy.port), opened(redis_server.port)
    message = queue.message(b"x" * 10_000)
    proxy.truncate(1000 if way is Direction.TO_SERVER else 0, way, then="reset")
    assert outcomes(send(queue, [message])) == [PublishOutcome.UNKNOWN]
    proxy.heal()
    assert isinstance((send(queue, [message]))[0], Receipt)
    assert (other.stats()).ready == 1
