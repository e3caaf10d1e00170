"""What happens to the cache when its server does not do what it should."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_asyncio
from redis import exceptions

from infra.cache import MISS, AsyncCache, CacheRefusedError, CacheUnavailableError, LockLostError
from infra.errors import ErrorCode, InfraError
from infra.runtime.aio import gather, sleep
from infra_testing.harness import Harness, Place
from infra_testing.proxy import Direction
from infra_testing.pytest_plugin import StartProxy, StartServer
from infra_testing.services import RedisServer

# async-only: begin
from redis.asyncio import Redis  # isort: skip

# async-only: end
# sync-only: from redis import Redis

PATIENCE = 60.0
#: Longer than a busy machine lets a healthy server wait.
TIMEOUT = 10.0
REDIS = Harness("redis", plugin="infra_redis", settings={"host": "127.0.0.1", "timeout": TIMEOUT, "probe_interval": 0.05})


class SentinelServer(RedisServer):
    """A Sentinel that watches nothing."""

    def prepare(self) -> None:
        """It wants a file that it can write."""
        (self.root / "sentinel.conf").touch()

    def command(self) -> list[str]:
        """In the foreground."""
        program, *_ = super().command()
        return [program, "sentinel.conf", "--sentinel", "--port", str(self.port), "--bind", "127.0.0.1"]


Open = Callable[..., Awaitable[AsyncCache]]


@pytest_asyncio.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Open]:
    caches: list[AsyncCache] = []

    async def open_one(port: int, **settings: Any) -> AsyncCache:
        cache: AsyncCache = await REDIS.open_async("cache", Place(tmp_path), port=port, **settings)
        caches.append(cache)
        return cache

    yield open_one
    for cache in caches:
        await cache.close()


async def eventually(condition: Callable[[], object]) -> None:
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until, "the condition did not come true in time"
        await sleep(0.01)


async def recovered(cache: AsyncCache) -> None:
    await eventually(lambda: not cache.stats().degraded)


async def test_a_killed_server_costs_nothing_but_misses_and_is_used_again_when_it_is_back(opened: Open, start_server: StartServer) -> None:
    server = start_server(RedisServer)
    cache, other = await opened(server.port), await opened(server.port)
    assert await cache.set_many({"kept": 1, "deleted": 2, "changed": 3}, ttl=None)
    assert await cache.incr("count", 5, ttl=None) == 5
    server.kill()
    assert await cache.get("kept", MISS) is MISS
    assert await cache.get_many(["kept", "deleted"]) == {}
    assert not await cache.delete("deleted")
    assert not await cache.set("changed", 4)
    assert cache.stats().degraded
    for operation in (partial(cache.incr, "count"), partial(cache.cas, "changed", 3, 4), cache.lock("door").acquire):
        with pytest.raises(CacheUnavailableError) as caught:
            await operation()
        assert caught.value.resource == "cache.main"
        assert caught.value.remedy
    assert (await cache.limiter("calls", 1, 1).acquire()).allowed
    server.start()
    await recovered(cache)
    assert await cache.get("kept") == 1
    assert await cache.get_many(["deleted", "changed"]) == {}
    assert await other.get("deleted", MISS) is MISS
    assert await cache.incr("other", ttl=None) == 1
    assert await cache.set("changed", 5)
    assert await other.get("changed") == 5


async def test_a_black_hole_is_waited_for_once(opened: Open, start_server: StartServer, fault_proxy: StartProxy) -> None:
    server = start_server(RedisServer)
    proxy = fault_proxy(server)
    await (await opened(server.port)).set_many({"kept": 1, "deleted": 2}, ttl=None)
    cache = await opened(proxy.port, timeout=0.5)
    await eventually_reads(cache, "kept", 1)
    proxy.black_hole()
    assert await cache.get("kept", MISS) is MISS
    assert cache.stats().degraded
    began = time.monotonic()
    for _ in range(500):
        assert await cache.get("kept", MISS) is MISS
        assert not await cache.delete("deleted")
    assert time.monotonic() - began < 500 * 0.5 / 5
    proxy.heal()
    await eventually_reads(cache, "kept", 1)
    await recovered(cache)
    assert await (await opened(server.port)).get("deleted", MISS) is MISS


async def eventually_reads(cache: AsyncCache, key: str, value: object) -> None:
    until = time.monotonic() + PATIENCE
    while await cache.get(key, MISS) != value:
        assert time.monotonic() < until, f"{key} did not come back in time"
        await sleep(0.01)


async def test_a_paused_server_is_used_again_when_it_goes_on(opened: Open, start_server: StartServer) -> None:
    server = start_server(RedisServer)
    cache = await opened(server.port, timeout=0.5)
    await (await opened(server.port)).set("key", 1, ttl=None)
    await eventually_reads(cache, "key", 1)
    server.pause()
    assert await cache.get("key", MISS) is MISS
    assert cache.stats().degraded
    server.resume()
    await eventually_reads(cache, "key", 1)


async def test_a_restarted_server_is_not_even_noticed(opened: Open, start_server: StartServer) -> None:
    server = start_server(RedisServer)
    cache = await opened(server.port)
    assert await cache.set("key", 1, ttl=None)
    await gather(*[partial(cache.incr, "count", ttl=None)] * 8)  # so that several connections are open
    server.restart()
    await sleep(0.01)  # a turn of the loop reads the end of the streams
    assert await cache.get("key") == 1
    assert await cache.incr("count", ttl=None) == 9
    assert await cache.set("key", 2)
    assert cache.stats().failures == 0


@pytest.mark.parametrize("end", ["disconnect", "reset"])
async def test_a_connection_that_was_closed_or_reset_is_not_used(
    opened: Open, start_server: StartServer, fault_proxy: StartProxy, end: str
) -> None:
    server = start_server(RedisServer)
    proxy = fault_proxy(server)
    cache = await opened(proxy.port)
    assert await cache.set("key", 1, ttl=None)
    getattr(proxy, end)()
    await sleep(0.01)  # a turn of the loop reads the end of the streams
    assert await cache.get("key") == 1
    assert cache.stats().failures == 0


async def test_connections_that_are_reset_under_load_mix_nothing_up(
    opened: Open, start_server: StartServer, fault_proxy: StartProxy
) -> None:
    server = start_server(RedisServer)
    proxy = fault_proxy(server)
    cache = await opened(proxy.port, batch=1)
    keys = [f"key-{number}" for number in range(40)]
    assert await cache.set_many({key: f"value of {key}" for key in keys}, ttl=None)

    async def reader(key: str) -> None:
        for _ in range(20):
            assert await cache.get(key, f"value of {key}") == f"value of {key}"

    async def breaker() -> None:
        for _ in range(10):
            proxy.reset()
            await sleep(0.005)

    outcomes = await gather(*[partial(reader, key) for key in keys], breaker)
    assert outcomes == [None] * 41
    await sleep(0.01)  # a turn of the loop reads the end of the streams
    await recovered(cache)
    assert await cache.get_many(keys) == {key: f"value of {key}" for key in keys}


async def test_a_flushed_server_has_forgotten_everything_and_revives_nothing(opened: Open, start_server: StartServer) -> None:
    server = start_server(RedisServer)
    cache, other = await opened(server.port), await opened(server.port)
    await cache.set("key", "old", ttl=None, tags=["tag"])
    assert await other.get("key") == "old"
    lock = cache.lock("door")
    assert await lock.acquire()
    before = lock.fence
    await cache.unwrap(Redis).flushall()
    assert await cache.get("key", MISS) is MISS
    assert await other.add("new", 1)
    assert await cache.get("key", MISS) is MISS
    assert not await lock.extend()
    later = other.lock("door")
    assert await later.acquire()
    assert before is not None
    assert later.fence is not None
    assert later.fence > before


async def test_a_lock_that_a_flush_took_away_is_reported_lost(opened: Open, start_server: StartServer) -> None:
    server = start_server(RedisServer)
    cache = await opened(server.port)
    lock = cache.lock("door", ttl=TIMEOUT)
    await lock.__aenter__()
    await cache.unwrap(Redis).flushall()
    with pytest.raises(LockLostError, match="door"):
        await lock.__aexit__(None, None, None)


async def test_flushed_scripts_are_sent_again(opened: Open, start_server: StartServer) -> None:
    server = start_server(RedisServer)
    cache = await opened(server.port)
    await cache.set("key", "a")
    for turn in range(3):
        await cache.unwrap(Redis).script_flush()
        assert await cache.incr("count", ttl=600) == turn + 1
        assert await cache.cas("key", "a", "a")
        async with cache.lock("door"):
            await cache.unwrap(Redis).script_flush()
        assert (await cache.limiter("calls", 0.001, 5).acquire()).remaining == 4 - turn
    assert cache.stats().failures == 0


async def test_what_scripts_and_commands_refuse_is_classified_alike(opened: Open, redis_server: RedisServer) -> None:
    cache = await opened(redis_server.port)
    driver, client = cast("Any", cache.driver), cache.unwrap(Redis)
    await client.set("classified-text", "no number")
    await client.rpush("classified-list", "one")
    for call in (
        partial(driver.incr, "classified-text", 1, None),
        partial(driver.incr, "classified-text", 1, 1000),
        partial(driver.incr, "classified-list", 1, 1000),
        partial(driver.cas, "classified-list", b"a", b"b", None),
    ):
        with pytest.raises(exceptions.ResponseError) as caught:
            await call(TIMEOUT)
        assert driver.classify(caught.value) is ErrorCode.INVALID_ARGUMENT
    before_7 = exceptions.ResponseError("Error running script (call to f_1): @user_script:2: ERR value is not an integer or out of range")
    assert driver.classify(before_7) is ErrorCode.INVALID_ARGUMENT
    assert driver.classify(exceptions.ResponseError("unknown command")) is ErrorCode.INTERNAL
    assert driver.classify(ValueError()) is None
    await client.delete("classified-text", "classified-list")


async def test_more_callers_than_connections_take_turns(opened: Open, start_server: StartServer) -> None:
    server = start_server(RedisServer)
    cache = await opened(server.port, max_connections=2)
    values = [partial(cache.set, f"key-{number}", number) for number in range(100)]
    assert await gather(*values) == [True] * 100
    assert len(await cache.get_many(f"key-{number}" for number in range(100))) == 100
    assert len(await cache.unwrap(Redis).client_list()) <= 3


async def test_a_caller_who_finds_all_connections_in_use_is_told_so(
    opened: Open, start_server: StartServer, fault_proxy: StartProxy
) -> None:
    proxy = fault_proxy(start_server(RedisServer))
    driver = (await opened(proxy.port, max_connections=1)).driver
    await driver.get_many(["key"], TIMEOUT)
    proxy.black_hole(Direction.TO_CLIENT)
    sent = proxy.bytes_passed(Direction.TO_SERVER)

    async def first() -> list[bytes | None]:
        return await driver.get_many(["key"], PATIENCE)

    async def second() -> exceptions.RedisError:
        await eventually(lambda: proxy.bytes_passed(Direction.TO_SERVER) > sent)
        with pytest.raises(exceptions.RedisError, match="max_connections") as caught:
            await driver.get_many(["key"], 0.1)
        proxy.heal()
        return caught.value

    found, error = await gather(first, second)
    assert found == [None]
    assert driver.classify(error) is ErrorCode.TIMEOUT


async def test_a_full_server_reads_on_and_keeps_nothing_old(opened: Open, start_server: StartServer) -> None:
    server = start_server(RedisServer)
    cache = await opened(server.port)
    await cache.set_many({"kept": 1, "changed": 2}, ttl=None)
    await cache.unwrap(Redis).config_set("maxmemory", 1)
    assert not await cache.set("changed", 3)
    await cache.unwrap(Redis).config_set("maxmemory", 0)
    await eventually_reads(cache, "kept", 1)
    assert await cache.get("changed", MISS) is MISS


@pytest.mark.parametrize(("keys", "commands", "status"), [("*", "-set", "degraded"), ("*", "+set", "up"), ("app:*", "+set", "up")])
async def test_an_account_that_may_not_write_is_no_outage(
    opened: Open, start_server: StartServer, keys: str, commands: str, status: str
) -> None:
    server = start_server(RedisServer)
    admin = (await opened(server.port)).unwrap(Redis)
    await admin.acl_setuser("reader", enabled=True, passwords=["+s3cret"], commands=["+@all", commands], keys=[keys])
    found = await (await opened(server.port, username="reader", password="s3cret")).health(TIMEOUT)
    assert found.status == status
    assert status == "up" or (found.code, "'set'" in (found.message or ""), bool(found.remedy)) == ("PERMISSION_DENIED", True, True)


async def test_a_refused_write_is_no_outage_for_reads(opened: Open, start_server: StartServer) -> None:
    server = start_server(RedisServer)
    cache, other = await opened(server.port), await opened(server.port)
    await cache.set_many({"kept": 1, "changed": 2, "deleted": 3, "count": 4}, ttl=None)
    replica = start_server(RedisServer, options={"replicaof": f"127.0.0.1 {server.port}"})
    reader = await opened(replica.port)
    await eventually_reads(reader, "kept", 1)
    await cache.unwrap(Redis).config_set("maxmemory", 1)
    for full in (cache, reader):
        assert not await full.set("changed", 5)
        assert not await full.add("new", 5)
        for refused in (partial(full.incr, "count"), partial(full.cas, "count", 4, 5), full.lock("door").acquire):
            with pytest.raises(CacheRefusedError) as caught:
                await refused()
            assert caught.value.remedy
            assert "127.0.0.1" in str(caught.value)
        assert await full.get_many(["kept", "count", "changed", "new"]) == {"kept": 1, "count": 4}
        assert await full.get_or_set("computed", lambda: 6) == 6
        assert not full.stats().degraded
        assert (await full.health()).status == "degraded"
        await full.ping()
    assert not await reader.delete("deleted")
    assert await reader.get("deleted", MISS) is MISS
    assert not await reader.clear()
    assert await reader.get("kept", MISS) is MISS
    assert await other.get("kept") == 1
    await cache.unwrap(Redis).config_set("maxmemory", 0)
    assert await cache.set("changed", 7)
    await eventually(lambda: not cache.stats().tombstones)
    assert await other.get_many(["kept", "count"]) == {"kept": 1, "count": 4}
    assert (await cache.health()).status == "up"


async def test_entries_end_by_the_servers_clock(opened: Open, start_server: StartServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server = start_server(RedisServer)
    cache = await opened(server.port)
    await cache.ping()
    for arguments in ({}, {"stale": 600}, {"tags": ["round"]}):
        await cache.get_or_set(f"key {arguments}", lambda: 1, 300, **arguments)
    real = time.time
    for off in (3600, -3600):
        monkeypatch.setattr(time, "time", lambda off=off: real() + off)
        late = await opened(server.port)
        await late.ping()
        for reader in (cache, late):
            for arguments in ({}, {"stale": 600}, {"tags": ["round"]}):
                assert await reader.get(f"key {arguments}", MISS) == 1
                left = await reader.ttl(f"key {arguments}")
                assert left is not None
                assert 200 < left <= 1000
            assert reader.stats().stale == 0


async def test_a_value_larger_than_the_servers_memory_is_not_sent(opened: Open, start_server: StartServer) -> None:
    server = start_server(RedisServer, options={"maxmemory": "8mb", "maxmemory-policy": "allkeys-lru"})
    cache = await opened(server.port)
    await cache.ping()
    values = {f"key-{number}": number for number in range(100)}
    assert await cache.set_many(values)
    assert not await cache.set("huge", b"x" * (9 << 20))
    assert await cache.get_many(values) == values
    assert not cache.stats().degraded


async def test_a_sentinel_is_no_cache(opened: Open, start_server: StartServer) -> None:
    server = start_server(SentinelServer)
    cache = await opened(server.port)
    with pytest.raises(InfraError, match="Sentinel") as caught:
        await cache.ping(TIMEOUT)
    assert caught.value.code is ErrorCode.CONFIGURATION
    assert (await cache.health()).status == "down"


@pytest.mark.parametrize("reply", ["MISCONF Redis is configured to save", "NOREPLICAS Not enough good replicas", "READONLY You can't"])
async def test_what_refuses_to_write_is_told_from_an_outage(opened: Open, redis_server: RedisServer, reply: str) -> None:
    driver = cast("Any", (await opened(redis_server.port)).driver)
    assert driver.refuses(exceptions.ResponseError(reply))
    assert not driver.refuses(exceptions.BusyLoadingError("LOADING"))
    assert not driver.refuses(exceptions.ConnectionError("MISCONF"))


@pytest.mark.parametrize(
    ("settings", "cause", "code"),
    [
        ({"password": "wrong-s3cret"}, "password", ErrorCode.UNAUTHENTICATED),
        ({"username": "nobody", "password": "wrong-s3cret"}, "password", ErrorCode.UNAUTHENTICATED),
        ({}, "asks for a password", ErrorCode.UNAUTHENTICATED),
        ({"port": 1}, "127.0.0.1:1", ErrorCode.UNAVAILABLE),
        ({"host": "nowhere.invalid"}, "nowhere.invalid", ErrorCode.UNAVAILABLE),
        ({"password": "right-s3cret", "db": 99}, "no database of that number", ErrorCode.CONFIGURATION),
    ],
    ids=["password", "user", "no-password", "port", "host", "database"],
)
async def test_what_is_configured_wrongly_is_one_clear_line(
    tmp_path: Path, start_server: StartServer, settings: dict[str, Any], cause: str, code: ErrorCode
) -> None:
    server = start_server(RedisServer, options={"requirepass": "right-s3cret"})
    cache: AsyncCache = await REDIS.open_async("cache", Place(tmp_path), **{"port": server.port, **settings})
    with pytest.raises(InfraError) as caught:
        await cache.ping(TIMEOUT)
    await cache.close()
    line = str(caught.value)
    assert caught.value.code is code
    assert line.startswith("cache.main: ")
    assert cause in line
    assert "\n" not in line
    assert "s3cret" not in line
    assert caught.value.remedy or code is ErrorCode.CONFIGURATION


async def test_a_cluster_is_refused(opened: Open, start_server: StartServer) -> None:
    server = start_server(RedisServer, options={"cluster-enabled": "yes"})
    cache = await opened(server.port)
    with pytest.raises(InfraError, match="cluster") as caught:
        await cache.ping(TIMEOUT)
    assert caught.value.code is ErrorCode.CONFIGURATION


async def test_a_password_that_changes_needs_no_restart(opened: Open, start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(RedisServer, options={"requirepass": "first"})
    secret = tmp_path / "password"
    secret.write_text("first\n")
    cache = await opened(server.port, password=f"file:{secret}")
    assert await cache.set("key", 1)
    client = cache.unwrap(Redis)
    await client.config_set("requirepass", "the second")
    secret.write_text("the second\n")
    await client.client_kill_filter(_type="normal", skipme=True)
    await eventually_reads(cache, "key", 1)
