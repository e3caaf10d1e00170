"""What a cache provider implements: bytes in, bytes out.

The three methods of `CacheDriver` and the five that every driver has are enough. The methods of `AtomicCacheDriver` come by flag, each
alone; the portable class emulates incr, touch, lock and gcra over ``cas`` where only that exists.

Keys are 1 to 240 printable ASCII characters without space. Values are bytes, up to what the provider stores. TTLs are whole milliseconds,
at least 1, or None for no end; an entry past its TTL is absent in every respect. All methods may be called concurrently, take their
``timeout`` in seconds and let the SDK's exceptions pass.

A driver may say more, by attributes that it need not have: `CacheDriverFacts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from infra.cache.model import CacheItem, Decision, SetMode
from infra.driver import AsyncDriver, Driver


class CacheDriverFacts(Protocol):
    """What a driver may say about itself; each is looked for by its name."""

    #: The most bytes of one value; a larger one is not sent. Else a value is sent whatever its size.
    largest_value: int | None
    #: For asyncio: a cancelled call leaves nothing behind that a later call could take for its own answer. Else calls are not cancelled.
    cancellable: bool

    def can_write(self, timeout: float) -> None:
        """Write something small, and raise the SDK's exception when that is refused; for health. Awaited where the driver is asyncio's."""
        ...

    def now(self) -> float:
        """The present in seconds, on the clock by which entries end. Does no I/O. Else it is this machine's clock."""
        ...

    def refuses(self, error: BaseException) -> bool:
        """Whether it is the server's answer that it does not write now, while it reads: it is full, or a replica. Else no error is."""
        ...


class CacheDriver(Driver, Protocol):
    """A blocking cache driver."""

    def get_many(self, keys: Sequence[str], timeout: float) -> list[bytes | None]:
        """The values in the order of `keys`, None for each that is absent. `keys` is not empty and has no duplicates."""
        ...

    def set_many(self, items: Sequence[CacheItem], mode: SetMode, timeout: float) -> list[bool]:
        """Write each item if `mode` allows, with its TTL in place of any earlier one; whether each was written.

        Each item is atomic, the whole need not be: of concurrent ADDs of one key exactly one wins. `items` is not empty; of equal keys
        the last wins.
        """
        ...

    def delete_many(self, keys: Sequence[str], timeout: float) -> list[bool]:
        """Delete the keys; whether each was present. `keys` is like that of `get_many`.

        The name of a lock is a key: deleting it takes the lock away.
        """
        ...


class AtomicCacheDriver(CacheDriver, Protocol):
    """The optional methods of a blocking driver. One is called only where its flag stands in ``features``."""

    def incr(self, key: str, by: int, ttl_ms: int | None, timeout: float) -> int:
        """INCR: add `by` to the decimal integer at `key` and return the sum; an absent key counts as 0.

        The TTL applies only when the key is new. A value that is no 64-bit integer raises what ``classify`` calls INVALID_ARGUMENT.
        """
        ...

    def cas(self, key: str, expected: bytes | None, value: bytes, ttl_ms: int | None, timeout: float) -> bool:
        """CAS: write `value` if `key` holds exactly `expected`, or is absent when that is None; whether it was written."""
        ...

    def touch(self, key: str, ttl_ms: int | None, timeout: float) -> bool:
        """TOUCH: give a present key a new TTL; whether it was present."""
        ...

    def ttl(self, key: str, timeout: float) -> int | None:
        """TTL: milliseconds left; -1 for no end; None when absent."""
        ...

    def lock_acquire(self, name: str, token: str, ttl_ms: int, timeout: float) -> int | None:
        """LOCK: take the lock for `token`; its fencing number, greater than any given before, or None when somebody holds it."""
        ...

    def lock_extend(self, name: str, token: str, ttl_ms: int, timeout: float) -> bool:
        """LOCK: hold it for `ttl_ms` from now; False when `token` does not hold it."""
        ...

    def lock_release(self, name: str, token: str, timeout: float) -> bool:
        """LOCK: let it go; False when `token` does not hold it."""
        ...

    def gcra(self, key: str, interval_ms: float, burst: int, cost: int, timeout: float) -> Decision:
        """GCRA: one decision of `infra.cache.gcra`, atomic, on the server's clock."""
        ...

    def scan(self, prefix: str, token: str, limit: int, timeout: float) -> tuple[list[str], str | None]:
        """SCAN: some keys that begin with `prefix`, and the token that continues; None at the end, ``""`` begins.

        One call looks at about `limit` keys. A key that is there throughout comes at least once; locks need not come.
        """
        ...


class AsyncCacheDriver(AsyncDriver, Protocol):
    """An asyncio cache driver; `CacheDriver` has the contracts."""

    async def get_many(self, keys: Sequence[str], timeout: float) -> list[bytes | None]:
        """As in the blocking driver."""
        ...

    async def set_many(self, items: Sequence[CacheItem], mode: SetMode, timeout: float) -> list[bool]:
        """As in the blocking driver."""
        ...

    async def delete_many(self, keys: Sequence[str], timeout: float) -> list[bool]:
        """As in the blocking driver."""
        ...


class AsyncAtomicCacheDriver(AsyncCacheDriver, Protocol):
    """The optional methods of an asyncio driver; `AtomicCacheDriver` has the contracts."""

    async def incr(self, key: str, by: int, ttl_ms: int | None, timeout: float) -> int:
        """As in the blocking driver."""
        ...

    async def cas(self, key: str, expected: bytes | None, value: bytes, ttl_ms: int | None, timeout: float) -> bool:
        """As in the blocking driver."""
        ...

    async def touch(self, key: str, ttl_ms: int | None, timeout: float) -> bool:
        """As in the blocking driver."""
        ...

    async def ttl(self, key: str, timeout: float) -> int | None:
        """As in the blocking driver."""
        ...

    async def lock_acquire(self, name: str, token: str, ttl_ms: int, timeout: float) -> int | None:
        """As in the blocking driver."""
        ...

    async def lock_extend(self, name: str, token: str, ttl_ms: int, timeout: float) -> bool:
        """As in the blocking driver."""
        ...

    async def lock_release(self, name: str, token: str, timeout: float) -> bool:
        """As in the blocking driver."""
        ...

    async def gcra(self, key: str, interval_ms: float, burst: int, cost: int, timeout: float) -> Decision:
        """As in the blocking driver."""
        ...

    async def scan(self, prefix: str, token: str, limit: int, timeout: float) -> tuple[list[str], str | None]:
        """As in the blocking driver."""
        ...
