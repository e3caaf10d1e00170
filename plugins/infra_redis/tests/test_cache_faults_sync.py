# Generated from test_cache_faults_async.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""What happens to the cache when its server does not do what it should."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from redis import Redis, exceptions

from infra.cache import MISS, Cache, CacheRefusedError, CacheUnavailableError, LockLostError
from infra.errors import ErrorCode, InfraError
from infra.runtime.threads import gather, sleep
from infra_testing.harness import Harness, Place
from infra_testing.proxy import Direction
from infra_testing.pytest_plugin import StartProxy, StartServer
from infra_testing.services import RedisServer

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


Open = Callable[..., Cache]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    caches: list[Cache] = []

    def open_one(port: int, **settings: Any) -> Cache:
        cache: Cache = REDIS.open("cache", Place(tmp_path), port=port, **settings)
        caches.append(cache)
        return cache

    yield open_one
    for cache in caches:
        cache.close()


def eventually(condition: Callable[[], object]) -> None:
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until, "the condition did not come true in time"
        sleep(0.01)


def recovered(cache: Cache) -> None:
    eventually(lambda: not cache.stats().degraded)


def test_a_killed_server_costs_nothing_but_misses_and_is_used_again_when_it_is_back(opened: Open, start_server: StartServer) -> None:
    server = start_server(RedisServer)
    cache, other = opened(server.port), opened(server.port)
    assert cache.set_many({"kept": 1, "deleted": 2, "changed": 3}, ttl=None)
    assert cache.incr("count", 5, ttl=None) == 5
    server.kill()
    assert cache.get("kept", MISS) is MISS
    assert cache.get_many(["kept", "deleted"]) == {}
    assert not cache.delete("deleted")
    assert not cache.set("changed", 4)
    assert cache.stats().degraded
    for operation in (partial(cache.incr, "count"), partial(cache.cas, "changed", 3, 4), cache.lock("door").acquire):
        with pytest.raises(CacheUnavailableError) as caught:
            operation()
        assert caught.value.resource == "cache.main"
        assert caught.value.remedy
    assert (cache.limiter("calls", 1, 1).acquire()).allowed
    server.start()
    recovered(cache)
    assert cache.get("kept") == 1
    assert cache.get_many(["deleted", "changed"]) == {}
    assert other.get("deleted", MISS) is MISS
    assert cache.incr("other", ttl=None) == 1
    assert cache.set("changed", 5)
    assert other.get("changed") == 5


def test_a_black_hole_is_waited_for_once(opened: Open, start_server: StartServer, fault_proxy: StartProxy) -> None:
    server = start_server(RedisServer)
    proxy = fault_proxy(server)
    (opened(server.port)).set_many({"kept": 1, "deleted": 2}, ttl=None)
    cache = opened(proxy.port, timeout=0.5)
    eventually_reads(cache, "kept", 1)
    proxy.black_hole()
    assert cache.get("kept", MISS) is MISS
    assert cache.stats().degraded
    began = time.monotonic()
    for _ in range(500):
        assert cache.get("kept", MISS) is MISS
        assert not cache.delete("deleted")
    assert time.monotonic() - began < 500 * 0.5 / 5
    proxy.heal()
    eventually_reads(cache, "kept", 1)
    recovered(cache)
    assert (opened(server.port)).get("deleted", MISS) is MISS


def eventually_reads(cache: Cache, key: str, value: object) -> None:
    until = time.monotonic() + PATIENCE
    while cache.get(key, MISS) != value:
        assert time.monotonic() < until, f"{key} did not come back in time"
        sleep(0.01)


def test_a_paused_server_is_used_again_when_it_goes_on(opened: Open, start_server: StartServer) -> None:
    server = start_server(RedisServer)
    cache = opened(server.port, timeout=0.5)
    (opened(server.port)).set("key", 1, ttl=None)
    eventually_reads(cache, "key", 1)
    server.pause()
    assert cache.get("key", MISS) is MISS
    assert cache.stats().degraded
    server.resume()
    eventually_reads(cache, "key", 1)


