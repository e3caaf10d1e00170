# Generated from computing.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""What `get_or_set` does on a miss: one computation per key, in the process and across processes."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from infra.cache._sync.atomic import Atomics
from infra.cache._sync.link import Link
from infra.cache._sync.space import Generation, Space
from infra.cache.arguments import clipped
from infra.cache.codecs import Codecs
from infra.cache.cycles import Computation, computing, waiting
from infra.cache.entries import Entry, new_version
from infra.cache.errors import CacheError, CacheOperationError, CacheRefusedError
from infra.cache.model import CacheItem, SetMode
from infra.cache.settings import CacheSettings
from infra.runtime.bridge import ThreadBridge
from infra.runtime.deadline import Deadline
from infra.runtime.threads import Background, SingleFlight, Stop, Watchdog, call, sleep

_FIRST_PAUSE: Final = 0.005
_LONGEST_PAUSE: Final = 0.25


@dataclass(frozen=True, slots=True)
class Job:
    """One value to compute and store.

    Args:
        space: Its namespace.
        generation: The generation to store it under; a later one means that it was cleared meanwhile.
        name: The safe form of its key.
        factory: Computes it.
        read: Looks for the entry again; its payload.
        ttl: Seconds that it is fresh; None for no end.
        stale: Seconds that it may be served after that.
        timed: Whether readers need to know when it was made.
        tags: The safe names of its tags.
    """

    space: Space
    generation: Generation
    name: str
    factory: Callable[[], Any]
    read: Callable[[], Any]
    ttl: float | None
    stale: float
    timed: bool
    tags: tuple[str, ...]

    @property
    def key(self) -> str:
        """Where it is stored."""
        return self.generation.data + self.name

    @property
    def lease(self) -> str:
        """The lock that its computation holds; deleting the entry deletes it too."""
        return self.generation.lease + self.name


class Computations:
    """The computations of one resource and its namespaces that are under way."""

    def __init__(
        self,
        link: Link,
        atomics: Atomics,
        codecs: Codecs,
        settings: CacheSettings,
        background: Background,
        bridge: ThreadBridge | None,
    ) -> None:
        self._link = link
        self._atomics = atomics
        self._codecs = codecs
        self._background = background
        self._bridge = bridge
        self._jitter = settings.jitter
        self._lease = settings.lease
        self._lease_ms = max(1, int(settings.lease * 1000))
        self._lease_wait = settings.lease_wait
        self._most_refreshes = settings.threads
        self._flights: SingleFlight[Computation, bytes] = SingleFlight()
        self._running: dict[str, Computation] = {}
        self._refreshing: set[str] = set()

    def value(self, job: Job) -> bytes:
        """The encoded value: of the computation that is under way, or of a new one."""
        computation = self._running.get(job.key) or self._running.setdefault(job.key, Computation(job.key))
        with waiting(computation):
            return self._flights.do(computation, partial(self._run, job, computation))

    def refresh(self, job: Job) -> None:
        """Compute a new value in the background, unless somebody does already."""
        if job.key in self._refreshing or len(self._refreshing) >= self._most_refreshes:
            return
        self._refreshing.add(job.key)
        self._background.start(partial(self._refresh, job), "refresh")

    def revoke(self, key: str) -> None:
        """The entry was deleted or written: what is being computed for it must neither be stored nor reach later callers."""
        if self._running and (computation := self._running.pop(key, None)) is not None:
            computation.revoked = True

    def _refresh(self, job: Job, _stop: Stop) -> None:
        computation = Computation(job.key)
        try:
            with computing(computation, alone=True):
                if not self._atomics.locks:
                    self._produce(job, computation, None)
                    return
                token = new_version()
                if self._atomics.lock_acquire(job.lease, token, self._lease_ms) is not None:
                    self._under_lease(job, computation, token)
        finally:
            self._refreshing.discard(job.key)

    def _run(self, job: Job, computation: Computation) -> bytes:
        try:
            with computing(computation):
                return self._once(job, computation)
        finally:
            if self._running.get(job.key) is computation:
                del self._running[job.key]

    def _once(self, job: Job, computation: Computation) -> bytes:
        if not job.generation.complete or self._link.outage.open:
            return (self._compute(job))[0]
        if not self._atomics.locks:
            # A caller that missed just before an earlier computation stored its value must find it.
            return job.read() or self._produce(job, computation, None)
        token = new_version()
        deadline, pause = Deadline(self._lease_wait), _FIRST_PAUSE
        try:
            while self._atomics.lock_acquire(job.lease, token, self._lease_ms) is None:
                if deadline.passed:
                    return (self._compute(job))[0]
                sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311
                pause = min(pause * 1.5, _LONGEST_PAUSE)
                if found := job.read():
                    return found
        except CacheOperationError:
            return (self._compute(job))[0]
        return self._under_lease(job, computation, token, job.read)

    def _under_lease(self, job: Job, computation: Computation, token: str, read: Callable[[], Any] | None = None) -> bytes:
        released = False
        try:
            found = None if read is None else read()
            if found:
                return found
            payload = self._produce(job, computation, token)
            released = True
            return payload
        finally:
            if not released:
                self._release(job, token)

    def _produce(self, job: Job, computation: Computation, token: str | None) -> bytes:
        """Compute, store under the lease of `token`, and let that go; the encoded value."""
        versions: dict[str, str] = {}
        storable = True
        try:
            if job.tags:
                versions = job.space.versions(job.generation, job.tags)
        except CacheOperationError:
            storable = False
        if token is None:
            payload, cost = self._compute(job)
            lost = False
        else:
            extend = partial(self._atomics.lock_extend, job.lease, token, self._lease_ms)
            with Watchdog(self._lease / 3, extend) as watchdog:
                payload, cost = self._compute(job)
            lost = watchdog.lost
        if storable and not lost and not computation.revoked:
            try:
                self._store(job, computation, token, payload, cost, versions)
            except CacheOperationError as error:
                job.space.bury([job.name], refused=isinstance(error, CacheRefusedError))
        elif token is not None:
            self._release(job, token)
        return payload

    def _store(self, job: Job, computation: Computation, token: str | None, payload: bytes, cost: float, versions: dict[str, str]) -> None:
        ttl = None if job.ttl is None else job.ttl * random.uniform(1 - self._jitter, 1 + self._jitter)  # noqa: S311
        fresh_until = self._link.now() + ttl if job.timed and ttl is not None else None
        entry = Entry(payload, fresh_until, cost, versions, job.stale)
        item = CacheItem(job.key, entry.pack(), None if ttl is None else clipped(ttl + job.stale))
        if not self._link.fits(item):
            self._link.delete("get_or_set", [job.key, job.lease] if token is not None else [job.key])
            return
        if token is not None and not self._atomics.lock_extend(job.lease, token, self._lease_ms):
            return
        self._link.write("get_or_set", [item], SetMode.SET)
        # A deletion between the extension and the write took the lease away: then its entry must not come back.
        intact = token is None or self._atomics.lock_release(job.lease, token)
        if intact and not computation.revoked:
            self._link.counters.writes += 1
        else:
            self._link.delete("get_or_set", [job.key])

    def _release(self, job: Job, token: str) -> None:
        try:
            self._atomics.lock_release(job.lease, token)
        except CacheError:
            pass  # it expires

    def _compute(self, job: Job) -> tuple[bytes, float]:
        self._link.counters.computed += 1
        started = time.perf_counter()
        value = call(job.factory, bridge=self._bridge)
        return self._codecs.encode(value), time.perf_counter() - started
