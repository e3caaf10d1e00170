"""The main job on real servers: by settings alone, exactly once whatever is killed, and everything put away afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from infra.cli import main
from infra.cli.demo import outage
from infra_testing.run import VARIABLE
from infra_testing.services import AimockServer
from infra_testing.services.ports import is_free

TOOL = Path(__file__).resolve().parent.parent / "tools" / "demo_servers.py"
DOCUMENTS = 6
PER_DOCUMENT = (
    "SELECT d.name, count(s.id) FROM demo_documents d LEFT JOIN demo_summaries s ON s.document_id = d.id GROUP BY d.name ORDER BY d.name"
)


def clean_environment() -> dict[str, str]:
    """Nothing of the caller's configuration, and no run of servers: the tool has its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("INFRA_", "AWS_", "REDIS_", "OPENAI_"))}
    return {name: value for name, value in kept.items() if not name.endswith("_URL") and name not in ("LLM_PROVIDER", VARIABLE)}


def until(condition: Callable[[], bool], timeout: float = 120.0) -> None:
    limit = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < limit, "the condition was never reached"
        time.sleep(0.02)


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    folder = tmp_path / "texts"
    folder.mkdir()
    for number in range(DOCUMENTS):
        (folder / f"part{number}.md").write_text(f"# Part {number}\n\nThe winter of part {number} was long. {uuid.uuid4()}\n")
    return folder


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a program in a process group of its own; what is left of it is killed in the end."""
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: str | Path, **variables: str) -> subprocess.Popen[str]:
        command = [sys.executable, *map(str, arguments)]
        environ = clean_environment() | {"PYTHONUNBUFFERED": "1"} | variables
        started.append(
            subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
        )
        return started[-1]

    yield run
    for process in started:
        kill_group(process)
        process.communicate()


def kill_group(process: subprocess.Popen[str]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


class Servers:
    """The run's servers, with a database, queue and bucket of the test's own."""

    def __init__(self, request: pytest.FixtureRequest, database: str, queue: str) -> None:
        def server(name: str) -> Any:
            return request.getfixturevalue(f"{name}_server")

        own = f"demo-{uuid.uuid4().hex[:8]}"
        files = server("rclone")
        session = boto3.session.Session(files.access_key, files.secret_key, region_name=files.region)
        session.client("s3", endpoint_url=files.url).create_bucket(Bucket=own)
        self._server, self._url = server(database), server(database).database()
        broker = server("moto" if queue == "sqs" else queue)
        keys = {"access_key_id": files.access_key, "secret_access_key": files.secret_key, "region": files.region}
        self.settings: dict[str, dict[str, str]] = {
            "database.demo": {"url": self._url},
            "storage.demo": {"provider": "s3", "endpoint": files.url, "bucket": own, **keys},
            "queue.demo": {
                "rabbitmq": {"url": broker.url},
                "sqs": {"provider": "sqs", "endpoint": broker.url, "wait": "1s", **keys},
            }[queue]
            | {"queue": own},
            "cache.demo": {"url": server("redis").url, "prefix": own},
            "llm.demo": {"provider": "openai", "base_url": server("aimock").url, "api_key": "any-key", "model": "scripted"},
        }

    def rows(self, query: str) -> list[list[str]]:
        """What a query gives; nothing before the tables are there."""
        try:
            said = self._server.sql(query, self._url.rpartition("/")[2])
        except Exception:
            return []
        return [line.replace("\t", "|").split("|") for line in said.splitlines()]

    def number(self, table: str) -> int:
        return int((self.rows(f"SELECT count(*) FROM {table}") or [["0"]])[0][0])

    def drop(self) -> None:
        self._server.drop_database(self._url)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def write_settings(project: Path, settings: dict[str, dict[str, str]]) -> None:
    sections = [f"[{name}]\n" + "".join(f'{key} = "{value}"\n' for key, value in values.items()) for name, values in settings.items()]
    (project / "infra.toml").write_text("\n".join(sections))


@pytest.mark.parametrize(("database", "queue", "workers"), [("postgres", "rabbitmq", "2"), ("mariadb", "sqs", "1")])
def test_killed_and_started_again_on_servers_it_finishes_with_every_document_summarised_once(
    request: pytest.FixtureRequest,
    start: Callable[..., subprocess.Popen[str]],
    project: Path,
    texts: Path,
    database: str,
    queue: str,
    workers: str,
) -> None:
    servers = Servers(request, database, queue)
    write_settings(project, servers.settings)
    command = ("-m", "infra.cli", "demo", texts, "--root", project, "--json")
    first = start(*command, "--slow", "4")
    until(lambda: servers.number("demo_summaries") >= 1 or first.poll() is not None)
    kill_group(first)
    said = first.communicate()
    assert first.returncode == -signal.SIGKILL, said
    second = start(*command, "--workers", workers)
    out, err = second.communicate(timeout=150)
    assert second.returncode == 0, err
    found = json.loads(out)
    assert found["resumed"]
    assert found["once"]
    assert {document["model"] for document in found["documents"]} == {"scripted"}
    assert servers.rows(PER_DOCUMENT) == [[f"part{number}.md", "1"] for number in range(DOCUMENTS)]
    assert servers.number("demo_runs") == 1
    servers.drop()


def test_a_server_that_goes_away_for_good_ends_it_in_one_line(
    start_server: Any, project: Path, texts: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in set(os.environ) - set(clean_environment()) - {VARIABLE}:
        monkeypatch.delenv(name)
    for name, seconds in {"_STILL": 0.5, "_PATIENCE": 1.5, "_BETWEEN": 0.2}.items():
        monkeypatch.setattr(outage, name, seconds)
    server = start_server(AimockServer, options=("--latency", "1000"))
    llm = {"provider": "openai", "base_url": server.url, "api_key": "any-key", "model": "scripted", "retry_delay": "0.01"}
    write_settings(project, {"llm.demo": llm})

    def kill_it() -> None:
        until(lambda: any((project / ".infra" / "demo").rglob("documents*")))
        server.kill()

    killer = threading.Thread(target=kill_it)
    killer.start()
    code = main(["demo", str(texts), "--root", str(project)])
    killer.join()
    said = capsys.readouterr()
    assert code == 1
    assert "Traceback" not in said.err + said.out
    (line,) = [line for line in said.err.splitlines() if line.startswith("infra:")]
    assert line.startswith("infra: llm.demo: ping failed on openai")
    assert "connection refused; " in line
    assert f"`infra demo {texts} --root {project}` goes on from there" in said.err


def run_folder_of(output: str) -> Path:
    """The folder of the tool's run, from the line that names its settings."""
    (line,) = [line for line in output.splitlines() if line.endswith("infra.toml")]
    return Path(line).parent.parent


