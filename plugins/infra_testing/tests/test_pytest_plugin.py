"""The pytest plugin in a host's repository: what a run prints, and what a missing server does."""

from __future__ import annotations

import subprocess
import sys

import pytest

from infra_testing.run import VARIABLE

pytest_plugins = ["pytester"]

USES_REDIS = """
from infra_testing.services import RedisServer

def test_shared(redis_server):
    assert redis_server.ping()

def test_own(start_server, fault_proxy):
    server = start_server(RedisServer, options={"maxmemory": "10mb"})
    proxy = fault_proxy(server)
    assert fault_proxy(server.url).target == fault_proxy(server.port).target == proxy.target == server.port
"""


@pytest.fixture(autouse=True)
def own_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.delenv("CI", raising=False)


def without_redis(monkeypatch: pytest.MonkeyPatch, pytester: pytest.Pytester) -> None:
    """Hide the server's program from the processes of this test."""
    pytester.makeconftest("import infra_testing.services.programs as programs; programs.FOLDERS = ()")
    monkeypatch.setenv("PATH", "/nowhere")


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.run(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments)


def test_a_run_ends_with_a_table_of_its_servers(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(USES_REDIS)
    result = run(pytester)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*servers*", "server *version *starts *seconds", "redis *.* 2 *"])


def test_workers_share_one_server(pytester: pytest.Pytester) -> None:
    body = "def test_{0}(redis_server):\n    import pathlib; pathlib.Path('{0}').write_text(redis_server.url)\n"
    pytester.makepyfile(test_1=body.format(1), test_2=body.format(2))
    run(pytester, "-n", "2", "--dist", "each").stdout.fnmatch_lines(["redis * 1 *"])
    assert (pytester.path / "1").read_text() == (pytester.path / "2").read_text()


def test_a_failing_run_keeps_the_servers_logs(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_broken(redis_server):\n    assert not redis_server.ping()")
    result = pytester.run(sys.executable, "-m", "pytest")
    result.assert_outcomes(failed=1)
    logs = list(pytester.path.glob(".pytest_cache/d/server-logs/*/redis-*.log"))
    assert len(logs) == 1
    assert "Ready to accept connections" in logs[0].read_text()


def test_a_missing_server_skips_with_the_remedy(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    without_redis(monkeypatch, pytester)
    pytester.makepyfile(USES_REDIS)
    result = run(pytester, "-rs")
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(
        [
            "redis *missing: no redis-server found; install redis-server",
            "not tested: redis (2 tests)",
            "to test it, on Debian: sudo apt-get install redis-server",
            "SKIPPED*install redis-server*",
        ]
    )


def test_a_missing_server_fails_in_ci(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    without_redis(monkeypatch, pytester)
    monkeypatch.setenv("CI", "true")
    pytester.makepyfile(USES_REDIS)
    result = run(pytester)
    result.assert_outcomes(errors=1, failed=1)


def test_a_host_that_asks_for_nothing_pays_nothing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import os, sys, pathlib
        def test_nothing_is_loaded_or_started():
            loaded = [name for name in sys.modules if name.split(".")[0] in ("infra", "infra_testing", "asyncio", "pydantic", "sqlalchemy")]
            assert sorted(set(loaded) - {"asyncio"} - {n for n in loaded if n.startswith("asyncio.")}) == [
                "infra_testing", "infra_testing.pytest_plugin", "infra_testing.run"]
            assert not pathlib.Path(os.environ["TEST_SERVICES_RUN"].rpartition(":")[0]).exists()
        """
    )
    run(pytester).assert_outcomes(passed=1)


def test_the_plugins_import_is_light() -> None:
    script = "import pytest_asyncio, sys; before = set(sys.modules); import infra_testing.pytest_plugin; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"infra", "asyncio", "socketserver", "http.client"} & set(done.stdout.split())
