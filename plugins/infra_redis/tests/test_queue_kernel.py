"""Redis queues as hosts configure them: by URL, in the environment, beside a cache, several on one server, with TLS."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from subprocess import run

import pytest
import redis
import redis.asyncio

from infra import AsyncInfra, Infra
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
