"""Each key gets its own value, however its callers are cancelled or run out of time."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from redis import exceptions

from infra.cache import AsyncCache, Cache
from infra.cache.model import CacheItem, SetMode
from infra_testing.harness import Harness, Place
from infra_testing.pytest_plugin import StartProxy
from infra_testing.services import RedisServer

TIMEOUT = 10.0
KEYS = [f"storm-{number}" for number in range(30)]
ITEMS = [CacheItem(key, f"value of {key}".encode() * 40, None) for key in KEYS]
VALUES = {item.key: item.value for item in ITEMS}


def harness(port: int, **settings: Any) -> Harness:
    return Harness("redis", plugin="infra_redis", settings={"host": "127.0.0.1", "port": port, "timeout": TIMEOUT, **settings})


async def test_a_storm_of_cancellations_mixes_no_replies_up(tmp_path: Path, redis_server: RedisServer, fault_proxy: StartProxy) -> None:
    proxy = fault_proxy(redis_server)
    cache: AsyncCache = await harness(proxy.port, max_connections=4).open_async("cache", Place(tmp_path))
    driver: Any = cache.driver
    await driver.set_many(ITEMS, SetMode.SET, TIMEOUT)
    proxy.delay(0.003)
    seen: Counter[str] = Counter()

    async def one(number: int) -> None:
        key = KEYS[number % len(KEYS)]
        if number % 3 == 0:
            assert await driver.get_many([key], TIMEOUT) == [VALUES[key]]
        elif number % 3 == 1:
            wanted = random.sample(KEYS, 5)
            assert await driver.get_many(wanted, TIMEOUT) == [VALUES[one] for one in wanted]
        else:
            assert await driver.set_many([CacheItem(key, VALUES[key], None)] * 3, SetMode.SET, TIMEOUT) == [True] * 3

    for _ in range(15):
        tasks = [asyncio.create_task(one(number)) for number in range(40)]
        for task in random.sample(tasks, 20):
            await asyncio.sleep(random.uniform(0, 0.002))
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            seen["cancelled" if isinstance(outcome, asyncio.CancelledError) else "served" if outcome is None else repr(outcome)] += 1
    assert set(seen) == {"cancelled", "served"}
    proxy.heal()
    assert await driver.get_many(KEYS, TIMEOUT) == list(VALUES.values())
    await cache.close()


async def test_callers_cancelled_while_their_gets_travel_together_harm_nobody(
    tmp_path: Path, redis_server: RedisServer, fault_proxy: StartProxy
) -> None:
    proxy = fault_proxy(redis_server)
    cache: AsyncCache = await harness(proxy.port, prefix="together").open_async("cache", Place(tmp_path))
    assert await cache.set_many({key: f"value of {key}" for key in KEYS})
    proxy.delay(0.003)
    for _ in range(15):
        tasks = {key: asyncio.create_task(cache.get(key)) for key in KEYS * 2}
        for key in random.sample(KEYS, 15):
            await asyncio.sleep(random.uniform(0, 0.001))
            tasks[key].cancel()
        await asyncio.wait(tasks.values())
        for key, task in tasks.items():
            assert task.cancelled() or task.result() == f"value of {key}"
    assert cache.stats().failures == 0
    await cache.close()


def test_threads_that_run_out_of_time_mix_no_replies_up(tmp_path: Path, redis_server: RedisServer, fault_proxy: StartProxy) -> None:
    proxy = fault_proxy(redis_server)
    cache: Cache = harness(proxy.port, max_connections=4).open("cache", Place(tmp_path))
    driver: Any = cache.driver
    driver.set_many(ITEMS, SetMode.SET, TIMEOUT)
    proxy.delay(0.003)
    wrong: list[object] = []
    served: Counter[bool] = Counter()

    def work(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(40):
            wanted = chance.sample(KEYS, chance.randint(1, 5))
            patience = chance.choice([0.002, 0.005, 0.008, TIMEOUT])
            try:
                found = driver.get_many(wanted, patience)
            except exceptions.RedisError as error:
                if patience == TIMEOUT:
                    wrong.append(error)
                served[False] += 1
                continue
            if found != [VALUES[one] for one in wanted]:
                wrong.append((wanted, found))
            served[True] += 1

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert served[True]
    assert served[False]
    proxy.heal()
    assert driver.get_many(KEYS, TIMEOUT) == list(VALUES.values())
    cache.close()


async def test_ten_thousand_callers_share_one_computation(tmp_path: Path, redis_server: RedisServer) -> None:
    cache: AsyncCache = await harness(redis_server.port, prefix="herd").open_async("cache", Place(tmp_path))
    count = 0

    async def factory() -> str:
        nonlocal count
        count += 1
        await asyncio.sleep(0.1)
        return "value"

    values = await asyncio.gather(*[cache.get_or_set("key", factory) for _ in range(10_000)])
    assert set(values) == {"value"}
    assert count == 1
    await cache.close()
