"""Redis killed three times under load, and a worker with it: a ledger says whether anything that was acknowledged is lost."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import redis

from infra.queue import Delivery, LeaseLostError, RetryPolicy
from infra.runtime.threads import Stop
from infra_testing.harness import Harness, Place
from infra_testing.ledger import Load
from infra_testing.pytest_plugin import StartServer
from infra_testing.services import RedisServer

SLEEPER = """
import sys
from pathlib import Path
from infra_testing.harness import Harness, Place

queue = Harness("redis", {"host": "127.0.0.1", "port": int(sys.argv[1]), "queue": "stopped"}, "infra_redis").open("queue", Place(Path(".")))
(delivery,) = queue.receive(wait=60, lease=2.0)
print(delivery.id, flush=True)
sys.stdin.readline()
try:
    delivery.ack()
except Exception as error:
    print(type(error).__name__, flush=True)
else:
    print("acknowledged", flush=True)
queue.close()
"""


def test_nothing_acknowledged_is_lost_when_the_server_and_a_worker_are_killed(
    start_server: StartServer, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    server = start_server(RedisServer)  # appendfsync always
    harness = Harness("redis", {"host": "127.0.0.1", "port": server.port, "queue": "ledger"}, "infra_redis")
    with Load(harness, tmp_path / "load", worker={"lease": 5.0}) as load:
        load.wait_for_progress()
        load.kill_process()
        for _ in range(3):
            server.kill()
            server.start()
            load.wait_for_progress()
        load.queue.unwrap(redis.Redis).script_flush()
        load.wait_for_progress()
        counts = load.settle()
        groups = load.queue.unwrap(redis.Redis).xinfo_groups("infra:{ledger}:messages")
        assert [group["pending"] for group in groups] == [0]
    record_property("ledger", counts)
    print(counts)


def test_order_by_key_holds_while_the_server_is_killed(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(RedisServer)
    settings = {
        "host": "127.0.0.1",
        "port": server.port,
        "queue": "ordered",
        "publish_attempts": 100,
        "timeout": 60,
        "lease": 3.0,
        "wait": 1.0,
    }
    publisher, *consumers = [Harness("redis", settings, "infra_redis").open("queue", Place(tmp_path)) for _ in range(3)]
    handled: dict[str, list[int]] = {key: [] for key in "abcde"}
    stop = Stop()

    def handle(delivery: Delivery) -> None:
        assert delivery.key is not None
        handled[delivery.key].append(int(delivery.body))
        if delivery.attempt == 1 and int(delivery.body) % 7 == 3:
            raise RuntimeError("once more")

    retry = RetryPolicy(max_attempts=1000, backoff=lambda _attempt: 0.01)
    with ThreadPoolExecutor(2) as pool:
        consuming = [pool.submit(queue.consume, handle, stop=stop, concurrency=3, retry=retry) for queue in consumers]
        try:
            for number in range(40):
                if number in (10, 20, 30):
                    server.kill()
                    server.start()
                for key in handled:
                    publisher.publish(str(number).encode(), key=key)
            deadline = time.monotonic() + 120
            while any(set(numbers) != set(range(40)) for numbers in handled.values()):
                assert time.monotonic() < deadline, f"{publisher.stats()}, {handled}"
                time.sleep(0.02)
        finally:
            stop.set()
        for one in consuming:
            one.result(60)
    for queue in (publisher, *consumers):
        queue.close()
    for key, numbers in handled.items():
        once = [number for place, number in enumerate(numbers) if numbers.index(number) == place]
        again = [number for place, number in enumerate(numbers) if place and number < numbers[place - 1]]
        assert (once, again) == (list(range(40)), []), key


def test_a_process_that_was_stopped_past_its_lease_cannot_acknowledge(redis_server: RedisServer, tmp_path: Path) -> None:
    settings = {"host": "127.0.0.1", "port": redis_server.port, "queue": "stopped"}
    queue = Harness("redis", settings, "infra_redis").open("queue", Place(tmp_path))
    receipt = queue.publish(b"x")
    command = [sys.executable, "-c", SLEEPER, str(redis_server.port)]
    process = subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == f"{receipt.id}\n"
        process.send_signal(signal.SIGSTOP)
        (received,) = queue.driver.receive(queue.queue, 1, 60, 600)
        assert (received.message.id, received.message.attempt, received.abandoned) == (receipt.id, 2, True)
        process.send_signal(signal.SIGCONT)
        output, _ = process.communicate("go\n", timeout=60)
        assert output.strip() == LeaseLostError.__name__
    finally:
        process.kill()
        process.wait()
    stats = queue.stats()
    assert (stats.ready, stats.in_flight) == (0, 1)
    queue.close()


def test_without_a_log_a_restart_empties_the_queue_and_receipts_said_so(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(RedisServer, options={"appendonly": "no"})
    harness = Harness("redis", {"host": "127.0.0.1", "port": server.port}, "infra_redis")
    queue = harness.open("queue", Place(tmp_path))
    assert queue.publish(b"x").durability == "none"
    server.kill()
    server.start()
    assert queue.receive(wait=0.0) == []
    assert queue.publish(b"y").durability == "none"
    assert [delivery.body for delivery in queue.receive(wait=10)] == [b"y"]
    queue.close()
