"""The entries of a cache: how they are found, opened and written, below the operations of `AsyncCache`."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final
from weakref import WeakValueDictionary

from infra.cache._async.atomic import AsyncAtomics
from infra.cache._async.computing import AsyncComputations, Job
from infra.cache._async.link import AsyncLink
from infra.cache._async.purging import AsyncPurge
from infra.cache._async.space import AsyncSpace, Generation
from infra.cache.arguments import milliseconds
from infra.cache.codecs import Codecs, UndecodableError
from infra.cache.driver import AsyncCacheDriver
from infra.cache.entries import Entry, safe, safe_all, safe_tags, unpack
from infra.cache.errors import CacheError, CacheOperationError, CacheRefusedError, CacheUnavailableError, CacheValueError
from infra.cache.model import TTL, CacheItem, SetMode
from infra.cache.settings import CacheSettings
from infra.errors import ErrorCode, InfraError
from infra.plugin import OpenContext
from infra.resource._async import AsyncResource
from infra.resource.model import Health, Status
from infra.runtime.aio import Background, within
from infra.runtime.bridge import ThreadBridge

_ERRORS: Final[Mapping[ErrorCode, type[CacheError]]] = {
    ErrorCode.UNAVAILABLE: CacheUnavailableError,
    ErrorCode.TIMEOUT: CacheUnavailableError,
    ErrorCode.INVALID_ARGUMENT: CacheValueError,
}


class AsyncCacheAccess(AsyncResource[AsyncCacheDriver, CacheSettings]):
    """A cache resource, or one of its namespaces, without its public operations.

    Attributes:
        codecs: The types that can be stored; shared with the namespaces.
    """

    def __init__(
        self,
        driver: AsyncCacheDriver,
        settings: CacheSettings,
        context: OpenContext,
        *,
        owned: bool = True,
        parent: AsyncCacheAccess | None = None,
        child: str = "",
    ) -> None:
        super().__init__(driver, settings, context, owned=owned)
        self._children: WeakValueDictionary[str, AsyncCacheAccess] = WeakValueDictionary()
        self._parent = parent
        prefix = settings.prefix or safe(context.name)[:40]
        if parent is not None:
            self.codecs = parent.codecs
            self._link, self._atomics = parent._link, parent._atomics
            self._background, self._bridge, self._computations = parent._background, parent._bridge, parent._computations
            self._purge = parent._purge
            path = (*parent._space.path, child)
        else:
            self.codecs = Codecs()
            self._background = Background(self.name)
            self._bridge: ThreadBridge | None = None
            # async-only: begin
            self._bridge = ThreadBridge(f"{self.name}-factory", settings.threads)
            # async-only: end
            self._link = AsyncLink(driver, settings, self._explain, self._background)
            self._atomics = AsyncAtomics(self._link, f"{prefix}@", self.provider)
            self._computations = AsyncComputations(self._link, self._atomics, self.codecs, settings, self._background, self._bridge)
            self._purge = AsyncPurge(self._link, self._background, prefix)
            path = ("",)
        self._counters = self._link.counters
        self._space = AsyncSpace(self._link, self._purge, prefix, path, settings.generation_trust, int(settings.tag_ttl * 1000))

    async def release(self, timeout: float) -> None:
        """End the namespaces; the root also ends refreshes and probes."""
        for child in list(self._children.values()):
            await child.close(timeout)
        if self._parent is None:
            await self._background.stop(timeout)
            if self._bridge is not None:
                self._bridge.close()

    async def health(self, timeout: float = 5.0) -> Health:
        """Whether it serves now, as `AsyncResource.health`; degraded where it reads and does not write."""
        found = await super().health(timeout)
        probe = getattr(self.driver, "can_write", None)
        if probe is None or found.status is not Status.UP:
            return found
        try:
            await within(timeout, probe, timeout)
        except Exception as cause:
            error = self.error(cause, "write")
            refused = isinstance(error, CacheRefusedError) or error.code is ErrorCode.PERMISSION_DENIED  # it answers, and reads
            status = Status.DEGRADED if refused else Status.DOWN
            return Health(status, found.duration, str(error.code), error.message, remedy=error.remedy)
        return found

    async def _write(
        self, operation: str, keys: Sequence[str], values: Iterable[object], ttl: TTL, tags: Sequence[str], mode: SetMode
    ) -> int:
        self.check()
        ttl_ms = milliseconds(ttl)
        encode = self.codecs.encode
        encoded = list(zip(safe_all(keys), map(encode, values), strict=True))
        if not encoded:
            return 0
        try:
            generation = await self._space.settle(fresh=mode is not SetMode.SET)
            if tags:
                versions = await self._space.versions(generation, safe_tags(tags))
                encoded = [(name, Entry(payload, tags=versions).pack()) for name, payload in encoded]
            data = generation.data
            items = [CacheItem(data + name, payload, ttl_ms) for name, payload in encoded]
            written = 0
            fitting = list(filter(self._link.fits, items))
            if len(fitting) < len(items) and mode is not SetMode.ADD:  # what was there is not what the caller wants to be there
                await self._link.delete(operation, [item.key for item in items if item not in fitting])
            if not fitting:
                pass
            elif mode is not SetMode.SET:
                written = int(await self._write_if(operation, encoded[0][0], items[0], mode))
            else:
                written = sum(await self._link.write(operation, fitting, mode))
        except CacheUnavailableError as error:
            self._space.bury([name for name, _ in encoded], refused=isinstance(error, CacheRefusedError))
            return 0
        for item in items:
            self._computations.revoke(item.key)
        self._counters.writes += written
        return written

    async def _write_if(self, operation: str, name: str, item: CacheItem, mode: SetMode) -> bool:
        """ADD or REPLACE, where an entry that does not count any more may be in the place."""
        if mode is SetMode.REPLACE:
            return await self._entry(name) is not None and (await self._link.write(operation, [item], mode))[0]
        if (await self._link.write(operation, [item], mode))[0]:
            return True
        if await self._entry(name) is not None:
            return False
        await self._link.delete(operation, [item.key])
        return (await self._link.write(operation, [item], mode))[0]

    async def _entry(self, name: str) -> tuple[str, bytes, Entry] | None:
        """Where the entry of `name` is stored, its bytes, and what they are; None when there is none that counts."""
        generation, (raw,) = await self._space.read((name,))
        entry = None if raw is None else await self._open(generation, raw)
        return None if raw is None or entry is None else (generation.data + name, raw, entry)

    async def _open(
        self,
        generation: Generation,
        raw: bytes,
        tags: Sequence[str] = (),
        versions: Sequence[bytes | None] = (),
        late: float = 0.0,
    ) -> Entry | None:
        """The entry in stored bytes; None when it does not count: damaged, more than `late` seconds past its time, or invalidated."""
        try:
            entry = unpack(raw)
        except UndecodableError:
            self._counters.undecodable += 1
            return None
        # Where it ends with its time, the store's own TTL ends it, by the store's clock.
        if entry.fresh_until is not None and entry.stale != 0 and entry.fresh_until + late <= self._link.now():
            return None
        if entry.tags and not await self._space.are_current(generation, entry.tags, dict(zip(tags, versions, strict=True))):
            return None
        return entry

    async def _computed(self, name: str, tags: tuple[str, ...]) -> bytes | None:
        """The payload of a fresh entry that decodes."""
        generation, found = await self._space.read((name,), tags)
        raw = found[0]
        entry = None if raw is None else await self._open(generation, raw, tags, found[1:])
        if entry is not None:
            try:
                self.codecs.decode(entry.payload)
            except UndecodableError:
                return None
        return None if entry is None else entry.payload

    def _job(
        self,
        generation: Generation,
        name: str,
        factory: Callable[[], Any],
        ttl: float | None,
        stale: float,
        early: float,
        tags: tuple[str, ...],
    ) -> Job:
        return Job(
            space=self._space,
            generation=generation,
            name=name,
            factory=factory,
            read=partial(self._computed, name, tags),
            ttl=ttl,
            stale=stale,
            timed=bool(stale or early),
            tags=tags,
        )

    def _is_due(self, fresh_until: float, eagerness: float) -> bool:
        """Whether the entry is stale, or XFetch draws this caller to refresh it before that."""
        left = fresh_until - self._link.now()
        if left <= 0:
            self._counters.stale += 1
            return True
        return eagerness > 0 and -eagerness * math.log(1 - random.random()) >= left  # noqa: S311

    def _equals(self, payload: bytes, expected: object) -> bool:
        try:
            return bool(self.codecs.decode(payload) == expected)
        except UndecodableError:
            return False

    def _explain(self, cause: BaseException | None, operation: str) -> InfraError:
        if cause is not None:
            return self.error(cause, operation)
        return CacheUnavailableError(
            f"{operation} refused: {self.provider} is down",
            resource=self.name,
            provider=self.provider,
            operation=operation,
            remedy=self.remedy(ErrorCode.UNAVAILABLE),
        )

    def error(self, cause: BaseException, operation: str, **details: Any) -> InfraError:
        """The cache's own error for an exception of the driver."""
        if isinstance(cause, InfraError):
            return cause
        code = self.driver.classify(cause) or (ErrorCode.TIMEOUT if isinstance(cause, TimeoutError) else ErrorCode.INTERNAL)
        kind = _ERRORS.get(code, CacheOperationError)
        if kind is CacheUnavailableError and self._link.refuses(cause):
            kind = CacheRefusedError
        return kind(
            self.describe(cause, operation),
            code=code,
            resource=self.name,
            provider=self.provider,
            operation=operation,
            details=details,
            remedy=self.advise(cause, code),
        )
