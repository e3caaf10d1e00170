"""What INFO says of a server, and whether a cache can be on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from redis import exceptions

#: Redis takes no longer value (``proto-max-bulk-len`` as it comes), and hangs up on one.
LARGEST_VALUE: Final = 512 << 20


@dataclass(frozen=True, slots=True)
class Server:
    """A server, as far as the account may ask.

    Args:
        mode: ``standalone``, ``sentinel`` or ``cluster``; empty when it was not told.
        largest_value: The most bytes of one value: more than its memory would evict everything, and then be refused.
    """

    mode: str
    largest_value: int

    @classmethod
    def of(cls, info: bytes) -> Server:
        """What the answer to INFO says."""
        fields = dict(line.split(":", 1) for line in info.decode(errors="replace").splitlines() if ":" in line)
        room = int(fields.get("maxmemory") or 0)
        if room:
            room = max(1, room - int(fields.get("used_memory_startup") or 0))
        mode = "cluster" if fields.get("cluster_enabled") == "1" else fields.get("redis_mode", "")
        return cls(mode, min(room or LARGEST_VALUE, LARGEST_VALUE))

    def check(self) -> None:
        """Raise where no cache can be on it."""
        if self.mode == "cluster":
            raise exceptions.RedisClusterException("the server is a node of a cluster, which this cache cannot use: name a single server")
        if self.mode == "sentinel":
            raise exceptions.RedisClusterException("this is the port of a Sentinel, which keeps nothing: name the server that it watches")
