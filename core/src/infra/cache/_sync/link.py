# Generated from link.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""All calls of one driver: timed, batched, and refused while it is down."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Final, TypeVar

from infra.cache.counters import Counters
from infra.cache.driver import CacheDriver
from infra.cache.errors import CacheRefusedError
from infra.cache.model import CacheItem, SetMode
from infra.cache.outage import Outage
from infra.cache.settings import CacheSettings
from infra.errors import ErrorCode, InfraError
from infra.runtime.threads import Background, Batcher, Stop

R = TypeVar("R")
_log = logging.getLogger("infra.cache")

_DOWN: Final = frozenset({ErrorCode.UNAVAILABLE, ErrorCode.TIMEOUT})
_REPLAY: Final = 500
_JOINED: Final = 16 << 10  # bytes of a value: a batch of a hundred must not outlast the timeout of a call


class Link:
    """A driver behind a breaker. A call that times out or finds nobody opens it; a background job probes, replays, and closes it.

    Args:
        driver: The driver.
        settings: Those of its resource.
        explain: Makes the error for an exception of the driver, None while it is down, and an operation.
        background: Runs the probes.
    """

    def __init__(
        self,
        driver: CacheDriver,
        settings: CacheSettings,
        explain: Callable[[BaseException | None, str], InfraError],
        background: Background,
    ) -> None:
        self._name = background.name
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
        self._told = False
        refuses = getattr(driver, "refuses", None)
        #: Whether an error is the provider's answer that it does not write now, though it reads.
        self.refuses: Callable[[BaseException], bool] = refuses or (lambda _error: False)
        #: The present in seconds on the clock by which the provider ends entries; does no I/O.
        self.now: Callable[[], float] = getattr(driver, "now", time.time)
        self._batcher: Batcher[tuple[str, ...], list[bytes | None]] | None = None
        if settings.batch > 1:
            self._batcher = Batcher(self._send, limit=settings.batch)
        # Sets of several threads travel together too. Of tasks they do not: one that is cancelled must not be stored later on.
        self._writer: Batcher[CacheItem, bool] | None = None
        if settings.batch > 1:
            self._writer = Batcher(lambda items: self.call("set", driver.set_many, items, SetMode.SET), limit=settings.batch)

    def read(self, keys: tuple[str, ...]) -> list[bytes | None]:
        """The values of `keys`, which differ from each other."""
        if self._batcher is not None:
            found = self._batcher.submit(keys)
        elif self.outage.open:
            raise self._refusal("get")
        else:
            try:
                found = self._get_many(keys, self._timeout)
            except Exception as cause:
                raise self._failure(cause, "get") from cause
        return self.outage.living(keys, found) if self.outage.pending else found

    def write(self, operation: str, items: Sequence[CacheItem], mode: SetMode) -> list[bool]:
        """Write `items`; whether each was written."""
        if self._writer is not None and mode is SetMode.SET and len(items) == 1 and len(items[0].value) <= _JOINED:
            return [self._writer.submit(items[0])]
        written = self.call(operation, self.driver.set_many, items, mode)
        if self.outage.pending:
            self.outage.deleted([item.key for item, done in zip(items, written, strict=True) if done])
        return written

    def fits(self, item: CacheItem) -> bool:
        """Whether the provider can hold `item`; what it cannot is told in the log, once."""
        largest: int | None = getattr(self.driver, "largest_value", None)
        if largest is None or len(item.value) <= largest:
            return True
        if not self._told:
            self._told = True
            _log.warning("%s: a value of %d bytes is not kept: the cache holds %d at most", self._name, len(item.value), largest)
        return False

    def delete(self, operation: str, keys: Sequence[str]) -> list[bool]:
        """Delete `keys`; whether each was there."""
        return self.call(operation, self.driver.delete_many, keys)

    def call(self, operation: str, function: Callable[..., R], *args: object) -> R:
        """Await ``function(*args, timeout)``.

        Raises:
            CacheUnavailableError: The driver is down, or was when last probed; a `CacheRefusedError` when it only does not write.
            CacheOperationError: It failed otherwise.
        """
        if self.outage.open:
            raise self._refusal(operation)
        try:
            return function(*args, self._timeout)
        except Exception as cause:
            raise self._failure(cause, operation) from cause

    def bury(self, keys: Iterable[str], generation: str, refused: bool = False) -> None:
        """Delete `keys` once the driver is back, before anything is read from it; see `Outage.bury`.

        Args:
            keys: The keys.
            generation: The key of the generation that they belong to.
            refused: The driver answers and does not write: only `keys` are not to be read.
        """
        self.outage.bury(keys, generation)
        if not refused:
            self._begin_outage()
        elif self.outage.replay():
            self._background.start(self._recover, "replay")

    def _refusal(self, operation: str) -> InfraError:
        self.counters.failures += 1
        return self._explain(None, operation)

    def _failure(self, cause: Exception, operation: str) -> InfraError:
        self.counters.failures += 1
        error = self._explain(cause, operation)
        if error.code in _DOWN and not isinstance(error, CacheRefusedError):
            self._begin_outage()
        return error

    def _begin_outage(self) -> None:
        if self.outage.begin():
            self._background.start(self._recover, "probe")

    def _recover(self, stop: Stop) -> None:
        pause = self._probe_interval if self.outage.open else 0.0
        while not stop.wait(pause):
            pause = self._probe_interval
            try:
                self.driver.ping(self._timeout)
                while keys := self.outage.tombstones(_REPLAY):
                    self.driver.delete_many(keys, self._timeout)
                    self.outage.deleted(keys)
            except Exception as cause:  # still down: the next round tries again
                self.counters.failures += 1
                if self.refuses(cause):
                    self.outage.serve()
                continue
            if self.outage.end():
                return

    def _send(self, requests: list[tuple[str, ...]]) -> list[list[bytes | None]]:
        if len(requests) == 1:
            return [self.call("get", self.driver.get_many, requests[0])]
        keys = list(dict.fromkeys(chain.from_iterable(requests)))
        values = dict(zip(keys, self.call("get", self.driver.get_many, keys), strict=True))
        return [[values[key] for key in request] for request in requests]
