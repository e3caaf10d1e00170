"""Value types of the cache."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, StrEnum
from typing import Final, Literal, NamedTuple, TypeAlias

#: How long an entry lives, in seconds or as a timedelta; None means until it is deleted or evicted.
TTL: TypeAlias = float | timedelta | None


class CacheFeature(StrEnum):
    """What not every provider has. A host asks for it with ``require = ["incr"]``.

    INCR, TOUCH, LOCK and GCRA are emulated over CAS where the provider has only that.
    """

    INCR = "incr"
    CAS = "cas"
    TOUCH = "touch"
    #: An entry's remaining life can be read.
    TTL = "ttl"
    LOCK = "lock"
    #: A rate limiter decides on the server, on the server's clock.
    GCRA = "gcra"
    #: Processes that open the same settings see the same entries.
    SHARED = "shared"
    #: Keys can be looked through by their beginning: what `clear` hides is freed in the background.
    SCAN = "scan"
    #: Beyond its bound it evicts the least recently used entries.
    BOUNDED = "bounded"


class Miss(Enum):
    """The type of `MISS`."""

    MISS = "MISS"

    def __bool__(self) -> Literal[False]:
        return False


#: "Not there", where None may be a stored value: ``get(key, MISS)``, ``cas(key, MISS, value)``.
MISS: Final = Miss.MISS


class SetMode(StrEnum):
    """When a write takes effect: always, only on an absent key, only on a present one. An expired entry is absent."""

    SET = "set"
    ADD = "add"
    REPLACE = "replace"


class CacheItem(NamedTuple):
    """One entry to write. A tuple, since making one costs half of making a frozen dataclass and each `set` makes one.

    Args:
        key: 1 to 240 printable ASCII characters without space.
        value: The bytes to store.
        ttl_ms: Its life in milliseconds, at least 1; None for no end.
    """

    key: str
    value: bytes
    ttl_ms: int | None


@dataclass(frozen=True, slots=True)
class Decision:
    """A rate limiter's answer.

    Args:
        allowed: Whether the request may go on.
        remaining: How many further requests of cost 1 would be allowed now.
        retry_after: Seconds after which the same request would be allowed; 0 when it is allowed now, infinity when it never can be.
        reset_after: Seconds after which the whole burst is available again.
    """

    allowed: bool
    remaining: int
    retry_after: float
    reset_after: float

    def __bool__(self) -> bool:
        return self.allowed


@dataclass(frozen=True, slots=True)
class CacheStats:
    """What one portable object, with its namespaces, has seen since it was opened. Counts are approximate between threads.

    Args:
        hits: Reads that found a value.
        misses: Reads that found none, for whatever reason.
        stale: Hits past their time, served while one caller refreshed.
        writes: Entries written.
        deletes: Keys deleted on request.
        computed: Factories that `get_or_set` ran.
        undecodable: Entries that did not decode, each read as a miss.
        failures: Calls that the provider failed or the breaker refused.
        degraded: Whether the breaker is open now: reads miss, writes are refused.
        tombstones: Keys to delete before the breaker closes.
    """

    hits: int = 0
    misses: int = 0
    stale: int = 0
    writes: int = 0
    deletes: int = 0
    computed: int = 0
    undecodable: int = 0
    failures: int = 0
    degraded: bool = False
    tombstones: int = 0

    @property
    def hit_rate(self) -> float:
        """Hits per read, 0 to 1; 0 before the first read."""
        reads = self.hits + self.misses
        return self.hits / reads if reads else 0.0
