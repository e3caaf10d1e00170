"""Redis as hosts configure it: by well-known names, by URL, with TLS."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis
import redis.asyncio

from infra import AsyncInfra, Infra
from infra.cache import Cache
from infra.errors import InfraError
from infra_testing.harness import Harness, Place
from infra_testing.pytest_plugin import StartServer
from infra_testing.services import RedisServer
from infra_testing.services.redis import TLSRedisServer
from infra_testing.services.wire import exchange


def test_the_well_known_names_configure_the_cache(redis_server: RedisServer, tmp_path: Path) -> None:
    for number, environ in enumerate(
        ({"REDIS_URL": redis_server.url}, {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(redis_server.port)}),
    ):
        with Infra({"cache": {"main": {"prefix": f"names{number}", "timeout": 10.0}}}, root=tmp_path, environ=environ) as services:
            cache = services.cache()
            assert cache.provider == "redis"
            assert cache.set("key", 1)
            assert cache.get("key") == 1
            client = cache.unwrap(redis.Redis)
            assert client.ping()


async def test_resources_on_one_server_share_their_connections(redis_server: RedisServer, tmp_path: Path) -> None:
    one = {"url": redis_server.url, "timeout": 10.0}
    resources = {"one": one, "two": one, "three": {**one, "db": 1}}
    async with AsyncInfra({"cache": resources}, root=tmp_path, environ={}) as services:
        a, b, c = services.cache("one"), services.cache("two"), services.cache("three")
        assert a.driver is b.driver
        assert a.driver is not c.driver
        assert await a.set("key", 1)
        assert await b.get("key") is None
        assert await a.unwrap(redis.asyncio.Redis).ping()


def test_a_wrong_password_stops_the_start_with_a_clear_line(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(RedisServer, options={"requirepass": "right-s3cret"})
    url = f"redis://:wrong-s3cret@127.0.0.1:{server.port}/0"
    with pytest.raises(InfraError) as caught, Infra({"cache": {"main": {"url": url}}}, root=tmp_path, environ={}):
        pass
    text = str(caught.value)
    assert "cache.main" in text
    assert "password" in text
    assert "correct `password` (arguments: cache.main.url)" in text
    assert "s3cret" not in text


def test_tls_is_verified(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(TLSRedisServer)
    assert not exchange(server.port, b"PING\r\n").startswith(b"+PONG")
    tls = Harness("redis", plugin="infra_redis", settings={"host": "localhost", "port": server.port, "tls": True, "timeout": 10.0})

    def opened(**settings: object) -> Cache:
        return tls.open("cache", Place(tmp_path), **settings)

    with opened(tls_ca=server.root / "ca.crt") as cache:
        assert cache.set("key", 1)
        assert cache.get("key") == 1
    with opened(tls_verify=False, host="127.0.0.1") as cache:
        assert cache.get("key") == 1
    for settings in ({}, {"tls_ca": server.root / "ca.crt", "host": "127.0.0.1"}):
        with opened(**settings) as cache, pytest.raises(InfraError, match="(?i)certificate"):
            cache.ping(10.0)


async def test_tls_serves_tasks_too(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(TLSRedisServer)
    url = f"rediss://localhost:{server.port}/0"
    settings = {"url": url, "tls_ca": str(server.root / "ca.crt"), "timeout": 10.0}
    async with AsyncInfra({"cache": {"main": settings}}, root=tmp_path, environ={}) as services:
        assert await services.cache().set("key", "x" * 500_000)
        assert await services.cache().get("key") == "x" * 500_000
