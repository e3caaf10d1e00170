"""A namespace: its place in the key space, its generation and its tags.

Every namespace, the root too, has a generation: a random id, stored under its parent's. It is part of each key below, so that a new id
hides all earlier entries at once. A read fetches the ids together with what it wants and repeats in the rare case that one changed.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from infra.cache._async.link import AsyncLink
from infra.cache._async.purging import AsyncPurge
from infra.cache.entries import new_version, safe, version_name
from infra.cache.errors import CacheOperationError
from infra.cache.model import CacheItem, SetMode

_ATTEMPTS: Final = 10
_REQUESTS: Final = 2000


class Generation:
    """The ids of a path of namespaces, as far as they are known, and the keys that follow from them.

    Args:
        prefix: What all keys of the resource start with.
        path: The namespaces' names, the root's empty one first.
        ids: The ids of the first of them.
    """

    __slots__ = ("complete", "data", "depth", "ids", "lease", "markers", "requests", "seen", "tag")

    def __init__(self, prefix: str, path: tuple[str, ...], ids: tuple[bytes, ...]) -> None:
        self.ids = list[bytes | None](ids)
        names = [version_name(version) for version in ids]
        below = [f"{prefix}/", *(f"{prefix}:{name}/{child}" for name, child in zip(names, path[1:], strict=False))]
        #: The keys of the ids: of those that are known, and of the next.
        self.markers = tuple(below[: len(path)])
        self.complete = len(ids) == len(path)
        self.depth = len(self.markers)
        own = names[-1] if self.complete else ""
        self.data, self.tag, self.lease = f"{prefix}:{own}:", f"{prefix}:{own}#", f"{prefix}:{own}!"
        #: What to read for a key, for keys read lately: making it costs half of a read from memory.
        self.requests: dict[str, tuple[str, ...]] = {}
        #: When it was last found to be the present one, on the monotonic clock.
        self.seen = time.monotonic()

    def request(self, key: str) -> tuple[str, ...]:
        """The keys to read for `key`: those of the generation, and its own."""
        request = (*self.markers, self.data + safe(key))
        if len(self.requests) >= _REQUESTS:
            self.requests.clear()
        self.requests[key] = request
        return request


class AsyncSpace:
    """One namespace.

    Args:
        link: The way to the driver.
        prefix: What all keys of the resource start with.
        path: The namespaces' names from the root down, the root's empty one first.
        purge: Frees the generations that end.
        trust: Seconds for which a write may rely on a generation seen before.
        tag_ttl_ms: Milliseconds after which a tag's version is forgotten.
    """

    def __init__(self, link: AsyncLink, purge: AsyncPurge, prefix: str, path: tuple[str, ...], trust: float, tag_ttl_ms: int) -> None:
        self.path = path
        self.prefix = prefix
        self._link = link
        self._purge = purge
        self._trust = trust
        self._tag_ttl_ms = tag_ttl_ms
        self.generation = Generation(prefix, path, ())

    def outside(self, kind: str, *names: str) -> str:
        """A key of this namespace that outlives its generations, such as a lock's. All names but the last are without ``:``."""
        return f"{self.prefix}{kind}{safe(':'.join(('/'.join(self.path[1:]), *names)))}"

    async def read_one(self, key: str) -> tuple[Generation, bytes | None]:
        """The present generation and the stored bytes of `key`, which need not be safe."""
        generation = self.generation
        if generation.complete and type(key) is str:
            found = await self._link.read(generation.requests.get(key) or generation.request(key))
            raw = found.pop()
            if found == generation.ids:
                if self._trust:
                    generation.seen = time.monotonic()
                return generation, raw
        generation, found = await self.read((safe(key),))
        return generation, found[0]

    async def read(self, names: Sequence[str], tags: Sequence[str] = ()) -> tuple[Generation, list[bytes | None]]:
        """The present generation and the stored bytes of `names`, then the versions of `tags`. Both are safe already and distinct."""
        for _ in range(_ATTEMPTS):
            generation = self.generation
            if generation.complete:
                data, tag = generation.data, generation.tag
                found = await self._link.read((*generation.markers, *[data + name for name in names], *[tag + name for name in tags]))
                if found[: generation.depth] == generation.ids:
                    if self._trust:
                        generation.seen = time.monotonic()
                    return generation, found[generation.depth :]
            else:
                found = await self._link.read(generation.markers)
            if self._learn(generation, found) is not None:  # nothing was ever written here
                break
        return self.generation, [None] * (len(names) + len(tags))

    async def settle(self, fresh: bool = False) -> Generation:
        """The present generation, for a write; made where there is none.

        Args:
            fresh: Ask the store even if the generation was seen a moment ago.
        """
        generation = self.generation
        if not fresh and self._trust and self._is_trusted(generation):
            return generation
        for _ in range(_ATTEMPTS):
            generation = self.generation
            found = await self._link.read(generation.markers)
            if found == generation.ids:
                generation.seen = time.monotonic()
                return generation
            missing = self._learn(generation, found)
            if missing is not None:
                await self._link.write("set", [CacheItem(missing, new_version().encode(), None)], SetMode.ADD)
            elif self.generation.complete:
                return self.generation
        raise CacheOperationError("the namespace is cleared faster than it can be used", operation="set", retryable=True)

    async def renew(self) -> None:
        """Give the namespace a new generation: everything in it and below is gone."""
        generation = await self.settle(fresh=True)
        await self._link.write("clear", [CacheItem(generation.markers[-1], new_version().encode(), None)], SetMode.SET)
        self._link.cleared_at = time.monotonic()
        self._doom(generation)

    async def versions(self, generation: Generation, tags: Iterable[str]) -> dict[str, str]:
        """The present version of each of `tags`, for a write; made where there is none."""
        keys = {generation.tag + tag: tag for tag in tags}
        found = dict(zip(keys, await self._link.read(tuple(keys)), strict=True))
        missing = [CacheItem(key, new_version().encode(), self._tag_ttl_ms) for key, version in found.items() if version is None]
        if missing:
            added = await self._link.write("set", missing, SetMode.ADD)
            found.update((item.key, item.value) for item, ours in zip(missing, added, strict=True) if ours)
            theirs = tuple(item.key for item, ours in zip(missing, added, strict=True) if not ours)
            if theirs:
                found.update(zip(theirs, await self._link.read(theirs), strict=True))
        return {tag: version_name(found[key] or b"") for key, tag in keys.items()}

    async def are_current(self, generation: Generation, tags: Mapping[str, str], known: Mapping[str, bytes | None]) -> bool:
        """Whether `tags` still have these versions, of which `known` were just read."""
        others = tuple(generation.tag + tag for tag in tags if tag not in known)
        found = dict(known)
        if others:
            read = await self._link.read(others)
            found.update((key.removeprefix(generation.tag), version) for key, version in zip(others, read, strict=True))
        return all((version := found[tag]) is not None and version_name(version) == wanted for tag, wanted in tags.items())

    def bury(self, names: Iterable[str], refused: bool = False) -> None:
        """Delete the entries once the driver is back, or writes again where it `refused`; all of the namespace if keys are not known."""
        generation = self.generation
        marker = generation.markers[-1]
        keys = [generation.data + name for name in names] if generation.complete else [marker]
        self._link.bury(keys, marker, refused)

    def bury_tags(self, tags: Iterable[str], refused: bool = False) -> None:
        """Invalidate the tags; as `bury`."""
        generation = self.generation
        marker = generation.markers[-1]
        self._link.bury([generation.tag + tag for tag in tags] if generation.complete else [marker], marker, refused)

    def bury_all(self, refused: bool = False) -> None:
        """Give the namespace a new generation; as `bury`."""
        marker = self.generation.markers[-1]
        self._link.bury([marker], marker, refused)
        self._doom(self.generation)

    def _doom(self, generation: Generation) -> None:
        if generation.complete and (version := generation.ids[-1]) is not None:
            self._purge.doom(version)

    def _is_trusted(self, generation: Generation) -> bool:
        return generation.complete and generation.seen > max(self._link.cleared_at, time.monotonic() - self._trust)

    def _learn(self, generation: Generation, found: Sequence[bytes | None]) -> str | None:
        """Take over the ids that were `found` at `generation.markers`; the marker that has none, if there is one."""
        for depth, marker in enumerate(generation.markers):
            version = found[depth]
            if version is not None and depth < len(generation.ids) and version == generation.ids[depth]:
                continue
            ids = tuple(known for known in generation.ids[:depth] if known is not None)
            if version is None:
                self.generation = Generation(self.prefix, self.path, ids)
                return marker
            self.generation = Generation(self.prefix, self.path, (*ids, version))
            return None
        return None
