"""Redis queues as hosts configure them: by URL, in the environment, beside a cache, several on one server, with TLS."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import run

import pytest
import redis
import redis.asyncio

from infra import AsyncInfra, Infra
from infra.errors import ConfigurationError
from infra.queue import QueueError
from infra_testing.harness import Harness, Place
from infra_testing.pytest_plugin import StartServer
from infra_testing.services import RedisServer
from infra_testing.services.redis import TLSRedisServer


def test_a_url_in_the_environment_configures_a_queue(redis_server: RedisServer, tmp_path: Path) -> None:
    environ = {"INFRA_QUEUE__JOBS__URL": redis_server.url, "INFRA_QUEUE__JOBS__QUEUE": "kernel.environment"}
    with Infra(root=tmp_path, environ=environ) as services:
        queue = services.queue("jobs")
        assert (queue.provider, queue.queue) == ("redis", "kernel.environment")
        assert queue.publish({"number": 1}).durability == "disk"
        (delivery,) = queue.receive(wait=10)
        assert delivery.decode() == {"number": 1}
        delivery.ack()
        assert queue.unwrap(redis.Redis).ping()


def test_the_well_known_names_are_the_caches_alone(redis_server: RedisServer, tmp_path: Path) -> None:
    environ = {"REDIS_URL": redis_server.url}
    with Infra({"queue": {"main": {"startup": "lazy"}}}, root=tmp_path, environ=environ) as services:
        assert services.cache().provider == "redis"
        assert services.queue().provider == "sqlite"


async def test_queues_on_one_server_share_their_connections(redis_server: RedisServer, tmp_path: Path) -> None:
    one = {"url": redis_server.url}
    queues = {"one": {**one, "queue": "kernel.one"}, "two": {**one, "queue": "kernel.two", "wait": 1.0}, "three": {**one, "db": 1}}
    async with AsyncInfra({"queue": queues}, root=tmp_path, environ={}) as services:
        a, b, c = services.queue("one"), services.queue("two"), services.queue("three")
        assert a.driver is b.driver
        assert a.driver is not c.driver
        await a.publish(b"a")
        await b.publish(b"b")
        assert [delivery.body for delivery in await b.receive()] == [b"b"]
        assert [delivery.body for delivery in await a.receive()] == [b"a"]
        assert await a.unwrap(redis.asyncio.Redis).ping()


def test_nothing_stays_open_when_a_queue_is_closed(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(RedisServer)
    queue = Harness("redis", {"port": server.port, "host": "127.0.0.1"}, "infra_redis").open("queue", Place(tmp_path))
    queue.publish(b"x")
    assert len(queue.receive()) == 1
    assert queue.receive(wait=0.05) == []
    queue.close()
    deadline = time.monotonic() + 60
    with redis.Redis(port=server.port) as client:
        while len(client.client_list()) > 1:
            assert time.monotonic() < deadline, "connections stay open"
            time.sleep(0.01)


def test_the_node_of_a_cluster_that_has_the_slot_serves_a_queue(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(RedisServer, options={"cluster-enabled": "yes"})
    harness = Harness("redis", {"port": server.port, "host": "127.0.0.1", "queue": "of a {cluster}"}, "infra_redis")
    with redis.Redis(port=server.port, decode_responses=True) as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        deadline = time.monotonic() + 60
        while "cluster_state:ok" not in str(client.execute_command("CLUSTER", "INFO")):
            assert time.monotonic() < deadline, "the cluster does not begin"
            time.sleep(0.01)
        queue = harness.open("queue", Place(tmp_path))
        queue.publish_many([queue.message(b"x", key="k", dedup_key=str(number), delay=0.01 * number) for number in range(4)])
        for _ in range(4):  # a server refuses scripts whose keys belong to several slots, or were not named
            (delivery,) = queue.receive(wait=20)
            delivery.dead("to be seen again")
        assert queue.dead_letters.redrive() == 4
        assert queue.consume(print, until="empty").handled == 4
        assert len(queue.peek()) == queue.purge() == queue.stats().ready == 0
        queue.close()
        names = client.keys()
        slots = {client.cluster("keyslot", name) for name in names}
        assert len(slots) == 1


def test_tls_serves_queues_too(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(TLSRedisServer)
    settings = {"url": f"rediss://localhost:{server.port}/0", "tls_ca": str(server.root / "ca.crt")}
    with Infra({"queue": {"main": settings}}, root=tmp_path, environ={}) as services:
        queue = services.queue()
        queue.publish(b"x" * 200_000)
        (delivery,) = queue.receive(wait=10)
        assert delivery.body == b"x" * 200_000
        delivery.ack()
        assert queue.consume(print, until=0.2).handled == 0  # whose end interrupts a receive that waits


async def test_tls_serves_tasks_too(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(TLSRedisServer)
    settings = {"url": f"rediss://localhost:{server.port}/0", "tls_ca": str(server.root / "ca.crt")}
    async with AsyncInfra({"queue": {"main": settings}}, root=tmp_path, environ={}) as services:
        queue = services.queue()
        await queue.publish(b"x" * 200_000)
        (delivery,) = await queue.receive(wait=10)
        assert delivery.body == b"x" * 200_000
        await delivery.ack()
        assert (await queue.consume(print, until=0.2)).handled == 0


@pytest.mark.parametrize("capability", ["cache", "queue"])
def test_a_descriptor_needs_no_sdk(capability: str) -> None:
    program = f"import sys, infra_redis; infra_redis.infra_{capability}(); assert not {{'redis', 'pydantic'}} & set(sys.modules)"
    assert run([sys.executable, "-c", program], check=False).returncode == 0


class Sentinel(RedisServer):
    """A Sentinel on a free port."""

    def prepare(self) -> None:
        (self.root / "sentinel.conf").write_text(f"port {self.port}\nsentinel monitor main 127.0.0.1 1 1\n")

    def command(self) -> list[str]:
        return [super().command()[0], "sentinel.conf", "--sentinel"]


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: RedisServer({"cluster-enabled": "yes", "appendonly": "no"}), "is a node of a cluster"),
        (lambda: RedisServer({"replicaof": "127.0.0.1 1", "replica-serve-stale-data": "yes"}), "is a replica of 127.0.0.1:1"),
        (Sentinel, "is a Sentinel"),
    ],
    ids=["cluster", "replica", "sentinel"],
)
@pytest.mark.parametrize("topology", ["ensure", "check", "none"])
def test_a_server_that_cannot_keep_a_queue_is_refused_when_it_opens(
    start_server: StartServer, tmp_path: Path, make: Callable[[], RedisServer], why: str, topology: str
) -> None:
    server = start_server(make)
    harness = Harness("redis", {"port": server.port, "host": "127.0.0.1", "topology": topology}, "infra_redis")
    with pytest.raises(ConfigurationError, match=why) as caught:
        harness.open("queue", Place(tmp_path)).close()
    assert caught.value.remedy
    assert str(server.port) in caught.value.message


def test_health_and_opening_tell_that_the_server_takes_no_writes(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(RedisServer)
    harness = Harness("redis", {"port": server.port, "host": "127.0.0.1"}, "infra_redis")
    queue = harness.open("queue", Place(tmp_path))
    try:
        assert queue.health().status == "up"
        with redis.Redis(port=server.port) as client:
            client.config_set("min-replicas-to-write", 1)  # of which there is none
        health = queue.health()
        assert (health.status, "NOREPLICAS" in (health.message or "")) == ("down", True)
        with pytest.raises(QueueError, match="NOREPLICAS"):
            harness.open("queue", Place(tmp_path)).close()
    finally:
        queue.close()
