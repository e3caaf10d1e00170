"""The pytest plugin: the host's infrastructure on embedded providers, private servers, a fault proxy, a table of the servers used.

A server that is not installed skips its tests with a reason on a developer's machine, and fails them when `CI` is set.
Nothing of ours is imported, and no server started, before a test asks for it.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from infra_testing.run import VARIABLE, Use, current_run

if TYPE_CHECKING:
    from infra import AsyncInfra, Infra
    from infra_testing.llm_server import ScriptedLLMServer
    from infra_testing.proxy import FaultProxy
    from infra_testing.services import (
        AimockServer,
        MariaDBServer,
        MotoServer,
        PostgresServer,
        RabbitMQServer,
        RcloneServer,
        RedisServer,
        Server,
    )

S = TypeVar("S", bound="Server")
OWNER = pytest.StashKey[bool]()


class StartServer(Protocol):
    """Starts a server of the test's own; it ends with the test."""

    def __call__(self, kind: type[S], **options: Any) -> S:
        """A started server of this kind."""
        ...


class StartProxy(Protocol):
    """Puts a fault proxy in front of a server, a URL or a port of 127.0.0.1; it ends with the test."""

    def __call__(self, target: Server | str | int) -> FaultProxy:
        """A listening proxy."""
        ...


def in_ci() -> bool:
    """Whether a missing server is a failure."""
    return os.environ.get("CI", "").lower() not in ("", "0", "false")


def provide(kind: type[S], start: Callable[[type[S]], S]) -> S:
    """What `start` gives; where the server is not installed, the test is skipped, or fails in CI."""
    from infra_testing.services import MissingServiceError

    try:
        return start(kind)
    except MissingServiceError as error:
        _leave_out(kind.name, f"{error}; install {kind.remedy}", kind.remedy if kind.packaged else "")


def need_package(module: str, remedy: str) -> None:
    """Where a Python package is missing that this machine may lack the means to install, the test is skipped, or fails in CI."""
    if find_spec(module) is None:
        _leave_out(module, f"not installed; {remedy}")


def _leave_out(name: str, reason: str, package: str = "") -> NoReturn:
    current_run().record(Use(name, reason, missing=True, package=package))
    outcome = pytest.fail if in_ci() else pytest.skip
    outcome(f"{name}: {reason}")


def shared(kind: type[S]) -> S:
    """The run's one server of this kind, for harnesses and fixtures outside this file."""
    from infra_testing.services import shared_server

    return provide(kind, shared_server)


@pytest.fixture
def infra_settings() -> dict[str, Any]:
    """What `infra` and `async_infra` are opened with: embedded providers that open on first use. Override it for further resources."""
    return {
        "infra": {"environment": "test"},
        "database": {"main": {"provider": "sqlite", "startup": "lazy"}},
        "storage": {"main": {"provider": "memory", "startup": "lazy"}},
        "queue": {"main": {"provider": "memory", "startup": "lazy"}},
        "cache": {"main": {"provider": "memory", "startup": "lazy"}},
        "llm": {"main": {"provider": "offline", "startup": "lazy"}},
    }


@pytest.fixture
def infra(infra_settings: dict[str, Any], tmp_path: Path) -> Iterator[Infra]:
    """All five capabilities on embedded providers, empty for each test and apart from the machine's configuration."""
    from infra import Infra

    with Infra(infra_settings, root=tmp_path, environ={}) as services:
        yield services


@pytest_asyncio.fixture
async def async_infra(infra_settings: dict[str, Any], tmp_path: Path) -> AsyncIterator[AsyncInfra]:
    """The same for asyncio."""
    from infra import AsyncInfra

    async with AsyncInfra(infra_settings, root=tmp_path, environ={}) as services:
        yield services


@pytest.fixture(scope="session")
def postgres_server() -> PostgresServer:
    """The run's PostgreSQL; make a database of your own with `.database()`."""
    from infra_testing.services import PostgresServer

    return shared(PostgresServer)


@pytest.fixture(scope="session")
def mariadb_server() -> MariaDBServer:
    """The run's MariaDB; make a database of your own with `.database()`."""
    from infra_testing.services import MariaDBServer

    return shared(MariaDBServer)


@pytest.fixture(scope="session")
def redis_server() -> RedisServer:
    """The run's Redis; use keys of your own."""
    from infra_testing.services import RedisServer

    return shared(RedisServer)


@pytest.fixture(scope="session")
def rabbitmq_server() -> RabbitMQServer:
    """The run's RabbitMQ; use queue names of your own."""
    from infra_testing.services import RabbitMQServer

    return shared(RabbitMQServer)


