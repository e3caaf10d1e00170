"""Every failure of the real world is one line: resource, server, cause and the setting to correct; no secret, no traceback.

A row is one failure of one provider, against a real server. A provider of servers without rows fails a test.
"""

from __future__ import annotations

import json
import re
import traceback
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from infra import AsyncInfra, Infra
from infra.cache import CacheOperationError
from infra.errors import ErrorCode, InfraError
from infra.kernel.discovery import discover
from infra_testing.pytest_plugin import StartServer
from infra_testing.services import RcloneServer, RedisServer

CANARY = "cAnArY-7c1f-s3cr3t"
RIGHT = "right-s3cret-word"  # of the accounts that have one: see `refusing`
GONE = "nowhere.invalid"
#: What no operator should have to read: class names, error numbers of the system, SDKs' own phrases.
FOREIGN = re.compile(r"\w+(Error|Exception)\b|Errno|\bError -?\d|Traceback|max retries|when calling the|FATAL|\bERR\b|<[a-z]")


@dataclass(frozen=True)
class Row:
    """One failure.

    Args:
        name: ``postgres: wrong password``; the provider's name stands before the colon.
        environ: What stands in the environment.
        code: What the error says to programs.
        says: What the line has to say.
        at_use: It shows at the first use, not when the resource opens.
    """

    name: str
    capability: str
    environ: Callable[[Any], Mapping[str, str]]
    code: ErrorCode
    says: tuple[str, ...]
    at_use: bool = False

    @property
    def provider(self) -> str:
        return self.name.partition(":")[0]


ROWS: list[Row] = []


def row(name: str, capability: str, environ: Callable[[Any], Mapping[str, str]], code: ErrorCode, *says: str, at_use: bool = False) -> None:
    ROWS.append(Row(name, capability, environ, code, says, at_use))


def database(scheme: str, user: str, place: Callable[[Any], str], name: str = "private") -> Callable[[Any], Mapping[str, str]]:
    return lambda servers: {"DATABASE_URL": f"{scheme}://{user}@{place(servers)}/{name}"}


def of(kind: str) -> Callable[[Any], str]:
    return lambda servers: f"127.0.0.1:{getattr(servers, kind).port}"


def closed(servers: Any) -> str:
    return f"127.0.0.1:{servers.closed}"


def gone(_: Any) -> str:
    return GONE


def malformed(_: Any) -> str:
    return "127.0.0.1:port"


ACCOUNT = "correct `username` and `password` (DATABASE_URL)"
PLACE = "see that the server runs, or correct `host`"
MALFORMED = "url: it cannot be read as a URL ({}); write it as scheme://user:password@host:port/name"

for scheme in ("postgresql", "postgresql+asyncpg"):
    name = "postgres" if scheme == "postgresql" else "postgres: asyncpg"
    denied = ErrorCode.UNAUTHENTICATED
    row(
        f"{name}: password",
        "database",
        database(scheme, f"locked:{CANARY}", of("postgres")),
        denied,
        'wrong password for user "locked"',
        ACCOUNT,
    )
    row(
        f"{name}: no password",
        "database",
        database(scheme, "locked", of("postgres")),
        denied,
        "`password` (not set: INFRA_DATABASE__MAIN__",
    )
    row(f"{name}: user", "database", database(scheme, f"ghost:{CANARY}", of("postgres")), denied, 'no user "ghost"', "(DATABASE_URL)")
    row(
        f"{name}: barred",
        "database",
        database(scheme, f"barred:{CANARY}", of("postgres")),
        denied,
        'pg_hba.conf does not let user "barred" in',
    )
    row(f"{name}: refused", "database", database(scheme, f"u:{CANARY}", closed), ErrorCode.UNAVAILABLE, "connection refused", PLACE)
    row(f"{name}: host", "database", database(scheme, f"u:{CANARY}", gone), ErrorCode.UNAVAILABLE, f"at {GONE}: unknown host")
    missing = database(scheme, "postgres", of("postgres"), "absent")
    row(f"{name}: database", "database", missing, ErrorCode.CONFIGURATION, 'no database "absent"', "correct `database` (DATABASE_URL)")
    barred = database(scheme, "guest", of("postgres"))
    row(f"{name}: permission", "database", barred, ErrorCode.PERMISSION_DENIED, 'may not connect to database "private"', "(DATABASE_URL)")
    encrypted = database(scheme, "postgres", of("postgres"), "postgres?sslmode=require")
    row(f"{name}: TLS", "database", encrypted, ErrorCode.UNAVAILABLE, "does not speak TLS", "correct `tls` (DATABASE_URL)")
    broken = database(scheme, f"u:{CANARY}", malformed)
    row(f"{name}: URL", "database", broken, ErrorCode.CONFIGURATION, MALFORMED.format("DATABASE_URL"))

