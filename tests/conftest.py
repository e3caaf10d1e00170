"""What tests of failures share: servers that refuse, ports where nobody serves, and the program in this process."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from infra.cli import main
from infra_testing.llm_server import ScriptedLLMServer
from infra_testing.pytest_plugin import provide, shared
from infra_testing.services import MariaDBServer, MotoServer, PostgresServer, RabbitMQServer, RcloneServer, RedisServer

#: The password of every account of these servers that has one.
RIGHT = "right-s3cret-word"


class Servers:
    """Servers, each started by the first test that needs it, and ports where nobody serves.

    Attributes:
        full: A port that lets no connection come to stand.
        silent: A port that takes connections and says nothing.
        closed: A port that refuses connections.
    """

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._known: dict[str, Any] = {}
        self._kept = [self._listener(0), self._listener(64)]
        self.full, self.silent = (kept.getsockname()[1] for kept in self._kept)
        for _ in range(4):  # a full queue of connections: the system drops further attempts, as a firewall does
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", self.full))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.closed = probe.getsockname()[1]

    def _listener(self, backlog: int) -> socket.socket:
        listener = self._stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(backlog)
        return listener

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        if name not in self._known:
            self._known[name] = make()
        return self._known[name]

    @property
    def postgres(self) -> PostgresServer:
        return self._once("postgres", self._postgres)

    def _postgres(self) -> PostgresServer:
        server = provide(PostgresServer, lambda kind: self._stack.enter_context(kind()))
        rules = server.data / "pg_hba.conf"
        rules.write_text(
            f"host all locked 127.0.0.1/32 scram-sha-256\nhost all barred 127.0.0.1/32 reject\n{rules.read_text()}", encoding="utf-8"
        )
        server.sql(f"CREATE ROLE locked LOGIN PASSWORD '{RIGHT}'; CREATE ROLE barred LOGIN; CREATE ROLE guest LOGIN")
        server.database("private")
        server.sql("REVOKE CONNECT ON DATABASE private FROM PUBLIC; SELECT pg_reload_conf()")
        return server

    @property
    def mariadb(self) -> MariaDBServer:
        return self._once("mariadb", self._mariadb)

    def _mariadb(self) -> MariaDBServer:
        server = provide(MariaDBServer, lambda kind: self._stack.enter_context(kind()))
        server.database("private")
        server.sql(f"CREATE USER locked@'%' IDENTIFIED BY '{RIGHT}'")
        return server

    @property
    def redis(self) -> RedisServer:
        def make() -> RedisServer:
            server = provide(RedisServer, lambda kind: self._stack.enter_context(kind({"requirepass": RIGHT, "databases": "4"})))
            with socket.create_connection(("127.0.0.1", server.port)) as line:
                line.sendall(f"AUTH {RIGHT}\r\nACL SETUSER reader on >{RIGHT} ~* +ping +info +select\r\n".encode())
                assert line.recv(64).startswith(b"+OK")
            return server

        return self._once("redis", make)

    @property
    def rclone(self) -> RcloneServer:
        return shared(RcloneServer)

    @property
    def moto(self) -> MotoServer:
        return shared(MotoServer)

    @property
    def rabbitmq(self) -> RabbitMQServer:
        return shared(RabbitMQServer)

    @property
    def llm(self) -> ScriptedLLMServer:
        return self._once("llm", lambda: self._stack.enter_context(ScriptedLLMServer()))


@pytest.fixture(scope="module")
def refusing() -> Iterator[Servers]:
    """Servers and ports that refuse."""
    with ExitStack() as stack:
        yield Servers(stack)


@dataclass
class Said:
    """What a command said."""

    code: int
    out: str
    err: str
    log: str = field(default="")

    @property
    def all(self) -> str:
        return self.out + self.err + self.log


@pytest.fixture
def only_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Mapping[str, str]], None]:
    """Put a row's variables into the environment, and nothing else that could configure something."""
    names = ("INFRA_", "AWS_", "REDIS_", "OPENAI_", "RABBITMQ_", "DATABASE_", "IMAGE_", "LLM_", "AZURE_")

    def apply(environ: Mapping[str, str]) -> None:
        for name in os.environ:
            if name.startswith(names) or name.endswith("_DB_URL"):
                monkeypatch.delenv(name)
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(tmp_path)

    return apply


@pytest.fixture
def program(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Callable[..., Said]:
    """Run the program in this process."""

    def run(*arguments: str) -> Said:
        capsys.readouterr()
        with caplog.at_level(logging.DEBUG, "infra"):
            code = main(arguments)
        said = capsys.readouterr()
        return Said(code, said.out, said.err, caplog.text)

    return run