def test_the_tool_starts_servers_runs_the_demo_twice_and_puts_everything_away(
    start: Callable[..., subprocess.Popen[str]], texts: Path
) -> None:
    tool = start(TOOL, texts, "--limit", "3", AWS_REGION="nowhere", OPENAI_BASE_URL="http://127.0.0.1:1/v1")
    out, err = tool.communicate(timeout=170)
    assert tool.returncode == 0, err
    for server in ("postgres", "rclone", "rabbitmq", "redis", "aimock"):
        assert f"\n{server} " in out
    first, second = out.split("--- infra demo, the second time")
    assert "0 answers of 3 from the cache" in first
    assert "3 answered by scripted-by-aimock" in first
    assert "3 answers of 3 from the cache" in second
    for line in (
        "storage.demo   s3",
        "database.demo  postgres",
        "queue.demo     rabbitmq",
        "llm.demo       openai",
        "cache.demo     redis",
    ):
        assert line in second
    assert "any-key" not in out + err
    assert not run_folder_of(out).exists()


def test_ctrl_c_in_the_middle_stops_the_demo_in_good_order_and_puts_everything_away(
    start: Callable[..., subprocess.Popen[str]], texts: Path
) -> None:
    tool = start(TOOL, "--with", "redis-streams", texts, "--slow", "60")
    assert tool.stderr is not None
    said = read_until(tool, "the first time")
    assert "summarising" in tool.stderr.readline()
    tool.send_signal(signal.SIGINT)
    _, err = tool.communicate(timeout=90)
    assert tool.returncode == 130, err
    assert "Traceback" not in err
    assert not run_folder_of(said).exists()


def test_sigterm_while_servers_start_ends_those_that_run(start: Callable[..., subprocess.Popen[str]]) -> None:
    tool = start(TOOL)
    said = read_until(tool, "postgres")
    port = int(said.rpartition("127.0.0.1:")[2].split()[0])
    tool.terminate()
    _, err = tool.communicate(timeout=90)
    assert tool.returncode == 143, err
    assert "Traceback" not in err
    assert is_free(port)


def read_until(process: subprocess.Popen[str], word: str) -> str:
    """What the program prints, up to and with the line that holds `word`."""
    assert process.stdout is not None
    said = ""
    while word not in said:
        line = process.stdout.readline()
        assert line, process.communicate()
        said += line
    return said


def test_a_missing_server_is_one_line_with_its_remedy(start: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    broken = tmp_path / "redis-server"
    broken.write_text("#!/bin/sh\necho no such library >&2\nexit 1\n")
    broken.chmod(0o755)
    tool = start(TOOL, PATH=str(tmp_path))  # nor is there an apt-get
    out, err = tool.communicate(timeout=60)
    assert tool.returncode == 3
    assert out == ""
    wanted = f"demo-servers: redis is missing: {broken} does not work: no such library; install redis-server, then start again"
    assert wanted in err.splitlines()
    assert all(line.startswith("demo-servers: ") and "; install " in line for line in err.splitlines())


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("oracle", "there is no choice 'oracle'; there are postgres, mariadb, "),
        ("postgres,mariadb", "postgres and mariadb are both for the database: choose one"),
    ],
)
def test_a_wrong_choice_of_servers_is_told(start: Callable[..., subprocess.Popen[str]], wanted: str, message: str) -> None:
    tool = start(TOOL, "--with", wanted)
    _, err = tool.communicate(timeout=60)
    assert tool.returncode == 2
    assert message in err
