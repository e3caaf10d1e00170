"""From settings to an open driver. Connections are made by the first calls; the kernel's first is `ping`."""

from __future__ import annotations

from functools import partial
from typing import Any

import redis
import redis.asyncio
from redis.asyncio import connection as asyncio_connection

from infra.plugin import OpenContext
from infra_redis.cache._async import AsyncRedisCacheDriver
from infra_redis.cache._sync import RedisCacheDriver
from infra_redis.connections import AsyncConnections, Connections
from infra_redis.settings import RedisCacheSettings


def open_driver(settings: RedisCacheSettings, context: OpenContext) -> RedisCacheDriver:  # noqa: ARG001
    """A blocking driver."""
    kind = redis.SSLConnection if settings.tls else redis.Connection
    arguments, size = settings.connection_arguments(), settings.max_connections
    pool: Any = partial(redis.BlockingConnectionPool, size, connection_class=kind, **arguments)
    client = redis.Redis.from_pool(pool(timeout=settings.timeout, socket_timeout=settings.timeout))
    return RedisCacheDriver(Connections(kind, arguments, size), client)


async def open_driver_async(settings: RedisCacheSettings, context: OpenContext) -> AsyncRedisCacheDriver:  # noqa: ARG001
    """An asyncio driver."""
    kind = asyncio_connection.SSLConnection if settings.tls else asyncio_connection.Connection
    arguments, size = settings.connection_arguments(), settings.max_connections
    pool: Any = partial(redis.asyncio.BlockingConnectionPool, size, connection_class=kind, **arguments)
    client = redis.asyncio.Redis.from_pool(pool(timeout=settings.timeout, socket_timeout=settings.timeout))
    return AsyncRedisCacheDriver(AsyncConnections(kind, arguments, size), client)
