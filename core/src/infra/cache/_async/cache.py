"""The portable cache."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar, cast

from infra.cache._async.access import AsyncCacheAccess
from infra.cache._async.cached import AsyncCachedFunction, cached_function
from infra.cache._async.limiter import AsyncLimiter
from infra.cache._async.lock import AsyncCacheLock
from infra.cache.arguments import eagerness, integer, milliseconds, span
from infra.cache.codecs import BYTES, UndecodableError, is_plain, load_json
from infra.cache.entries import ENVELOPE, Entry, distinct, safe, safe_all, safe_part, safe_tags
from infra.cache.errors import CacheOperationError, CacheRefusedError, CacheUnavailableError, CacheValueError
from infra.cache.model import MISS, TTL, CacheItem, CacheStats, SetMode

T = TypeVar("T")


class AsyncCache(AsyncCacheAccess):
    """A cache: values by key, for a time.

    A cache never breaks its host: while the provider is down, reads miss, writes return False, and what could not be deleted is deleted
    before anything is read again. Only `incr`, `cas` and `lock`, whose answers must be right, raise `CacheUnavailableError`.

    Values are JSON values, bytes, dates, decimals, UUIDs, tuples and sets, and whatever type is registered with `codecs`; each read gives a
    copy. Keys are any non-empty text. TTLs are seconds or timedelta; None keeps the entry until it is deleted or evicted.
    """

    # Reading

    async def get(self, key: str, default: Any = None, tags: Sequence[str] = ()) -> Any:
        """The value of `key`, or `default` when there is none.

        Args:
            key: Any text that is not empty.
            default: `MISS` tells a stored None from an absent key.
            tags: The tags that the entry was written with; naming them saves a round trip.

        Raises:
            CacheOperationError: The server refuses: a wrong password or a missing permission does not pass by itself, so it is no miss.
        """
        self.check()
        try:
            if tags:
                names = safe_tags(tags)
                generation, (raw, *versions) = await self._space.read((safe(key),), names)
            else:
                names, versions = (), ()
                generation, raw = await self._space.read_one(key)
            if raw is not None and raw[:1] == ENVELOPE:
                entry = await self._open(generation, raw, names, versions)
                raw = None if entry is None else entry.payload
            if raw is not None:
                value = self.codecs.decode(raw)
                self._counters.hits += 1
                return value
        except CacheUnavailableError:
            pass
        except UndecodableError:
            self._counters.undecodable += 1
        self._counters.misses += 1
        return default

    async def get_many(self, keys: Iterable[str], tags: Sequence[str] = ()) -> dict[str, Any]:
        """The values of those keys that have one, in the order of `keys`, in one round trip."""
        self.check()
        wanted = distinct(keys)
        if not wanted:
            return {}
        names = safe_tags(tags)
        values: dict[str, Any] = {}
        decode = self.codecs.decode
        try:
            generation, found = await self._space.read(safe_all(wanted), names)
            versions = found[len(wanted) :]
            del found[len(wanted) :]
            found.reverse()
            for key in wanted:
                raw = found.pop()  # freed once it is decoded: the memory of all at once would go back to the system, and come again
                if raw is None:
                    continue
                first = raw[:1]
                if first == BYTES:  # the most common, at the cost of a slice
                    values[key] = raw[1:]
                    continue
                if first == ENVELOPE:
                    entry = await self._open(generation, raw, names, versions)
                    if entry is None:
                        continue
                    raw = entry.payload
                try:
                    values[key] = decode(raw)
                except UndecodableError:
                    self._counters.undecodable += 1
        except CacheUnavailableError:
            values.clear()
        self._counters.hits += len(values)
        self._counters.misses += len(wanted) - len(values)
        return values

    async def get_json(self, key: str, default: Any = None) -> Any:
        """The value of `key`; where it is text or bytes, the value that these are the JSON of."""
        value = await self.get(key, MISS)
        if isinstance(value, str | bytes):
            try:
                return load_json(value.encode() if isinstance(value, str) else value)
            except ValueError:
                self._counters.undecodable += 1
                return default
        return default if value is MISS else value

    async def exists(self, key: str) -> bool:
        """Whether `key` has a value; False while the provider is down."""
        self.check()
        try:
            return await self._entry(safe(key)) is not None
        except CacheUnavailableError:
            return False

    async def ttl(self, key: str) -> float | None:
        """Seconds that `key` has left; infinity for no end, None when there is no such key.

        Raises:
            UnsupportedError: The provider cannot tell.
            CacheUnavailableError: It is down.
        """
        self.check()
        found = await self._entry(safe(key))
        if found is None:
            return None
        left = await self._atomics.ttl(found[0])
        if left is None:
            return None
        until = found[2].fresh_until
        stored = math.inf if left < 0 else left / 1000
        return stored if until is None else max(0.0, min(stored, until - self._link.now()))

    # Writing

    async def set(self, key: str, value: object, ttl: TTL = 3600, *, tags: Sequence[str] = ()) -> bool:
        """Store `value` under `key`, with a new TTL.

        Args:
            key: Any text that is not empty.
            value: What the codecs know.
            ttl: Its life in seconds or as a timedelta; None for no end.
            tags: Groups to invalidate it by.

        Returns:
            False while the provider is down or refuses to write, and for a value larger than the whole cache, which is told in the log
            once and evicts nothing; the old value is gone then.

        Raises:
            CacheValueError: The value cannot be stored, or the TTL is not between a millisecond and 100 years.
        """
        return await self._write("set", (key,), (value,), ttl, tags, SetMode.SET) == 1

    async def set_many(self, values: Mapping[str, object], ttl: TTL = 3600, *, tags: Sequence[str] = ()) -> bool:
        """Store all `values` in one round trip; False while the provider is down."""
        if not isinstance(values, Mapping):
            raise CacheValueError("what set_many stores is no mapping", resource=self.name, operation="set_many", remedy="give a dict")
        return await self._write("set_many", list(values), values.values(), ttl, tags, SetMode.SET) == len(values)

    async def set_json(self, key: str, value: object, ttl: TTL = 3600) -> bool:
        """Store `value` as plain JSON, which programs without this library read too; it starts with one letter ``j``.

        Raises:
            CacheValueError: JSON cannot hold the value without loss.
        """
        if not _is_plain(value):
            raise CacheValueError(
                f"a {type(value).__name__} is no plain JSON value", resource=self.name, operation="set_json", remedy="use set"
            )
        return await self._write("set_json", (key,), (value,), ttl, (), SetMode.SET) == 1

    async def add(self, key: str, value: object, ttl: TTL = 3600, *, tags: Sequence[str] = ()) -> bool:
        """Store `value` only if `key` has none; whether it was stored. Of concurrent callers one wins."""
        return await self._write("add", (key,), (value,), ttl, tags, SetMode.ADD) == 1

    async def replace(self, key: str, value: object, ttl: TTL = 3600, *, tags: Sequence[str] = ()) -> bool:
        """Store `value` only if `key` has one; whether it was stored."""
        return await self._write("replace", (key,), (value,), ttl, tags, SetMode.REPLACE) == 1

    async def delete(self, key: str) -> bool:
        """Delete `key`, and forbid any computation of it that is under way to store its result; whether it was there.

        While the provider is down this returns False, and the key is deleted before this process reads from it again. Other processes may
        serve the old value until then, or until its TTL if this process ends first.
        """
        return await self.delete_many((key,)) == 1

    async def delete_many(self, keys: Iterable[str]) -> int:
        """Delete all of `keys`, as `delete` does; how many were there."""
        self.check()
        names = list(dict.fromkeys(safe_all(distinct(keys))))
        if not names:
            return 0
        self._counters.deletes += len(names)
        try:
            generation, _ = await self._space.read(())
            if not generation.complete:
                return 0
            doomed = [generation.data + name for name in names]
            for key in doomed:
                self._computations.revoke(key)
            if self._atomics.locks:
                doomed += [generation.lease + name for name in names]
            return sum((await self._link.delete("delete", doomed))[: len(names)])
        except CacheUnavailableError as error:
            for name in names:
                self._computations.revoke(self._space.generation.data + name)
            self._space.bury(names, refused=isinstance(error, CacheRefusedError))
            return 0

    async def touch(self, key: str, ttl: TTL = 3600) -> bool:
        """Give `key` a new TTL without reading its value; whether it was there.

        Raises:
            UnsupportedError: The provider cannot, and has no ``cas`` to emulate it with.
        """
        self.check()
        ttl_ms = milliseconds(ttl)
        try:
            found = await self._entry(safe(key))
            if found is None:
                return False
            stored, raw, entry = found
            if entry.fresh_until is None:
                return await self._atomics.touch(stored, raw, ttl_ms)
            until = None if ttl_ms is None else self._link.now() + ttl_ms / 1000
            moved = Entry(entry.payload, until, entry.cost, entry.tags, 0.0).pack()
            return await self._atomics.cas("touch", stored, raw, moved, ttl_ms)
        except CacheUnavailableError:
            return False

    # Atomic operations

    async def incr(self, key: str, by: int = 1, ttl: TTL = 3600) -> int:
        """Add `by` to the integer at `key`, where an absent key counts as 0, and return the sum.

        Args:
            key: The counter.
            by: What to add; may be negative.
            ttl: The life of a counter that this call makes; that of an existing one stays.

        Raises:
            CacheValueError: The entry is not an integer, or the sum leaves 64 bits.
            UnsupportedError: The provider cannot, and has no ``cas`` to emulate it with.
            CacheUnavailableError: It is down.
        """
        self.check()
        name, by, ttl_ms = safe(key), integer(by, "by"), milliseconds(ttl)
        try:
            generation = await self._space.settle()
            return await self._atomics.incr(generation.data + name, by, ttl_ms, partial(self._open, generation))
        except CacheRefusedError:
            raise
        except CacheUnavailableError:
            self._space.bury([name])
            raise

    async def decr(self, key: str, by: int = 1, ttl: TTL = 3600) -> int:
        """`incr` by ``-by``."""
        return await self.incr(key, -integer(by, "by"), ttl)

    async def cas(self, key: str, expected: object, value: object, ttl: TTL = 3600) -> bool:
        """Store `value` only if `key` holds what equals `expected`; whether it was stored. Of concurrent callers one wins.

        Args:
            key: Any text that is not empty.
            expected: The value to replace; `MISS` when there must be none.
            value: The new value.
            ttl: Its life.

        Raises:
            UnsupportedError: The provider has no ``cas``.
            CacheUnavailableError: It is down.
        """
        self.check()
        name, encoded, ttl_ms = safe(key), self.codecs.encode(value), milliseconds(ttl)
        try:
            generation = await self._space.settle(fresh=True)
            found = await self._entry(name)
            if found is None:
                if expected is not MISS:
                    return False
                (raw,) = await self._link.read((generation.data + name,))  # there may be one that does not count any more
            else:
                raw = found[1]
                if expected is MISS or not self._equals(found[2].payload, expected):
                    return False
            item = CacheItem(generation.data + name, encoded, ttl_ms)
            if not self._link.fits(item):
                raise CacheValueError(
                    f"a value of {len(encoded)} bytes is more than the cache holds",
                    resource=self.name,
                    operation="cas",
                    remedy="store less",
                )
            return await self._atomics.cas("cas", item.key, raw, encoded, ttl_ms)
        except CacheRefusedError:
            raise
        except CacheUnavailableError:
            self._space.bury([name])
            raise

    async def get_or_set(
        self,
        key: str,
        factory: Callable[[], Awaitable[T] | T],
        ttl: TTL = 3600,
        *,
        stale: float | timedelta = 0.0,
        early: float | None = None,
        tags: Sequence[str] = (),
    ) -> T:
        """The value of `key`, computed by `factory` and stored when there is none.

        Concurrent callers share one computation, in this process and, where the provider has locks or ``cas``, across processes. A caller
        can be cancelled without harm to the others. An exception of `factory` reaches all who wait, and is not stored. A value whose key
        is deleted while it is computed is not stored either. While the provider is down the process computes for itself.

        Args:
            key: Any text that is not empty.
            factory: Computes the value; a plain function given to an asyncio cache runs in a thread.
            ttl: Seconds or timedelta that a value is fresh, varied by the setting `jitter`; None for no end.
            stale: Seconds or timedelta after that in which the old value is served while one caller refreshes it.
            early: Overrides the setting of that name: XFetch's beta (Vattani, Chierichetti and Lowenstein, "Optimal probabilistic cache
                stampede prevention", VLDB 2015); 0 never refreshes before the time.
            tags: Groups to invalidate it by.

        Raises:
            CacheCycleError: `factory` asks for the same key, itself or through others.
            CacheValueError: The value cannot be stored, or an argument is out of range; the latter before `factory` is called.
        """
        self.check()
        names = safe_tags(tags) if tags else ()
        window, ttl_ms = span(stale, "stale"), milliseconds(ttl)
        beta = self.settings.early if early is None else eagerness(early)
        name = safe(key)
        fresh = None if ttl_ms is None else ttl_ms / 1000
        job = partial(self._job, name=name, factory=factory, ttl=fresh, stale=window, early=beta, tags=names)
        try:
            if names:
                generation, (raw, *versions) = await self._space.read((name,), names)
            else:
                versions = ()
                generation, raw = await self._space.read_one(key)
            entry = None if raw is None else await self._open(generation, raw, names, versions, window)
            if entry is not None:
                value = cast(T, self.codecs.decode(entry.payload))
                if entry.fresh_until is not None and self._is_due(entry.fresh_until, entry.cost * beta):
                    self._computations.refresh(job(generation))
                self._counters.hits += 1
                return value
        except UndecodableError:
            self._counters.undecodable += 1
        except CacheUnavailableError:
            pass
        self._counters.misses += 1
        try:
            generation = await self._space.settle()
        except CacheOperationError:
            generation = self._space.generation
        payload = await self._computations.value(job(generation))
        return cast(T, self.codecs.decode(payload))

    def cached(
        self,
        ttl: TTL = 3600,
        *,
        key: Callable[..., str] | None = None,
        stale: float | timedelta = 0.0,
        early: float | None = None,
        tags: Sequence[str] = (),
    ) -> Callable[[Callable[..., Any]], AsyncCachedFunction]:
        """Decorate a function so that its results are kept, by `get_or_set`.

        The key is the function's qualified name with its arguments. The decorated function has ``key(*args)`` and ``invalidate(*args)``.

        Args:
            ttl: As in `get_or_set`.
            key: Makes the key from the arguments; needed for methods, and for arguments that cannot be stored.
            stale: As in `get_or_set`.
            early: As in `get_or_set`.
            tags: As in `get_or_set`.
        """
        milliseconds(ttl)
        span(stale, "stale")
        safe_tags(tags)
        if early is not None:
            eagerness(early)
        return partial(cached_function, self, ttl=ttl, key=key, stale=stale, early=early, tags=tags)

    # Groups of entries

    def namespace(self, name: str) -> AsyncCache:
        """A part of this cache with its own keys, tags, locks and `clear`. Clearing a cache clears the namespaces below it."""
        self.check()
        part = safe_part(name)
        child = cast("AsyncCache | None", self._children.get(name))
        if child is None:
            child = AsyncCache(self.driver, self.settings, self.context, owned=False, parent=self, child=part)
            child = cast(AsyncCache, self._children.setdefault(name, child))
        return child

    async def invalidate_tags(self, tags: Sequence[str]) -> bool:
        """Make every entry of this namespace that carries one of `tags` a miss; False while the provider is down, which is made up for."""
        self.check()
        names = list(dict.fromkeys(safe_tags(tags)))
        if not names:
            return True
        try:
            generation, _ = await self._space.read(())
            if generation.complete:
                await self._link.delete("invalidate_tags", [generation.tag + name for name in names])
            return True
        except CacheUnavailableError as error:
            self._space.bury_tags(names, refused=isinstance(error, CacheRefusedError))
            return False

    async def clear(self) -> bool:
        """Make every entry of this namespace, and of those below it, a miss; False while the provider is down, which is made up for."""
        self.check()
        try:
            await self._space.renew()
            return True
        except CacheUnavailableError as error:
            self._space.bury_all(refused=isinstance(error, CacheRefusedError))
            return False

    # Locks and limits

    def lock(self, name: str, ttl: float | timedelta = 30.0, *, wait: float | timedelta | None = None) -> AsyncCacheLock:
        """A lock between processes, to use as ``async with cache.lock("import") as lock``.

        Args:
            name: Its name within this namespace; it survives `clear`.
            ttl: Seconds or timedelta after which it expires if its holder dies; extended while the block runs.
            wait: Seconds or timedelta to wait for it; None for as long as it takes, 0 not at all.

        Raises:
            UnsupportedError: The provider has neither locks nor ``cas``.
        """
        self.check()
        if not self._atomics.locks:
            self.need("lock", "choose a provider with locks or cas")
        return AsyncCacheLock(self._atomics, self._space.outside("@", name), name, self.name, ttl, wait)

    def limiter(self, name: str, rate: float, burst: int) -> AsyncLimiter:
        """A rate limiter between processes (GCRA).

        Args:
            name: Its name within this namespace; it survives `clear`.
            rate: Requests per second in the long run.
            burst: Requests that may come at once after a pause.

        Raises:
            UnsupportedError: The provider can neither limit nor has it ``cas``.
            CacheValueError: A number is not positive.
        """
        self.check()
        return AsyncLimiter(self._atomics, partial(self._space.outside, "%", safe_part(name)), rate, burst, self.settings.limiter_policy)

    # Inspection

    def stats(self) -> CacheStats:
        """What this resource, with all its namespaces, has seen since it was opened; does no I/O."""
        outage = self._link.outage
        return CacheStats(**asdict(self._counters), degraded=outage.open, tombstones=len(outage.tombstones()))

    async def stored_key(self, key: str) -> str:
        """Where the provider keeps `key` now, for its own tools, such as ``redis-cli``."""
        self.check()
        return (await self._space.settle()).data + safe(key)


def _is_plain(value: object) -> bool:
    try:
        return is_plain(value)
    except RecursionError:
        return False