def test_a_restarted_server_is_not_even_noticed(opened: Open, start_server: StartServer) -> None:
    server = start_server(RedisServer)
    cache = opened(server.port)
    assert cache.set("key", 1, ttl=None)
    gather(*[partial(cache.incr, "count", ttl=None)] * 8)  # so that several connections are open
    server.restart()
    sleep(0.01)  # a turn of the loop reads the end of the streams
    assert cache.get("key") == 1
    assert cache.incr("count", ttl=None) == 9
    assert cache.set("key", 2)
    assert cache.stats().failures == 0


@pytest.mark.parametrize("end", ["disconnect", "reset"])
def test_a_connection_that_was_closed_or_reset_is_not_used(
    opened: Open, start_server: StartServer, fault_proxy: StartProxy, end: str
) -> None:
    server = start_server(RedisServer)
    proxy = fault_proxy(server)
    cache = opened(proxy.port)
    assert cache.set("key", 1, ttl=None)
    getattr(proxy, end)()
    sleep(0.01)  # a turn of the loop reads the end of the streams
    assert cache.get("key") == 1
    assert cache.stats().failures == 0


def test_connections_that_are_reset_under_load_mix_nothing_up(opened: Open, start_server: StartServer, fault_proxy: StartProxy) -> None:
    server = start_server(RedisServer)
    proxy = fault_proxy(server)
    cache = opened(proxy.port, batch=1)
    keys = [f"key-{number}" for number in range(40)]
    assert cache.set_many({key: f"value of {key}" for key in keys}, ttl=None)

    def reader(key: str) -> None:
        for _ in range(20):
            assert cache.get(key, f"value of {key}") == f"value of {key}"

    def breaker() -> None:
        for _ in range(10):
            proxy.reset()
            sleep(0.005)

    outcomes = gather(*[partial(reader, key) for key in keys], breaker)
    assert outcomes == [None] * 41
    sleep(0.01)  # a turn of the loop reads the end of the streams
    recovered(cache)
    assert cache.get_many(keys) == {key: f"value of {key}" for key in keys}


def test_a_flushed_server_has_forgotten_everything_and_revives_nothing(opened: Open, start_server: StartServer) -> None:
    server = start_server(RedisServer)
    cache, other = opened(server.port), opened(server.port)
    cache.set("key", "old", ttl=None, tags=["tag"])
    assert other.get("key") == "old"
    lock = cache.lock("door")
    assert lock.acquire()
    before = lock.fence
    cache.unwrap(Redis).flushall()
    assert cache.get("key", MISS) is MISS
    assert other.add("new", 1)
    assert cache.get("key", MISS) is MISS
    assert not lock.extend()
    later = other.lock("door")
    assert later.acquire()
    assert before is not None
    assert later.fence is not None
    assert later.fence > before


def test_a_lock_that_a_flush_took_away_is_reported_lost(opened: Open, start_server: StartServer) -> None:
    server = start_server(RedisServer)
    cache = opened(server.port)
    lock = cache.lock("door", ttl=TIMEOUT)
    lock.__enter__()
    cache.unwrap(Redis).flushall()
    with pytest.raises(LockLostError, match="door"):
        lock.__exit__(None, None, None)


def test_flushed_scripts_are_sent_again(opened: Open, start_server: StartServer) -> None:
    server = start_server(RedisServer)
    cache = opened(server.port)
    cache.set("key", "a")
    for turn in range(3):
        cache.unwrap(Redis).script_flush()
        assert cache.incr("count", ttl=600) == turn + 1
        assert cache.cas("key", "a", "a")
        with cache.lock("door"):
            cache.unwrap(Redis).script_flush()
        assert (cache.limiter("calls", 0.001, 5).acquire()).remaining == 4 - turn
    assert cache.stats().failures == 0


def test_what_scripts_and_commands_refuse_is_classified_alike(opened: Open, redis_server: RedisServer) -> None:
    cache = opened(redis_server.port)
    driver, client = cast("Any", cache.driver), cache.unwrap(Redis)
    client.set("classified-text", "no number")
    client.rpush("classified-list", "one")
    for call in (
        partial(driver.incr, "classified-text", 1, None),
        partial(driver.incr, "classified-text", 1, 1000),
        partial(driver.incr, "classified-list", 1, 1000),
        partial(driver.cas, "classified-list", b"a", b"b", None),
    ):
        with pytest.raises(exceptions.ResponseError) as caught:
            call(TIMEOUT)
        assert driver.classify(caught.value) is ErrorCode.INVALID_ARGUMENT
    before_7 = exceptions.ResponseError("Error running script (call to f_1): @user_script:2: ERR value is not an integer or out of range")
    assert driver.classify(before_7) is ErrorCode.INVALID_ARGUMENT
    assert driver.classify(exceptions.ResponseError("unknown command")) is ErrorCode.INTERNAL
    assert driver.classify(ValueError()) is None
    client.delete("classified-text", "classified-list")


