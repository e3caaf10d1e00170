"""The Redis cache passes the suite, through both doors."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping

import pytest

from infra_testing.conformance.cache import AsyncCacheConformance, CacheConformance
from infra_testing.harness import Harness
from infra_testing.private import PrivateServer
from infra_testing.pytest_plugin import shared
from infra_testing.services import RedisServer

_prefix = "unset"


def settings() -> Mapping[str, object]:
    """The run's server, however busy the machine, and keys that no other test has."""
    return {"host": "127.0.0.1", "port": shared(RedisServer).port, "prefix": _prefix, "timeout": 20.0}


@pytest.fixture(autouse=True)
def own_keys() -> None:
    """A prefix for each test."""
    global _prefix
    _prefix = f"t{secrets.token_hex(6)}"


own_server = PrivateServer(RedisServer, lambda port: {"port": port})


@pytest.fixture(autouse=True, scope="module")
def end_of_own_server() -> Iterator[None]:
    """The server that the fault cases start ends with the module."""
    yield
    own_server.close()


class TestRedis(CacheConformance):
    harness = Harness("redis", settings, plugin="infra_redis", server=own_server)


class TestRedisAsync(AsyncCacheConformance):
    harness = Harness("redis", settings, plugin="infra_redis", server=own_server)
