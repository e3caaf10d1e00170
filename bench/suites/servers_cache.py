"""Cache on Redis.

The portable call, the bare driver and the peers beside redis-py with hiredis: values of 1 KB as bytes, written with a TTL, over the
loopback, the server's append-only file off, every call for the next of 100 keys. A portable read also fetches the namespace's
generation, which is what makes `clear` and tags instant: one key more in the same command. Threads and tasks share one client;
concurrent reads of ours travel together in one MGET, and sets of several threads in one pipeline.
"""

from __future__ import annotations

from itertools import cycle
from typing import Any

import cashews
import redis
import redis.asyncio
from aiocache import RedisCache
from aiocache.serializers import NullSerializer
from harness import Bench, Contender

from infra.cache.model import CacheItem, SetMode
from infra_testing.services import RedisServer

VALUE = b"v" * 1024
KEYS = [f"key-{number}" for number in range(100)]
TIMEOUT = 1.0
TTL = 3600
FIRST_ALONE = "whoever comes first goes alone, so that nobody waits for others: half of the exchanges carry one key"


def measure(bench: Bench) -> None:
    """By threads, and by tasks."""
    bench.packages += ["infra-redis", "redis", "hiredis", "cashews", "aiocache"]
    server = bench.serve(RedisServer, options={"appendonly": "no"})
    threads(bench, server)
    tasks(bench, server)


def threads(bench: Bench, server: RedisServer) -> None:
    """Blocking calls."""
    cache = bench.open("cache", "redis", url=server.url)
    cache.set_many(dict.fromkeys(KEYS, VALUE))
    stored = [cache.stored_key(key) for key in KEYS]
    items = [CacheItem(key, b"b" + VALUE, TTL * 1000) for key in stored]
    client = bench.stack.enter_context(redis.Redis(port=server.port))
    client.mset(dict.fromkeys(KEYS, VALUE))
    keys, numbers = cycle(KEYS), cycle(range(len(KEYS)))

    def pipelined() -> None:
        with client.pipeline(transaction=False) as pipeline:
            for key in KEYS:
                pipeline.set(key, VALUE, ex=TTL)
            pipeline.execute()

    bench.compare(
        "get",
        Contender("redis-py", bench.repeat(lambda: client.get(next(keys)))),
        Contender("driver", bench.repeat(lambda: cache.driver.get_many([stored[next(numbers)]], TIMEOUT))),
        Contender("portable", bench.repeat(lambda: cache.get(next(keys))), 1.10),
        operations=500,
    )
    bench.compare(
        "set",
        Contender("redis-py", bench.repeat(lambda: client.set(next(keys), VALUE, ex=TTL))),
        Contender("driver", bench.repeat(lambda: cache.driver.set_many([items[next(numbers)]], SetMode.SET, TIMEOUT))),
        Contender("portable", bench.repeat(lambda: cache.set(next(keys), VALUE, TTL)), 1.10),
        operations=500,
    )
    for name, theirs, ours in (
        ("get", lambda: client.get(next(keys)), lambda: cache.get(next(keys))),
        ("set", lambda: client.set(next(keys), VALUE, ex=TTL), lambda: cache.set(next(keys), VALUE, TTL)),
    ):
        bench.compare(
            f"{name} by 16 threads",
            Contender("redis-py", bench.repeat_threads(theirs, threads=16)),
            Contender("portable", bench.repeat_threads(ours, threads=16)),
            operations=800,
        )
        bench.at_least(f"{name} by 16 threads", "portable", 3, why=FIRST_ALONE)
    bench.compare(
        "get 100 at once",
        Contender("redis-py, MGET", bench.repeat(lambda: client.mget(KEYS))),
        Contender("driver", bench.repeat(lambda: cache.driver.get_many(stored, TIMEOUT))),
        Contender("portable", bench.repeat(lambda: cache.get_many(KEYS)), 1.07),
        operations=100,
    )
    bench.compare(
        "set 100 at once",
        Contender("redis-py, pipeline", bench.repeat(pipelined)),
        Contender("driver", bench.repeat(lambda: cache.driver.set_many(items, SetMode.SET, TIMEOUT))),
        Contender("portable", bench.repeat(lambda: cache.set_many(dict.fromkeys(KEYS, VALUE), TTL))),
        operations=100,
    )
    bench.at_least("set 100 at once", "portable", 1.5)


def tasks(bench: Bench, server: RedisServer) -> None:
    """Awaited calls."""
    cache = bench.open_async("cache", "redis", url=server.url)
    bench.runner.run(cache.set_many(dict.fromkeys(KEYS, VALUE)))
    stored = [bench.runner.run(cache.stored_key(key)) for key in KEYS]
    keys, numbers = cycle(KEYS), cycle(range(len(KEYS)))
    client = redis.asyncio.Redis(port=server.port)
    bench.stack.callback(lambda: bench.runner.run(client.aclose()))
    bench.runner.run(client.mset(dict.fromkeys(KEYS, VALUE)))
    peer: Any = cashews.Cache()
    peer.setup(server.url, client_side=False)
    bench.stack.callback(lambda: bench.runner.run(peer.close()))
    bench.runner.run(peer.set_many(dict.fromkeys(KEYS, VALUE), expire=TTL))
    other: Any = RedisCache(endpoint="127.0.0.1", port=server.port, serializer=NullSerializer())
    bench.stack.callback(lambda: bench.runner.run(other.close()))

    for name, count in (("", 1), (" by 50 tasks", 50)):
        bench.compare(
            f"asyncio: get{name}",
            Contender("redis-py", bench.repeat_async(lambda: client.get(next(keys)), tasks=count)),
            Contender("driver", bench.repeat_async(lambda: cache.driver.get_many([stored[next(numbers)]], TIMEOUT), tasks=count)),
            Contender("portable", bench.repeat_async(lambda: cache.get(next(keys)), tasks=count)),
            Contender("cashews", bench.repeat_async(lambda: peer.get(next(keys)), tasks=count)),
            Contender("aiocache", bench.repeat_async(lambda: other.get(next(keys)), tasks=count)),
            operations=500 * (1 if count == 1 else 4),
        )
    bench.at_least("asyncio: get by 50 tasks", "portable", 8, why=FIRST_ALONE)
    bench.compare(
        "asyncio: get 100 at once",
        Contender("redis-py, MGET", bench.repeat_async(lambda: client.mget(KEYS))),
        Contender("portable", bench.repeat_async(lambda: cache.get_many(KEYS)), 1.07),
        Contender("cashews", bench.repeat_async(lambda: peer.get_many(*KEYS))),
        operations=100,
    )
    ours = cache.cached(ttl=TTL)(number_of)
    theirs = peer(ttl=TTL, key="number:{number}", protected=False)(number_of)
    numbers = cycle(range(100))
    bench.compare(
        "asyncio: decorated function, hit",
        Contender("cashews", bench.repeat_async(lambda: theirs(next(numbers)))),
        Contender("portable", bench.repeat_async(lambda: ours(next(numbers)))),
        operations=500,
    )


async def number_of(number: int) -> dict[str, int]:
    """What is worth keeping."""
    return {"number": number}