def test_more_callers_than_connections_take_turns(opened: Open, start_server: StartServer) -> None:
    server = start_server(RedisServer)
    cache = opened(server.port, max_connections=2)
    values = [partial(cache.set, f"key-{number}", number) for number in range(100)]
    assert gather(*values) == [True] * 100
    assert len(cache.get_many(f"key-{number}" for number in range(100))) == 100
    assert len(cache.unwrap(Redis).client_list()) <= 3


def test_a_caller_who_finds_all_connections_in_use_is_told_so(opened: Open, start_server: StartServer, fault_proxy: StartProxy) -> None:
    proxy = fault_proxy(start_server(RedisServer))
    driver = (opened(proxy.port, max_connections=1)).driver
    driver.get_many(["key"], TIMEOUT)
    proxy.black_hole(Direction.TO_CLIENT)
    sent = proxy.bytes_passed(Direction.TO_SERVER)

    def first() -> list[bytes | None]:
        return driver.get_many(["key"], PATIENCE)

    def second() -> exceptions.RedisError:
        eventually(lambda: proxy.bytes_passed(Direction.TO_SERVER) > sent)
        with pytest.raises(exceptions.RedisError, match="max_connections") as caught:
            driver.get_many(["key"], 0.1)
        proxy.heal()
        return caught.value

    found, error = gather(first, second)
    assert found == [None]
    assert driver.classify(error) is ErrorCode.TIMEOUT


def test_a_full_server_reads_on_and_keeps_nothing_old(opened: Open, start_server: StartServer) -> None:
    server = start_server(RedisServer)
    cache = opened(server.port)
    cache.set_many({"kept": 1, "changed": 2}, ttl=None)
    cache.unwrap(Redis).config_set("maxmemory", 1)
    assert not cache.set("changed", 3)
    cache.unwrap(Redis).config_set("maxmemory", 0)
    eventually_reads(cache, "kept", 1)
    assert cache.get("changed", MISS) is MISS


@pytest.mark.parametrize(("keys", "commands", "status"), [("*", "-set", "degraded"), ("*", "+set", "up"), ("app:*", "+set", "up")])
def test_an_account_that_may_not_write_is_no_outage(opened: Open, start_server: StartServer, keys: str, commands: str, status: str) -> None:
    server = start_server(RedisServer)
    admin = (opened(server.port)).unwrap(Redis)
    admin.acl_setuser("reader", enabled=True, passwords=["+s3cret"], commands=["+@all", commands], keys=[keys])
    found = (opened(server.port, username="reader", password="s3cret")).health(TIMEOUT)
    assert found.status == status
    assert status == "up" or (found.code, "'set'" in (found.message or ""), bool(found.remedy)) == ("PERMISSION_DENIED", True, True)


def test_a_refused_write_is_no_outage_for_reads(opened: Open, start_server: StartServer) -> None:
    server = start_server(RedisServer)
    cache, other = opened(server.port), opened(server.port)
    cache.set_many({"kept": 1, "changed": 2, "deleted": 3, "count": 4}, ttl=None)
    replica = start_server(RedisServer, options={"replicaof": f"127.0.0.1 {server.port}"})
    reader = opened(replica.port)
    eventually_reads(reader, "kept", 1)
    cache.unwrap(Redis).config_set("maxmemory", 1)
    for full in (cache, reader):
        assert not full.set("changed", 5)
        assert not full.add("new", 5)
        for refused in (partial(full.incr, "count"), partial(full.cas, "count", 4, 5), full.lock("door").acquire):
            with pytest.raises(CacheRefusedError) as caught:
                refused()
            assert caught.value.remedy
            assert "127.0.0.1" in str(caught.value)
        assert full.get_many(["kept", "count", "changed", "new"]) == {"kept": 1, "count": 4}
        assert full.get_or_set("computed", lambda: 6) == 6
        assert not full.stats().degraded
        assert (full.health()).status == "degraded"
        full.ping()
    assert not reader.delete("deleted")
    assert reader.get("deleted", MISS) is MISS
    assert not reader.clear()
    assert reader.get("kept", MISS) is MISS
    assert other.get("kept") == 1
    cache.unwrap(Redis).config_set("maxmemory", 0)
    assert cache.set("changed", 7)
    eventually(lambda: not cache.stats().tombstones)
    assert other.get_many(["kept", "count"]) == {"kept": 1, "count": 4}
    assert (cache.health()).status == "up"


