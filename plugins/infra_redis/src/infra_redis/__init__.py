"""Redis. Descriptors only."""

from __future__ import annotations

from collections.abc import Sequence

from infra.plugin import Provider, hookimpl


@hookimpl
def infra_cache() -> Sequence[Provider]:
    """A cache on a Redis server."""
    return [
        Provider(
            name="redis",
            summary="cache on a Redis server, with locks and rate limits",
            settings="infra_redis.cache.settings:RedisCacheSettings",
            open="infra_redis.cache.opening:open_driver",
            open_async="infra_redis.cache.opening:open_driver_async",
            schemes=("redis", "rediss"),
            modules=("redis",),
            selects={"url": ("REDIS_URL",), "host": ("REDIS_HOST",)},
            fills={"port": ("REDIS_PORT",), "password": ("REDIS_PASSWORD",)},
            telemetry_system="redis",
            docs="docs/providers/redis-cache.md",
        )
    ]


@hookimpl
def infra_queue() -> Sequence[Provider]:
    """Queues on a Redis server. No well-known name selects one: ``REDIS_URL`` usually is a cache's, which may forget what it is given."""
    return [
        Provider(
            name="redis",
            summary="queue on Redis Streams, with delays, order by key, deduplication and dead letters",
            settings="infra_redis.queue.settings:RedisQueueSettings",
            open="infra_redis.queue.opening:open_driver",
            open_async="infra_redis.queue.opening:open_driver_async",
            schemes=("redis", "rediss"),
            modules=("redis",),
            telemetry_system="redis",
            docs="docs/providers/redis-queue.md",
        )
    ]
