"""From settings to an open driver. Connections are made by the first calls."""

from __future__ import annotations

from typing import Final

from infra.plugin import OpenContext
from infra_redis.clients import client, client_async, connections, connections_async
from infra_redis.queue._async import AsyncRedisQueueDriver
from infra_redis.queue._sync import RedisQueueDriver
from infra_redis.queue.settings import RedisQueueSettings
from infra_redis.queue.waiting import AsyncWaits, Waits

_MOST_WAITING: Final = 1000  # receives at once


def open_driver(settings: RedisQueueSettings, context: OpenContext) -> RedisQueueDriver:
    """A blocking driver."""
    waits, timeout = Waits(connections(settings, _MOST_WAITING)), settings.timeout
    host = settings.place() or ""
    return RedisQueueDriver(connections(settings), waits, client(settings, timeout), context, timeout, host)


async def open_driver_async(settings: RedisQueueSettings, context: OpenContext) -> AsyncRedisQueueDriver:
    """An asyncio driver."""
    waits, timeout = AsyncWaits(connections_async(settings, _MOST_WAITING)), settings.timeout
    return AsyncRedisQueueDriver(
        connections_async(settings), waits, client_async(settings, timeout), context, timeout, settings.place() or ""
    )