row(
    "mysql: password", "database", database("mysql", f"locked:{CANARY}", of("mariadb")), ErrorCode.UNAUTHENTICATED, "user 'locked'", ACCOUNT
)
row("mysql: refused", "database", database("mysql", f"u:{CANARY}", closed), ErrorCode.UNAVAILABLE, "connection refused", PLACE)
row("mysql: host", "database", database("mysql", f"u:{CANARY}", gone), ErrorCode.UNAVAILABLE, f"at {GONE}: unknown host")
absent = database("mysql", "root", of("mariadb"), "absent")
row("mysql: database", "database", absent, ErrorCode.CONFIGURATION, "no database 'absent'", "correct `database` (DATABASE_URL)")
row("mysql: permission", "database", database("mysql", f"locked:{RIGHT}", of("mariadb")), ErrorCode.PERMISSION_DENIED, "(DATABASE_URL)")
row("mysql: URL", "database", database("mysql", f"u:{CANARY}", malformed), ErrorCode.CONFIGURATION, MALFORMED.format("DATABASE_URL"))


def redis(user: str, place: Callable[[Any], str], rest: str = "/0", scheme: str = "redis") -> Callable[[Any], Mapping[str, str]]:
    return lambda servers: {"REDIS_URL": f"{scheme}://{user}{place(servers)}{rest}"}


row("redis: password", "cache", redis(f":{CANARY}@", of("redis")), ErrorCode.UNAUTHENTICATED, "correct `password` (REDIS_URL)")
row(
    "redis: no password",
    "cache",
    redis("", of("redis")),
    ErrorCode.UNAUTHENTICATED,
    "asks for a password",
    "not set: REDIS_PASSWORD sets it",
)
row(
    "redis: user",
    "cache",
    redis(f"ghost:{CANARY}@", of("redis")),
    ErrorCode.UNAUTHENTICATED,
    "correct `username` and `password` (REDIS_URL)",
)
row("redis: permission", "cache", redis(f"reader:{RIGHT}@", of("redis")), ErrorCode.PERMISSION_DENIED, "'mget'", "(REDIS_URL)", at_use=True)
row("redis: refused", "cache", redis(f":{CANARY}@", closed), ErrorCode.UNAVAILABLE, "connection refused", f"{PLACE} and `port` (REDIS_URL)")
row("redis: host", "cache", redis(f":{CANARY}@", gone), ErrorCode.UNAVAILABLE, f"at {GONE}:6379: unknown host", f"{PLACE} (REDIS_URL)")
row(
    "redis: database",
    "cache",
    redis(f":{RIGHT}@", of("redis"), "/9"),
    ErrorCode.CONFIGURATION,
    "no database of that number",
    "`db` (REDIS_URL)",
)
plain = redis(f":{CANARY}@", of("redis"), "/0?open_timeout=1", "rediss")
row("redis: TLS", "cache", plain, ErrorCode.TIMEOUT, "no answer", "`tls` (REDIS_URL)")
row("redis: URL", "cache", redis(f":{CANARY}@", malformed), ErrorCode.CONFIGURATION, MALFORMED.format("REDIS_URL"))


