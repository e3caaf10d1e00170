"""Cache, embedded.

The portable call beside the bare driver and the peers: values of 1 KB, bytes unless the case says otherwise. Memory's yardstick is
cachetools' TTL cache under a lock, the least that threads may share; the file's is diskcache.
"""

from __future__ import annotations

from functools import partial
from threading import Lock
from typing import Any

import aiocache
import cashews
import diskcache
from cachetools import TTLCache, cached
from harness import Bench, Contender

from infra.cache.model import CacheItem, SetMode

VALUE = b"v" * 1024
KEYS = [f"key-{number}" for number in range(100)]
TIMEOUT = 1.0
GENERATION = "a get also reads the namespace's generation, which makes `clear` and tags instant"
HIT = "each hit is a copy, decoded from JSON, and also reads the namespace's generation, which makes `clear` and tags instant"
COPY = "each hit is a copy, decoded from JSON; aiocache hands out the object itself"


def measure(bench: Bench) -> None:
    """Memory by threads and by tasks, and the file."""
    bench.packages += ["infra-local", "cachetools", "cashews", "aiocache", "diskcache"]
    memory(bench)
    tasks(bench)
    file(bench)


def memory(bench: Bench) -> None:
    """Blocking calls on the memory cache."""
    cache = bench.open("cache", "memory")
    cache.set_many(dict.fromkeys(KEYS, VALUE))
    stored = [cache.stored_key(key) for key in KEYS]
    table: TTLCache[str, bytes] = TTLCache(10_000, 3600)
    lock = Lock()
    for key in KEYS:
        table[key] = VALUE

    def peer_get() -> bytes | None:
        with lock:
            return table.get("key-7")

    def peer_set() -> None:
        with lock:
            table["key-7"] = VALUE

    def peer_get_many() -> list[bytes | None]:
        with lock:
            return [table.get(key) for key in KEYS]

    item = CacheItem(stored[7], VALUE, 3_600_000)
    yardstick = "cachetools + lock"
    bench.compare(
        "memory: get",
        Contender(yardstick, bench.repeat(peer_get)),
        Contender("driver", bench.repeat(lambda: cache.driver.get_many([stored[7]], TIMEOUT))),
        Contender("portable", bench.repeat(lambda: cache.get("key-7")), 2.0),
        operations=20_000,
    )
    bench.compare(
        "memory: set",
        Contender(yardstick, bench.repeat(peer_set)),
        Contender("driver", bench.repeat(lambda: cache.driver.set_many([item], SetMode.SET, TIMEOUT))),
        Contender("portable", bench.repeat(lambda: cache.set("key-7", VALUE))),
        operations=20_000,
    )
    bench.compare(
        "memory: get 100 at once",
        Contender(yardstick, bench.repeat(peer_get_many)),
        Contender("driver", bench.repeat(lambda: cache.driver.get_many(stored, TIMEOUT))),
        Contender("portable", bench.repeat(lambda: cache.get_many(KEYS))),
        operations=1_000,
    )
    bench.compare(
        "memory: get by 16 threads",
        Contender(yardstick, bench.repeat_threads(peer_get, threads=16)),
        Contender("portable", bench.repeat_threads(lambda: cache.get("key-7"), threads=16)),
        operations=20_000,
    )
    ours = cache.cached(ttl=3600)(lambda number: {"number": number})
    theirs = cached(TTLCache(10_000, 3600), lock=Lock())(lambda number: {"number": number})
    bench.compare(
        "memory: decorated function, hit",
        Contender("cachetools + lock, the object itself", bench.repeat(lambda: theirs(7))),
        Contender("portable, a copy through JSON", bench.repeat(lambda: ours(7))),
        operations=10_000,
    )


def tasks(bench: Bench) -> None:
    """Awaited calls on the memory cache."""
    cache = bench.open_async("cache", "memory")
    bench.runner.run(cache.set("key-7", VALUE))
    peer: Any = cashews.Cache()
    peer.setup("mem://")
    bench.runner.run(peer.set("key-7", VALUE, expire=3600))
    for name, count in (("", 1), (" by 50 tasks", 50)):
        bench.compare(
            f"asyncio, memory: get{name}",
            Contender("cashews", bench.repeat_async(lambda: peer.get("key-7"), tasks=count)),
            Contender("portable", bench.repeat_async(lambda: cache.get("key-7"), tasks=count), 0.2, why=HIT),
            operations=10_000,
        )
    hits: dict[str, Any] = {
        "cashews": peer(ttl=3600, key="number:{number}")(number_of),
        "aiocache": aiocache.cached(ttl=3600)(number_of),
        "portable": cache.cached(ttl=3600)(number_of),
    }
    bench.compare(
        "asyncio, memory: decorated function, hit",
        *(Contender(name, bench.repeat_async(partial(call, 7))) for name, call in hits.items()),
        operations=5_000,
    )
    for name in ("cashews", "aiocache"):
        bench.at_least("asyncio, memory: decorated function, hit", "portable", 3, over=name, why=COPY)


async def number_of(number: int) -> dict[str, int]:
    """What is worth keeping."""
    return {"number": number}


def file(bench: Bench) -> None:
    """Blocking calls on the SQLite cache."""
    cache = bench.open("cache", "sqlite")
    cache.set_many(dict.fromkeys(KEYS, VALUE))
    stored = cache.stored_key("key-7")
    item = CacheItem(stored, VALUE, 3_600_000)
    peer = bench.stack.enter_context(diskcache.Cache(str(bench.folder / "diskcache")))
    peer.set("key-7", VALUE, expire=3600)
    bench.compare(
        "file: get",
        Contender("diskcache", bench.repeat(lambda: peer.get("key-7"))),
        Contender("driver", bench.repeat(lambda: cache.driver.get_many([stored], TIMEOUT))),
        Contender("portable", bench.repeat(lambda: cache.get("key-7"))),
        operations=5_000,
    )
    bench.at_least("file: get", "portable", 1.2, why=GENERATION)
    bench.compare(
        "file: set",
        Contender("diskcache", bench.repeat(lambda: peer.set("key-7", VALUE, expire=3600))),
        Contender("driver", bench.repeat(lambda: cache.driver.set_many([item], SetMode.SET, TIMEOUT))),
        Contender("portable", bench.repeat(lambda: cache.set("key-7", VALUE))),
        operations=2_000,
    )
    bench.at_least("file: set", "portable", 2)
