"""Servers that take a connection, or not even that, and keep silent: one line after the deadline, and Ctrl-C ends it at once."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from infra import AsyncInfra, Infra
from infra.errors import StartupError

CANARY = "cAnArY-7c1f-s3cr3t"


def silent(port: int) -> Mapping[str, str]:
    """A resource of every provider of servers, at that port."""
    place = f"u:{CANARY}@127.0.0.1:{port}"
    own = {
        "DATABASE__PG__URL": f"postgresql://{place}/x?connect_timeout=1",
        "DATABASE__PGA__URL": f"postgresql+asyncpg://{place}/x?connect_timeout=1",
        "DATABASE__MY__URL": f"mysql://{place}/x?connect_timeout=1",
        "CACHE__MAIN__URL": f"redis://{place}/0",
        "QUEUE__STREAM__URL": f"redis://{place}/0",
        "QUEUE__RABBIT__URL": f"amqp://{place}",
        "QUEUE__SQS__PROVIDER": "sqs",
        "QUEUE__SQS__REGION": "us-east-1",
        "QUEUE__SQS__ENDPOINT": f"http://127.0.0.1:{port}",
        "QUEUE__SQS__CONNECT_TIMEOUT": "1",
        "QUEUE__SQS__READ_TIMEOUT": "1",
        "QUEUE__SQS__ATTEMPTS": "1",
        "STORAGE__MAIN__PROVIDER": "s3",
        "STORAGE__MAIN__BUCKET": "there",
        "STORAGE__MAIN__ENDPOINT": f"http://127.0.0.1:{port}",
        "STORAGE__MAIN__TIMEOUT": "1",
        "STORAGE__MAIN__CONNECT_TIMEOUT": "1",
        "LLM__MAIN__PROVIDER": "openai",
        "LLM__MAIN__BASE_URL": f"http://127.0.0.1:{port}/v1",
        "LLM__MAIN__API_KEY": CANARY,
    }
    known = {f"INFRA_{name}": value for name, value in own.items()}
    for resource in {name.rpartition("__")[0] for name in known}:
        known[f"{resource}__OPEN_TIMEOUT"] = "1"
    return {**known, "AWS_ACCESS_KEY_ID": "testaccesskey01", "AWS_SECRET_ACCESS_KEY": CANARY}


RESOURCES = {
    "database.pg", "database.pga", "database.my", "cache.main", "queue.stream", "queue.rabbit", "queue.sqs", "storage.main", "llm.main",
}  # fmt: skip


def check(lines: Mapping[str, str], port: int) -> None:
    assert set(lines) == RESOURCES
    for name, line in lines.items():
        assert f"127.0.0.1:{port}" in line, line
        assert re.search(r"no answer|did not answer", line), line
        assert re.search(r"\((arguments: |INFRA_)", line), name + line
        assert not re.search(r"\w+Error\b|Errno|Traceback", line), line
        assert CANARY not in line


@pytest.mark.parametrize("kind", ["full", "silent"])
def test_a_blocking_host_is_told_of_each(kind: str, refusing: Any, only_environment: Any, tmp_path: Path) -> None:
    port = getattr(refusing, kind)
    only_environment(silent(port))
    with pytest.raises(StartupError) as caught:
        Infra(root=tmp_path).start()
    check({str(failure.resource): str(failure) for failure in caught.value.failures}, port)


@pytest.mark.parametrize("kind", ["full", "silent"])
async def test_an_asyncio_host_is_told_of_each(kind: str, refusing: Any, only_environment: Any, tmp_path: Path) -> None:
    port = getattr(refusing, kind)
    only_environment(silent(port))
    with pytest.raises(StartupError) as caught:
        await AsyncInfra(root=tmp_path).start()
    check({str(failure.resource): str(failure) for failure in caught.value.failures}, port)


@pytest.mark.parametrize("command", [("health", "--timeout", "1"), ("doctor", "--timeout", "1"), ("providers", "--check")])
def test_an_operator_is_told_of_each(command: tuple[str, ...], refusing: Any, only_environment: Any, program: Callable[..., Any]) -> None:
    only_environment(silent(refusing.silent))
    said = program(*command)
    assert said.code == 1
    text = re.sub(r"\n +→ ", "; ", said.out)  # doctor's remedies stand on lines of their own
    lines = {name: line for line in text.splitlines() for name in RESOURCES if re.match(rf"\W*{name}\b", line)}
    check(lines, refusing.silent)
    assert CANARY not in said.all


def wait_for_a_client(listener: socket.socket) -> None:
    """Until somebody has connected."""
    listener.settimeout(120)
    listener.accept()[0].detach()  # left open, and silent


@pytest.mark.parametrize(
    "command",
    [("health",), ("storage", "ls"), ("cache", "get", "k"), ("db", "stats")],
    ids=lambda command: command[0],
)
def test_ctrl_c_ends_a_command_that_waits_for_a_silent_server(command: tuple[str, ...], tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        port = listener.getsockname()[1]
        place = f"u:{CANARY}@127.0.0.1:{port}"
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("INFRA_", "AWS_"))}
        environ |= {
            "storage": {"IMAGE_S3_BUCKET": "there", "INFRA_STORAGE__MAIN__ENDPOINT": f"http://127.0.0.1:{port}",
                        "AWS_ACCESS_KEY_ID": "testaccesskey01", "AWS_SECRET_ACCESS_KEY": CANARY},
            "db": {"DATABASE_URL": f"postgresql://{place}/x?connect_timeout=60", "INFRA_DATABASE__MAIN__OPEN_TIMEOUT": "60"},
        }.get(command[0], {"REDIS_URL": f"redis://{place}/0", "INFRA_CACHE__MAIN__OPEN_TIMEOUT": "60"})  # fmt: skip
        process = subprocess.Popen(
            [sys.executable, "-m", "infra.cli", *command, *(["--timeout", "60"] if command == ("health",) else [])],
            cwd=tmp_path, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        watchdog = threading.Timer(120, process.kill)
        watchdog.start()
        try:
            wait_for_a_client(listener)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate()
        finally:
            watchdog.cancel()
            process.kill()
    assert "Traceback" not in out + err, out + err
    assert CANARY not in out + err
    assert process.returncode == 130, out + err
    assert out == ""
    assert err.split() in ([], ["infra:", "stopped"])