def s3(bucket: str, key: str, secret: str, endpoint: Callable[[Any], str]) -> Callable[[Any], Mapping[str, str]]:
    def environ(servers: Any) -> Mapping[str, str]:
        (servers.rclone.data / "there").mkdir(exist_ok=True)
        keys = {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
        return {**keys, "IMAGE_S3_BUCKET": bucket, "INFRA_STORAGE__MAIN__ENDPOINT": endpoint(servers)}

    return environ


KEY, SECRET = RcloneServer.access_key, RcloneServer.secret_key
ENDPOINT = "see that the server runs, or correct `endpoint` (INFRA_STORAGE__MAIN__ENDPOINT)"
row(
    "s3: secret",
    "storage",
    s3("there", KEY, CANARY, lambda of: of.rclone.url),
    ErrorCode.UNAUTHENTICATED,
    "`secret_access_key` (AWS_SECRET_ACCESS_KEY)",
)
row(
    "s3: key",
    "storage",
    s3("there", "ghost-key-01", CANARY, lambda of: of.rclone.url),
    ErrorCode.UNAUTHENTICATED,
    "`access_key_id` (AWS_ACCESS_KEY_ID)",
)
row(
    "s3: refused",
    "storage",
    s3("there", KEY, CANARY, lambda of: f"http://{closed(of)}"),
    ErrorCode.UNAVAILABLE,
    "connection refused",
    ENDPOINT,
)
row(
    "s3: host", "storage", s3("there", KEY, CANARY, lambda _: f"http://{GONE}"), ErrorCode.UNAVAILABLE, f"at {GONE}: unknown host", ENDPOINT
)
row(
    "s3: bucket",
    "storage",
    s3("absent", KEY, SECRET, lambda of: of.rclone.url),
    ErrorCode.CONFIGURATION,
    "no bucket 'absent'",
    "correct `bucket` (IMAGE_S3_BUCKET)",
)
row(
    "s3: TLS",
    "storage",
    s3("there", KEY, CANARY, lambda of: of.rclone.url.replace("http:", "https:")),
    ErrorCode.UNAVAILABLE,
    "is TLS spoken on that port?",
    ENDPOINT,
)
row(
    "s3: URL",
    "storage",
    s3("there", KEY, CANARY, lambda _: "127.0.0.1:9"),
    ErrorCode.CONFIGURATION,
    "endpoint: should be a URL",
    "(INFRA_STORAGE__MAIN__ENDPOINT)",
)


def llm(base: Callable[[Any], str], provider: str = "openai", setting: str = "BASE_URL", **more: str) -> Callable[[Any], Mapping[str, str]]:
    def environ(servers: Any) -> Mapping[str, str]:
        own = {"MODEL": "m", "API_KEY": CANARY, "RETRIES": "0", setting: base(servers), **more}
        return {"LLM_PROVIDER": provider, **{f"INFRA_LLM__MAIN__{name}": value for name, value in own.items()}}

    return environ


def answering(**script: Any) -> Callable[[Any], str]:
    return lambda servers: (
        servers.llm.session(
            [{**script, "echo_key": True}] if "status" in script else [], key=script.get("key"), models=script.get("models")
        )[1]
        + "/v1"
    )


BASE_URL = "or correct `base_url` (INFRA_LLM__MAIN__BASE_URL)"
row(
    "openai: key", "llm", llm(answering(key=RIGHT)), ErrorCode.UNAUTHENTICATED, "status 401", "correct `api_key` (INFRA_LLM__MAIN__API_KEY)"
)
row("openai: no key", "llm", lambda _: {"LLM_PROVIDER": "openai"}, ErrorCode.CONFIGURATION, "it has no API key", "OPENAI_API_KEY")
row(
    "openai: model",
    "llm",
    llm(answering(models=["n"])),
    ErrorCode.NOT_FOUND,
    "status 404",
    "correct `model` (INFRA_LLM__MAIN__MODEL)",
    at_use=True,
)
row(
    "openai: permission",
    "llm",
    llm(answering(status=403)),
    ErrorCode.PERMISSION_DENIED,
    "status 403",
    "`api_key` (INFRA_LLM__",
    at_use=True,
)
row("openai: limit", "llm", llm(answering(status=429)), ErrorCode.RATE_LIMITED, "status 429", "slow down", at_use=True)
row("openai: broken", "llm", llm(answering(status=500)), ErrorCode.UNAVAILABLE, "status 500", "the provider's status page", at_use=True)
row("openai: refused", "llm", llm(lambda of: f"http://{closed(of)}/v1"), ErrorCode.UNAVAILABLE, "connection refused", BASE_URL)
row("openai: host", "llm", llm(lambda _: f"http://{GONE}/v1"), ErrorCode.UNAVAILABLE, f"{GONE}: unknown host", BASE_URL)
row(
    "openai: TLS",
    "llm",
    llm(lambda of: f"https://127.0.0.1:{of.llm.port}/v1"),
    ErrorCode.UNAVAILABLE,
    "is TLS spoken on that port?",
    BASE_URL,
)
row(
    "openai: URL",
    "llm",
    llm(lambda _: "127.0.0.1:9"),
    ErrorCode.CONFIGURATION,
    "is not an http or https address",
    "(INFRA_LLM__MAIN__BASE_URL)",
)
for name in ("vllm", "ollama", "lmstudio"):
    row(f"{name}: refused", "llm", llm(lambda of: f"http://{closed(of)}/v1", name), ErrorCode.UNAVAILABLE, "connection refused", BASE_URL)
azure = llm(lambda of: f"http://{closed(of)}", "azure", "ENDPOINT")
row("azure: refused", "llm", azure, ErrorCode.UNAVAILABLE, "connection refused", "`endpoint` (INFRA_LLM__MAIN__ENDPOINT)")


def queue(url: Callable[[Any], str], **more: str) -> Callable[[Any], Mapping[str, str]]:
    own = {f"INFRA_QUEUE__MAIN__{name}": value for name, value in more.items()}
    return lambda servers: {"INFRA_QUEUE__MAIN__URL": url(servers), **own}


QUEUE_URL = "(INFRA_QUEUE__MAIN__URL)"


def amqp(user: str, place: Callable[[Any], str], scheme: str = "amqp") -> Callable[[Any], str]:
    return lambda servers: f"{scheme}://{user}@{place(servers)}"


row("rabbitmq: password", "queue", queue(amqp(f"guest:{CANARY}", of("rabbitmq"))), ErrorCode.UNAUTHENTICATED, "password", QUEUE_URL)
row("rabbitmq: refused", "queue", queue(amqp(f"u:{CANARY}", closed)), ErrorCode.UNAVAILABLE, "connection refused", QUEUE_URL)
row("rabbitmq: host", "queue", queue(amqp(f"u:{CANARY}", gone)), ErrorCode.UNAVAILABLE, GONE, "unknown host", QUEUE_URL)
here = amqp("guest:guest", of("rabbitmq"))
row(
    "rabbitmq: queue",
    "queue",
    queue(here, QUEUE="absent", TOPOLOGY="check"),
    ErrorCode.NOT_FOUND,
    "'absent'",
    "`queue` (INFRA_QUEUE__MAIN__QUEUE)",
)
row("rabbitmq: vhost", "queue", queue(lambda of: here(of) + "/absent"), ErrorCode.CONFIGURATION, "absent", QUEUE_URL)
row("rabbitmq: URL", "queue", queue(amqp(f"u:{CANARY}", malformed)), ErrorCode.CONFIGURATION, MALFORMED.format("INFRA_QUEUE__MAIN__URL"))


def stream(user: str, place: Callable[[Any], str], rest: str = "/0") -> Callable[[Any], str]:
    return lambda servers: f"redis://{user}{place(servers)}{rest}"


row(
    "redis: password of the queue", "queue", queue(stream(f":{CANARY}@", of("redis"))), ErrorCode.UNAUTHENTICATED, f"`password` {QUEUE_URL}"
)
row(
    "redis: no password of the queue",
    "queue",
    queue(stream("", of("redis"))),
    ErrorCode.UNAUTHENTICATED,
    "asks for a password",
    "`password` (not set",
)
row("redis: refused queue", "queue", queue(stream(f":{CANARY}@", closed)), ErrorCode.UNAVAILABLE, "connection refused", QUEUE_URL)
row("redis: host of the queue", "queue", queue(stream(f":{CANARY}@", gone)), ErrorCode.UNAVAILABLE, f"{GONE}:6379: unknown host", QUEUE_URL)
check = queue(stream(f":{RIGHT}@", of("redis")), QUEUE="absent", TOPOLOGY="check")
row("redis: queue", "queue", check, ErrorCode.NOT_FOUND, "'absent'", "`queue` (INFRA_QUEUE__MAIN__QUEUE)")


def sqs(endpoint: Callable[[Any], str]) -> Callable[[Any], Mapping[str, str]]:
    own = {"PROVIDER": "sqs", "QUEUE": "absent", "TOPOLOGY": "check", "REGION": "us-east-1", "ATTEMPTS": "1"}
    keys = {"AWS_ACCESS_KEY_ID": "testaccesskey01", "AWS_SECRET_ACCESS_KEY": CANARY}
    return lambda servers: {
        **keys,
        **{f"INFRA_QUEUE__MAIN__{name}": value for name, value in own.items()},
        "INFRA_QUEUE__MAIN__ENDPOINT": endpoint(servers),
    }


QUEUE_ENDPOINT = "or correct `endpoint` (INFRA_QUEUE__MAIN__ENDPOINT)"
row("sqs: refused", "queue", sqs(lambda of: f"http://{closed(of)}"), ErrorCode.UNAVAILABLE, "connection refused", QUEUE_ENDPOINT)
row("sqs: host", "queue", sqs(lambda _: f"http://{GONE}"), ErrorCode.UNAVAILABLE, f"at {GONE}: unknown host", QUEUE_ENDPOINT)
row("sqs: queue", "queue", sqs(lambda of: of.moto.url), ErrorCode.NOT_FOUND, "'absent'", "`queue` (INFRA_QUEUE__MAIN__QUEUE)")
row(
    "sqs: URL", "queue", sqs(lambda _: "127.0.0.1:9"), ErrorCode.CONFIGURATION, "endpoint: should be a URL", "(INFRA_QUEUE__MAIN__ENDPOINT)"
)

USES: Mapping[str, Callable[[Any], Any]] = {
    "cache": lambda found: found.get("k"),
    "llm": lambda found: found.generate("x"),
}
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "database": ("db", "stats"),
    "cache": ("cache", "get", "k"),
    "storage": ("storage", "ls"),
    "queue": ("queue", "stats"),
    "llm": ("llm", "ask", "x"),
}


