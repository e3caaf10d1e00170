"""From settings to connections of ours and a client of redis-py. Connections are made by the first calls."""

from __future__ import annotations

from functools import partial
from typing import Any

import redis
import redis.asyncio
from redis.asyncio import connection as asyncio_connection

from infra_redis.connections import AsyncConnections, Connections
from infra_redis.settings import RedisSettings


def connections(settings: RedisSettings, size: int | None = None) -> Connections:
    """Blocking connections: at most `size`, or what the settings say."""
    kind = redis.SSLConnection if settings.tls else redis.Connection
    return Connections(kind, settings.connection_arguments(), size or settings.max_connections)


def client(settings: RedisSettings, timeout: float) -> redis.Redis:
    """A blocking client with connections of its own."""
    kind = redis.SSLConnection if settings.tls else redis.Connection
    pool: Any = partial(redis.BlockingConnectionPool, settings.max_connections, connection_class=kind, **settings.connection_arguments())
    return redis.Redis.from_pool(pool(timeout=timeout, socket_timeout=timeout))


def connections_async(settings: RedisSettings, size: int | None = None) -> AsyncConnections:
    """Asyncio connections: at most `size`, or what the settings say."""
    kind = asyncio_connection.SSLConnection if settings.tls else asyncio_connection.Connection
    return AsyncConnections(kind, settings.connection_arguments(), size or settings.max_connections)


def client_async(settings: RedisSettings, timeout: float) -> redis.asyncio.Redis:
    """An asyncio client with connections of its own."""
    kind = asyncio_connection.SSLConnection if settings.tls else asyncio_connection.Connection
    arguments = settings.connection_arguments()
    pool: Any = partial(redis.asyncio.BlockingConnectionPool, settings.max_connections, connection_class=kind, **arguments)
    return redis.asyncio.Redis.from_pool(pool(timeout=timeout, socket_timeout=timeout))