def test_entries_end_by_the_servers_clock(opened: Open, start_server: StartServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server = start_server(RedisServer)
    cache = opened(server.port)
    cache.ping()
    for arguments in ({}, {"stale": 600}, {"tags": ["round"]}):
        cache.get_or_set(f"key {arguments}", lambda: 1, 300, **arguments)
    real = time.time
    for off in (3600, -3600):
        monkeypatch.setattr(time, "time", lambda off=off: real() + off)
        late = opened(server.port)
        late.ping()
        for reader in (cache, late):
            for arguments in ({}, {"stale": 600}, {"tags": ["round"]}):
                assert reader.get(f"key {arguments}", MISS) == 1
                left = reader.ttl(f"key {arguments}")
                assert left is not None
                assert 200 < left <= 1000
            assert reader.stats().stale == 0


def test_a_value_larger_than_the_servers_memory_is_not_sent(opened: Open, start_server: StartServer) -> None:
    server = start_server(RedisServer, options={"maxmemory": "8mb", "maxmemory-policy": "allkeys-lru"})
    cache = opened(server.port)
    cache.ping()
    values = {f"key-{number}": number for number in range(100)}
    assert cache.set_many(values)
    assert not cache.set("huge", b"x" * (9 << 20))
    assert cache.get_many(values) == values
    assert not cache.stats().degraded


def test_a_sentinel_is_no_cache(opened: Open, start_server: StartServer) -> None:
    server = start_server(SentinelServer)
    cache = opened(server.port)
    with pytest.raises(InfraError, match="Sentinel") as caught:
        cache.ping(TIMEOUT)
    assert caught.value.code is ErrorCode.CONFIGURATION
    assert (cache.health()).status == "down"


@pytest.mark.parametrize("reply", ["MISCONF Redis is configured to save", "NOREPLICAS Not enough good replicas", "READONLY You can't"])
def test_what_refuses_to_write_is_told_from_an_outage(opened: Open, redis_server: RedisServer, reply: str) -> None:
    driver = cast("Any", (opened(redis_server.port)).driver)
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
def test_what_is_configured_wrongly_is_one_clear_line(
    tmp_path: Path, start_server: StartServer, settings: dict[str, Any], cause: str, code: ErrorCode
) -> None:
    server = start_server(RedisServer, options={"requirepass": "right-s3cret"})
    cache: Cache = REDIS.open("cache", Place(tmp_path), **{"port": server.port, **settings})
    with pytest.raises(InfraError) as caught:
        cache.ping(TIMEOUT)
    cache.close()
    line = str(caught.value)
    assert caught.value.code is code
    assert line.startswith("cache.main: ")
    assert cause in line
    assert "\n" not in line
    assert "s3cret" not in line
    assert caught.value.remedy or code is ErrorCode.CONFIGURATION


def test_a_cluster_is_refused(opened: Open, start_server: StartServer) -> None:
    server = start_server(RedisServer, options={"cluster-enabled": "yes"})
    cache = opened(server.port)
    with pytest.raises(InfraError, match="cluster") as caught:
        cache.ping(TIMEOUT)
    assert caught.value.code is ErrorCode.CONFIGURATION


def test_a_password_that_changes_needs_no_restart(opened: Open, start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(RedisServer, options={"requirepass": "first"})
    secret = tmp_path / "password"
    secret.write_text("first\n")
    cache = opened(server.port, password=f"file:{secret}")
    assert cache.set("key", 1)
    client = cache.unwrap(Redis)
    client.config_set("requirepass", "the second")
    secret.write_text("the second\n")
    client.client_kill_filter(_type="normal", skipme=True)
    eventually_reads(cache, "key", 1)