def check_line(text: str, row: Row) -> None:
    assert "\n" not in text
    assert text.startswith(f"{row.capability}.main: ")
    for expected in row.says:
        assert expected in text
    assert not FOREIGN.search(text), text
    assert CANARY not in text


def check_error(error: InfraError, row: Row) -> None:
    check_line(str(error), row)
    assert error.code is row.code
    assert error.resource == f"{row.capability}.main"
    for shown in (repr(error), json.dumps(error.to_dict(public=False), default=str), "".join(traceback.format_exception(error))):
        assert CANARY not in shown
    public = json.dumps(error.to_dict())
    assert "127.0.0.1" not in public
    assert GONE not in public


INSTALLED = {(found.capability, found.name) for found in discover().providers if found.available and not found.descriptor.embedded}


def test_every_installed_provider_of_servers_has_rows() -> None:
    assert {(row.capability, row.provider) for row in ROWS} >= INSTALLED


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_blocking_host_is_told_in_one_line(row: Row, refusing: Any, only_environment: Any, tmp_path: Path) -> None:
    only_environment(row.environ(refusing))
    services = Infra(root=tmp_path)
    try:
        if row.at_use:
            services.start()
        with pytest.raises(InfraError) as caught:
            USES[row.capability](services.open(f"{row.capability}.main")) if row.at_use else services.start()
    finally:
        services.close()
    check_error(caught.value, row)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_an_asyncio_host_is_told_in_one_line(row: Row, refusing: Any, only_environment: Any, tmp_path: Path) -> None:
    only_environment(row.environ(refusing))
    services = AsyncInfra(root=tmp_path)
    try:
        if row.at_use:
            await services.start()
        with pytest.raises(InfraError) as caught:
            if row.at_use:
                await USES[row.capability](await services.open(f"{row.capability}.main"))
            else:
                await services.start()
    finally:
        await services.close()
    check_error(caught.value, row)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_an_operator_is_told_in_one_line(row: Row, refusing: Any, only_environment: Any, program: Any) -> None:
    only_environment(row.environ(refusing))
    said = program(*COMMANDS[row.capability])
    assert said.code == (3 if row.code is ErrorCode.CONFIGURATION else 1)
    assert said.out == ""
    check_line(said.err.removeprefix("infra: ").removesuffix("\n"), row)
    health = program("health", f"{row.capability}.main", "--timeout", "30")
    assert CANARY not in said.all + health.all
    assert health.code == (0 if row.at_use else 1)
    if not row.at_use:
        (line,) = (line for line in health.out.splitlines() if line.startswith(f"{row.capability}.main"))
        assert all(expected in line for expected in row.says)
        assert not FOREIGN.search(line)
    assert CANARY not in program("explain", f"{row.capability}.main").all


