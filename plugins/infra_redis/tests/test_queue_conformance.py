"""The Redis queue passes the suite, through both doors. Each test has a queue of its own on the run's one server."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping

import pytest

from infra_testing.conformance.queue import AsyncQueueConformance, QueueConformance
from infra_testing.harness import Harness
from infra_testing.private import PrivateServer
from infra_testing.pytest_plugin import shared
from infra_testing.services import RedisServer

_queue = "unset"


def settings() -> Mapping[str, object]:
    """The run's server, and a queue that no other test has."""
    return {"host": "127.0.0.1", "port": shared(RedisServer).port, "queue": _queue}


@pytest.fixture(autouse=True)
def own_queue() -> None:
    """A queue for each test."""
    global _queue
    _queue = f"conformance.{secrets.token_hex(6)}"


own_server = PrivateServer(RedisServer, lambda port: {"port": port})


@pytest.fixture(autouse=True, scope="module")
def end_of_own_server() -> Iterator[None]:
    """The server that the fault cases start ends with the module."""
    yield
    own_server.close()


class TestRedis(QueueConformance):
    harness = Harness("redis", settings, plugin="infra_redis", server=own_server)


class TestRedisAsync(AsyncQueueConformance):
    harness = Harness("redis", settings, plugin="infra_redis", server=own_server)
