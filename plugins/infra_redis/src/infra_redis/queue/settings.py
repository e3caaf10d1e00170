"""Settings of the Redis queue."""

from __future__ import annotations

from infra.queue.settings import QueueSettings
from infra_redis.settings import RedisSettings


class RedisQueueSettings(QueueSettings, RedisSettings):
    """A queue on Redis Streams: ``redis://host:6379/0``, or ``rediss://`` with TLS. The server must not evict."""
