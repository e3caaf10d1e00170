"""From settings to an open driver. Connections are made by the first calls; the kernel's first is `ping`."""

from __future__ import annotations

from infra.plugin import OpenContext
from infra_redis.cache._async import AsyncRedisCacheDriver
from infra_redis.cache._sync import RedisCacheDriver
from infra_redis.cache.settings import RedisCacheSettings
from infra_redis.clients import client, client_async, connections, connections_async


def open_driver(settings: RedisCacheSettings, context: OpenContext) -> RedisCacheDriver:  # noqa: ARG001
    """A blocking driver."""
    return RedisCacheDriver(connections(settings), client(settings, settings.timeout))


async def open_driver_async(settings: RedisCacheSettings, context: OpenContext) -> AsyncRedisCacheDriver:  # noqa: ARG001
    """An asyncio driver."""
    return AsyncRedisCacheDriver(connections_async(settings), client_async(settings, settings.timeout))
