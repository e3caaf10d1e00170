"""The cache driver."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Final

from redis import exceptions

from infra.cache.gcra import decide
from infra.cache.model import CacheFeature, CacheItem, Decision, SetMode
from infra.driver import Cause
from infra.plugin import ErrorCode
from infra_redis.cache import scripts
from infra_redis.cache.server import LARGEST_VALUE, Server
from infra_redis.connections import AsyncConnections, pack
from infra_redis.faults import classify, explain, refuses

# async-only: begin
from redis.asyncio import Redis  # isort: skip

# async-only: end
# sync-only: from redis import Redis

#: What `health` writes.
PROBE: Final = "infra@probe"
_GLOB: Final = re.compile(r"[*?\[\]\\^]")
_FENCE: Final = "infra@fence"
_MODES: Final[dict[SetMode, tuple[str, ...]]] = {SetMode.SET: (), SetMode.ADD: ("NX",), SetMode.REPLACE: ("XX",)}


class AsyncRedisCacheDriver:
    """A cache on one Redis server.

    Args:
        connections: The way to the server.
        client: What `unwrap` hands out; it has connections of its own.
    """

    features = frozenset(set(CacheFeature) - {CacheFeature.BOUNDED})
    cancellable = True

    def __init__(self, connections: AsyncConnections, client: Redis) -> None:
        self._client = client
        self._connections = connections
        self._exchange = connections.exchange
        self._run = connections.run
        #: Of the server's; less where its memory is bounded.
        self.largest_value = LARGEST_VALUE
        self._ahead: float | None = None  # of our monotonic clock is the server's, in seconds

    def now(self) -> float:
        """The server's clock, as of the last `ping`."""
        return time.time() if self._ahead is None else time.monotonic() + self._ahead

    async def get_many(self, keys: Sequence[str], timeout: float) -> list[bytes | None]:
        return (await self._exchange(pack(("MGET", *keys)), 1, timeout))[0]

    async def set_many(self, items: Sequence[CacheItem], mode: SetMode, timeout: float) -> list[bool]:
        when = _MODES[mode]
        packed = [
            pack(("SET", key, value, *when) if ttl_ms is None else ("SET", key, value, "PX", ttl_ms, *when)) for key, value, ttl_ms in items
        ]
        return [reply is not None for reply in await self._exchange(b"".join(packed), len(packed), timeout)]

    async def delete_many(self, keys: Sequence[str], timeout: float) -> list[bool]:
        packed = [pack(("UNLINK", key)) for key in keys]
        return [reply == 1 for reply in await self._exchange(b"".join(packed), len(packed), timeout)]

    async def incr(self, key: str, by: int, ttl_ms: int | None, timeout: float) -> int:
        if ttl_ms is None:
            return (await self._exchange(pack(("INCRBY", key, by)), 1, timeout))[0]
        return int(await self._run(scripts.INCR, (key,), (by, ttl_ms), timeout))

    async def cas(self, key: str, expected: bytes | None, value: bytes, ttl_ms: int | None, timeout: float) -> bool:
        if expected is None:
            return (await self.set_many((CacheItem(key, value, ttl_ms),), SetMode.ADD, timeout))[0]
        return await self._run(scripts.CAS, (key,), (expected, value, "" if ttl_ms is None else ttl_ms), timeout) == 1

    async def touch(self, key: str, ttl_ms: int | None, timeout: float) -> bool:
        if ttl_ms is not None:
            return (await self._exchange(pack(("PEXPIRE", key, ttl_ms)), 1, timeout))[0] == 1
        packed = pack(("PERSIST", key)) + pack(("EXISTS", key))
        return (await self._exchange(packed, 2, timeout))[1] == 1

    async def ttl(self, key: str, timeout: float) -> int | None:
        left: int = (await self._exchange(pack(("PTTL", key)), 1, timeout))[0]
        return None if left == -2 else left

    async def lock_acquire(self, name: str, token: str, ttl_ms: int, timeout: float) -> int | None:
        fence = await self._run(scripts.LOCK_ACQUIRE, (name, _FENCE), (token, ttl_ms), timeout)
        return None if fence is None else int(fence)

    async def lock_extend(self, name: str, token: str, ttl_ms: int, timeout: float) -> bool:
        return await self._run(scripts.LOCK_EXTEND, (name,), (token, ttl_ms), timeout) == 1

    async def lock_release(self, name: str, token: str, timeout: float) -> bool:
        return await self._run(scripts.LOCK_RELEASE, (name,), (token,), timeout) == 1

    async def gcra(self, key: str, interval_ms: float, burst: int, cost: int, timeout: float) -> Decision:
        stored, now = await self._run(scripts.GCRA, (key,), (repr(interval_ms), burst, cost), timeout)
        return decide(None if stored is None else float(stored), float(now), interval_ms, burst, cost)[1]

    async def scan(self, prefix: str, token: str, limit: int, timeout: float) -> tuple[list[str], str | None]:
        command = pack(("SCAN", token or "0", "MATCH", _GLOB.sub(r"\\\g<0>", prefix) + "*", "COUNT", limit))
        cursor, keys = (await self._exchange(command, 1, timeout))[0]
        return [key.decode() for key in keys], None if cursor == b"0" else cursor.decode()

    async def ping(self, timeout: float) -> None:
        """Ask for a sign of life, for the server's clock, and for what it is: a cluster and a Sentinel are no cache."""
        timeout *= 0.95  # to say what was not answered, before the caller's own timeout says less
        began = time.monotonic()
        try:
            (clock,) = await self._exchange(pack(("TIME",)), 1, timeout)
        except exceptions.NoPermissionError:
            await self._exchange(pack(("PING",)), 1, timeout)
        except exceptions.ResponseError as error:
            if classify(error) is not ErrorCode.INTERNAL:
                raise
            await self._exchange(pack(("PING",)), 1, timeout)  # a Sentinel does not know TIME
        else:
            self._ahead = int(clock[0]) + int(clock[1]) / 1e6 - (began + time.monotonic()) / 2
        self._about = Server.of(await self._info(timeout))
        self._about.check()
        self.largest_value = self._about.largest_value

    async def can_write(self, timeout: float) -> None:
        """Write, and raise what the server says where it does not: it is full, a replica, or cannot save."""
        await self.ping(timeout)
        try:
            await self._exchange(pack(("SET", PROBE, "1", "PX", 1000)), 1, timeout * 0.95)
        except exceptions.NoPermissionError as error:
            if " key" not in str(error):  # the probe's key may be none of the account's own, which says nothing about those
                raise

    async def _info(self, timeout: float) -> bytes:
        try:
            return (await self._exchange(pack(("INFO",)), 1, timeout))[0]
        except exceptions.NoPermissionError:
            return b""

    async def close(self, timeout: float) -> None:
        """Close all connections."""
        await self._connections.close(timeout)
        await self._client.aclose()

    def classify(self, error: BaseException) -> ErrorCode | None:
        """What an exception of redis-py stands for."""
        return classify(error)

    def refuses(self, error: BaseException) -> bool:
        """Whether the server answered that it does not write now."""
        return refuses(error)

    def explain(self, error: BaseException) -> Cause | None:
        """Better words for it, and the settings that it is about."""
        return explain(error)

    def unwrap(self) -> Sequence[object]:
        """A client of redis-py on the same server."""
        return (self._client,)
