"""Settings of the Redis cache."""

from __future__ import annotations

from infra.cache.settings import CacheSettings
from infra_redis.settings import RedisSettings


class RedisCacheSettings(CacheSettings, RedisSettings):
    """A cache on a Redis server: ``redis://host:6379/0``, or ``rediss://`` with TLS."""
