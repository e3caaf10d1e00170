# Generated from access.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""The entries of a cache: how they are found, opened and written, below the operations of `Cache`."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final
from weakref import WeakValueDictionary

from infra.cache._sync.atomic import Atomics
from infra.cache._sync.computing import Computations, Job
from infra.cache._sync.link import Link
from infra.cache._sync.purging import Purge
from infra.cache._sync.space import Generation, Space
from infra.cache.arguments import milliseconds
from infra.cache.codecs import Codecs, UndecodableError
from infra.cache.driver import CacheDriver
from infra.cache.entries import Entry, safe, safe_all, safe_tags, unpack
from infra.cache.errors import CacheError, CacheOperationError, CacheRefusedError, CacheUnavailableError, CacheValueError
from infra.cache.model import TTL, CacheItem, SetMode
from infra.cache.settings import CacheSettings
from infra.errors import ErrorCode, InfraError
from infra.plugin import OpenContext
from infra.resource._sync import Resource
from infra.resource.model import Health, Status
from infra.runtime.bridge import ThreadBridge
from infra.runtime.threads import Background, within

_ERRORS: Final[Mapping[ErrorCode, type[CacheError]]] = {
    ErrorCode.UNAVAILABLE: CacheUnavailableError,
    ErrorCode.TIMEOUT: CacheUnavailableError,
    ErrorCode.INVALID_ARGUMENT: CacheValueError,
}


class CacheAccess(Resource[CacheDriver, CacheSettings]):
    """A cache resource, or one of its namespaces, without its public operations.

    Attributes:
        codecs: The types that can be stored; shared with the namespaces.
    """

    def __init__(
        self,
        driver: CacheDriver,
        settings: CacheSettings,
        context: OpenContext,
        *,
        owned: bool = True,
        parent: CacheAccess | None = None,
        child: str = "",
    ) -> None:
        super().__init__(driver, settings, context, owned=owned)
        self._children: WeakValueDictionary[str, CacheAccess] = WeakValueDictionary()
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
            self._link = Link(driver, settings, self._explain, self._background)
            self._atomics = Atomics(self._link, f"{prefix}@", self.provider)
            self._computations = Computations(self._link, self._atomics, self.codecs, settings, self._background, self._bridge)
            self._purge = Purge(self._link, self._background, prefix)
            path = ("",)
        self._counters = self._link.counters
        self._space = Space(self._link, self._purge, prefix, path, settings.generation_trust, int(settings.tag_ttl * 1000))

    def release(self, timeout: float) -> None:
        """End the namespaces; the root also ends refreshes and probes."""
        for child in list(self._children.values()):
            child.close(timeout)
        if self._parent is None:
            self._background.stop(timeout)
            if self._bridge is not None:
                self._bridge.close()

    def health(self, timeout: float = 5.0) -> Health:
        """Whether it serves now, as `Resource.health`; degraded where it reads and does not write."""
        found = super().health(timeout)
        probe = getattr(self.driver, "can_write", None)
        if probe is None or found.status is not Status.UP:
            return found
        try:
            within(timeout, probe, timeout)
        except Exception as cause:
            error = self.error(cause, "write")
            refused = isinstance(error, CacheRefusedError) or error.code is ErrorCode.PERMISSION_DENIED  # it answers, and reads
            status = Status.DEGRADED if refused else Status.DOWN
            return Health(status, found.duration, str(error.code), error.message, remedy=error.remedy)
        return found

    def _write(self, operation: str, keys: Sequence[str], values: Iterable[object], ttl: TTL, tags: Sequence[str], mode: SetMode) -> int:
        self.check()
        ttl_ms = milliseconds(ttl)
        encode = self.codecs.encode
        encoded = list(zip(safe_all(keys), map(encode, values), strict=True))
        if not encoded:
            return 0
        try:
            generation = self._space.settle(fresh=mode is not SetMode.SET)
            if tags:
                versions = self._space.versions(generation, safe_tags(tags))
                encoded = [(name, Entry(payload, tags=versions).pack()) for name, payload in encoded]
            data = generation.data
            items = [CacheItem(data + name, payload, ttl_ms) for name, payload in encoded]
            written = 0
            fitting = list(filter(self._link.fits, items))
            if len(fitting) < len(items) and mode is not SetMode.ADD:  # what was there is not what the caller wants to be there
                self._link.delete(operation, [item.key for item in items if item not in fitting])
            if not fitting:
                pass
            elif mode is not SetMode.SET:
                written = int(self._write_if(operation, encoded[0][0], items[0], mode))
            else:
                written = sum(self._link.write(operation, fitting, mode))
        except CacheUnavailableError as error:
            self._space.bury([name for name, _ in encoded], refused=isinstance(error, CacheRefusedError))
            return 0
        for item in items:
            self._computations.revoke(item.key)
        self._counters.writes += written
        return written

    def _write_if(self, operation: str, name: str, item: CacheItem, mode: SetMode) -> bool:
        """ADD or REPLACE, where an entry that does not count any more may be in the place."""
        if mode is SetMode.REPLACE:
            return self._entry(name) is not None and (self._link.write(operation, [item], mode))[0]
        if (self._link.write(operation, [item], mode))[0]:
            return True
        if self._entry(name) is not None:
            return False
        self._link.delete(operation, [item.key])
        return (self._link.write(operation, [item], mode))[0]

    def _entry(self, name: str) -> tuple[str, bytes, Entry] | None:
        """Where the entry of `name` is stored, its bytes, and what they are; None when there is none that counts."""
        generation, (raw,) = self._space.read((name,))
        entry = None if raw is None else self._open(generation, raw)
        return None if raw is None or entry is None else (generation.data + name, raw, entry)

    def _open(
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
        if entry.tags and not self._space.are_current(generation, entry.tags, dict(zip(tags, versions, strict=True))):
            return None
        return entry

    def _computed(self, name: str, tags: tuple[str, ...]) -> bytes | None:
        """The payload of a fresh entry that decodes."""
        generation, found = self._space.read((name,), tags)
        raw = found[0]
        entry = None if raw is None else self._open(generation, raw, tags, found[1:])
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
