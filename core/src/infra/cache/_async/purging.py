"""Freeing what `clear` has hidden: an entry without an end would stay in the store for ever."""

from __future__ import annotations

from collections import deque
from typing import Final, cast

from infra.cache._async.link import AsyncLink
from infra.cache.driver import AsyncAtomicCacheDriver
from infra.cache.entries import version_name
from infra.cache.errors import CacheError
from infra.cache.model import CacheFeature
from infra.runtime.aio import Background, Stop
from infra.runtime.deadline import Deadline

_KEYS: Final = 1000  # looked at in one step
_PAUSE: Final = 0.005
_RETRY: Final = 0.5
_CLOSING: Final = 2.0
_MOST: Final = 1000


class AsyncPurge:
    """Deletes, in the background and step by step, the keys of generations that ended. One job at a time, for all namespaces.

    Args:
        link: The way to the driver.
        background: Runs the job.
        prefix: What all keys of the resource start with.
    """

    def __init__(self, link: AsyncLink, background: Background, prefix: str) -> None:
        self._link = link
        self._driver = cast(AsyncAtomicCacheDriver, link.driver)
        self._background = background
        self._prefix = prefix
        self._doomed: deque[str] = deque(maxlen=_MOST)
        self._running = False

    def doom(self, version: bytes) -> None:
        """Free the keys of the generation of that id, and those of the namespaces below it."""
        if CacheFeature.SCAN not in self._link.driver.features:
            return
        self._doomed.append(version_name(version))
        if not self._running:
            self._running = True
            self._background.start(self._run, "purge")

    async def _run(self, stop: Stop) -> None:
        closing: Deadline | None = None
        try:
            while self._doomed:
                try:
                    done = await self._step(self._doomed[0])
                except CacheError:  # it is down: what is hidden stays hidden
                    if await stop.wait(_RETRY):
                        return
                    continue
                if done:
                    self._doomed.popleft()
                if await stop.wait(_PAUSE):
                    closing = closing or Deadline(_CLOSING)
                    if closing.passed:
                        return
        finally:
            self._running = False

    async def _step(self, name: str) -> bool:
        """Delete what one look at the keys of a generation finds; whether that was all."""
        start, token = f"{self._prefix}:{name}", ""
        while True:
            keys, following = await self._link.call("clear", self._driver.scan, start, token, _KEYS)
            if keys:
                below = tuple(key for key in keys if key.startswith(f"{start}/"))
                if below:
                    self._doomed.extend(version_name(version) for version in await self._link.read(below) if version is not None)
                await self._link.delete("clear", keys)
            if following is None:
                return True
            token = following