@pytest.fixture(scope="session")
def moto_server() -> MotoServer:
    """The run's moto, for S3 and SQS; use bucket and queue names of your own."""
    from infra_testing.services import MotoServer

    return shared(MotoServer)


@pytest.fixture(scope="session")
def rclone_server() -> RcloneServer:
    """The run's S3 server of rclone; use bucket names of your own."""
    from infra_testing.services import RcloneServer

    return shared(RcloneServer)


@pytest.fixture(scope="session")
def aimock_server() -> AimockServer:
    """The run's server of the OpenAI protocol, which answers everything with one sentence; start one of your own for other answers."""
    from infra_testing.services import AimockServer

    return shared(AimockServer)


@pytest.fixture(scope="session")
def llm_server() -> Iterator[ScriptedLLMServer]:
    """A server of the OpenAI protocol in this process; ``llm_server.session(script)`` says what it answers, badly formed if wanted."""
    from infra_testing.llm_server import ScriptedLLMServer

    with ScriptedLLMServer() as server:
        yield server


@pytest.fixture
def start_server() -> Iterator[StartServer]:
    """``start_server(RedisServer)``: a server of the test's own, to kill, pause and restart."""
    with ExitStack() as stack:

        def start(kind: type[S], **options: Any) -> S:
            return provide(kind, lambda kind: stack.enter_context(kind(**options)))

        yield start


@pytest.fixture
def fault_proxy() -> Iterator[StartProxy]:
    """``fault_proxy(redis_server)``: a proxy in front of a server, a URL or a port."""
    from infra_testing.proxy import FaultProxy

    with ExitStack() as stack:

        def start(target: Server | str | int) -> FaultProxy:
            port = urlsplit(target).port if isinstance(target, str) else target if isinstance(target, int) else target.port
            if port is None:
                raise ValueError("the URL names no port")
            return stack.enter_context(FaultProxy(port))

        yield start


def pytest_configure(config: pytest.Config) -> None:
    """Name the run, for the processes of this one: xdist's workers share its servers."""
    config.addinivalue_line("markers", "optional_server(kind=...): leave the test out where this server is not installed")
    if VARIABLE not in os.environ:
        config.stash[OWNER] = True
        current_run()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests of optional servers that are not here."""
    marked = {item: marker.kwargs["kind"] for item in items if (marker := item.get_closest_marker("optional_server")) is not None}
    for kind in set(marked.values()):
        found = kind.available()
        if found:
            continue
        current_run().record(Use(kind.name, found.reason, missing=True, optional=True))
        left_out = [item for item, wanted in marked.items() if wanted is kind]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if marked.get(item) is not kind]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config) -> None:
    """One table of the servers used; after a failure, where their logs are."""
    run = current_run()
    uses = run.uses() if config.stash.get(OWNER, False) else []
    if not uses:
        return
    terminalreporter.section("servers")
    terminalreporter.line(f"{'server':<10} {'version':<10} {'starts':>6} {'seconds':>8}")
    for (name, missing), group in groupby(sorted(uses, key=lambda use: (use.name, use.missing)), lambda use: (use.name, use.missing)):
        starts = list(group)
        if missing:
            terminalreporter.line(f"{name:<10} {'not here' if starts[0].optional else 'missing'}: {starts[0].version}")
        else:
            terminalreporter.line(f"{name:<10} {starts[0].version:<10} {len(starts):>6} {sum(use.seconds for use in starts):>8.2f}")
    _tell_untested(terminalreporter, [use for use in uses if use.missing and not use.optional])
    if exitstatus and config.pluginmanager.hasplugin("cacheprovider"):
        folder = config.cache.mkdir("server-logs") / run.folder.name
        if run.copy_logs(folder):
            terminalreporter.line(f"logs: {folder}")


def _tell_untested(terminalreporter: pytest.TerminalReporter, missing: list[Use]) -> None:
    """Which services were missed, by how many tests, and the command that brings them."""
    if not missing:
        return
    skipped: list[str] = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", ())]
    counts = {name: sum(f"{name}: " in text for text in skipped) for name in sorted({use.name for use in missing})}
    terminalreporter.line("not tested: " + ", ".join(f"{name} ({count} tests)" if count else name for name, count in counts.items()))
    packages = sorted({use.package for use in missing if use.package})
    if packages:
        terminalreporter.line(f"to test it, on Debian: sudo apt-get install {' '.join(packages)}")


def pytest_unconfigure(config: pytest.Config) -> None:
    """End every server of the run."""
    if config.stash.get(OWNER, False):
        current_run().close()
        current_run.cache_clear()
        os.environ.pop(VARIABLE, None)
