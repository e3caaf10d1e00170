"""All calls of one driver: timed, batched, and refused while it is down."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import chain
from typing import Final, TypeVar

from infra.cache.counters import Counters
from infra.cache.driver import AsyncCacheDriver
from infra.cache.model import CacheItem, SetMode
from infra.cache.outage import Outage
from infra.cache.settings import CacheSettings
from infra.errors import ErrorCode, InfraError
from infra.runtime.aio import Background, Batcher, Stop

R = TypeVar("R")

_DOWN: Final = frozenset({ErrorCode.UNAVAILABLE, ErrorCode.TIMEOUT})
_REPLAY: Final = 500
# sync-only: _JOINED: Final = 16 << 10  # bytes of a value: a batch of a hundred must not outlast the timeout of a call


class AsyncLink:
    """A driver behind a breaker. A call that times out or finds nobody opens it; a background job probes, replays, and closes it.

    Args:
        driver: The driver.
        settings: Those of its resource.
        explain: Makes the error for an exception of the driver, None while it is down, and an operation.
        background: Runs the probes.
    """

    def __init__(
        self,
        driver: AsyncCacheDriver,
        settings: CacheSettings,
        explain: Callable[[BaseException | None, str], InfraError],
        background: Background,
    ) -> None:
        self.driver = driver
        self.counters = Counters()
        self.outage = Outage(settings.tombstones)
        #: When this process last cleared a namespace, on the monotonic clock; what it knew of generations before is void.
        self.cleared_at = 0.0
        self._explain = explain
        self._get_many = driver.get_many
        self._background = background
        self._timeout = settings.timeout
        self._probe_interval = settings.probe_interval
        self._batcher: Batcher[tuple[str, ...], list[bytes | None]] | None = None
        if settings.batch > 1:
            self._batcher = Batcher(self._send, limit=settings.batch)
        # Sets of several threads travel together too. Of tasks they do not: one that is cancelled must not be stored later on.
        # sync-only: self._writer: Batcher[CacheItem, bool] | None = None
        # sync-only: if settings.batch > 1:
        # sync-only:     self._writer = Batcher(lambda items: self.call("set", driver.set_many, items, SetMode.SET), limit=settings.batch)

    async def read(self, keys: tuple[str, ...]) -> list[bytes | None]:
        """The values of `keys`, which differ from each other."""
        if self._batcher is not None:
            return await self._batcher.submit(keys)
        if self.outage.open:
            raise self._refusal("get")
        try:
            return await self._get_many(keys, self._timeout)
        except Exception as cause:
            raise self._failure(cause, "get") from cause

    async def write(self, operation: str, items: Sequence[CacheItem], mode: SetMode) -> list[bool]:
        """Write `items`; whether each was written."""
        # sync-only: if self._writer is not None and mode is SetMode.SET and len(items) == 1 and len(items[0].value) <= _JOINED:
        # sync-only:     return [self._writer.submit(items[0])]
        return await self.call(operation, self.driver.set_many, items, mode)

    async def delete(self, operation: str, keys: Sequence[str]) -> list[bool]:
        """Delete `keys`; whether each was there."""
        return await self.call(operation, self.driver.delete_many, keys)

    async def call(self, operation: str, function: Callable[..., Awaitable[R]], *args: object) -> R:
        """Await ``function(*args, timeout)``.

        Raises:
            CacheUnavailableError: The driver is down, or was when last probed.
            CacheOperationError: It failed otherwise.
        """
        if self.outage.open:
            raise self._refusal(operation)
        try:
            return await function(*args, self._timeout)
        except Exception as cause:
            raise self._failure(cause, operation) from cause

    def bury(self, keys: Iterable[str], generation: str) -> None:
        """Delete `keys` once the driver is back, before anything is read from it; see `Outage.bury`."""
        self.outage.bury(keys, generation)
        self._begin_outage()

    def _refusal(self, operation: str) -> InfraError:
        self.counters.failures += 1
        return self._explain(None, operation)

    def _failure(self, cause: Exception, operation: str) -> InfraError:
        self.counters.failures += 1
        error = self._explain(cause, operation)
        if error.code in _DOWN:
            self._begin_outage()
        return error

    def _begin_outage(self) -> None:
        if self.outage.begin():
            self._background.start(self._recover, "probe")

    async def _recover(self, stop: Stop) -> None:
        while not await stop.wait(self._probe_interval):
            try:
                await self.driver.ping(self._timeout)
                while keys := self.outage.tombstones(_REPLAY):
                    await self.driver.delete_many(keys, self._timeout)
                    self.outage.deleted(keys)
            except Exception:  # still down: the next round tries again
                self.counters.failures += 1
                continue
            if self.outage.end():
                return

    async def _send(self, requests: list[tuple[str, ...]]) -> list[list[bytes | None]]:
        if len(requests) == 1:
            return [await self.call("get", self.driver.get_many, requests[0])]
        keys = list(dict.fromkeys(chain.from_iterable(requests)))
        values = dict(zip(keys, await self.call("get", self.driver.get_many, keys), strict=True))
        return [[values[key] for key in request] for request in requests]