def test_a_password_that_is_changed_at_run_time_is_an_error_and_no_outage(start_server: StartServer, tmp_path: Path) -> None:
    """It does not pass by itself: as a miss it would go unseen. Once it is right again the cache serves, without a probe in between."""
    server = start_server(RedisServer, options={"requirepass": RIGHT})
    url = f"redis://:{RIGHT}@127.0.0.1:{server.port}/0"
    settings = {"cache": {"main": {"url": url, "timeout": 20, "probe_interval": 3600}}}
    admin: Any = Redis(port=server.port, password=RIGHT)
    with closing(admin), Infra(settings, root=tmp_path, environ={}) as services:
        cache = services.cache()
        assert cache.set("k", 1)
        admin.config_set("requirepass", "another-s3cret")
        admin.client_kill_filter(_type="normal", skipme=True)
        for use in (lambda: cache.get("k"), lambda: cache.set("k", 2), lambda: cache.delete("k")):
            with pytest.raises(CacheOperationError) as caught:
                use()
            assert caught.value.code is ErrorCode.UNAUTHENTICATED
            assert "correct `password` (arguments: cache.main.url)" in str(caught.value)
            assert "s3cret" not in str(caught.value)
        admin.config_set("requirepass", RIGHT)
        assert cache.get("k") == 1
