"""A private PgBouncer."""

from __future__ import annotations

import signal
from collections.abc import Mapping

from infra_testing.services.postgres import STARTUP, PostgresServer
from infra_testing.services.programs import find_program, version_of
from infra_testing.services.server import Server, ServiceError
from infra_testing.services.wire import exchange


class PgBouncerServer(Server):
    """PgBouncer in transaction mode before a PostgreSQL, on a free port; user postgres, no password.

    Args:
        postgres: The server, which runs.
        options: Further settings by their names in pgbouncer.ini.
    """

    name = "pgbouncer"
    remedy = "pgbouncer"
    packaged = True
    shareable = False
    account = "postgres"  # it refuses root
    stop_signal = signal.SIGINT

    def __init__(self, postgres: PostgresServer | None = None, options: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self._postgres = postgres
        self.options = {"pool_mode": "transaction", "max_client_conn": "200", "default_pool_size": "20", **(options or {})}

    @classmethod
    def find_version(cls) -> str:
        """The version of the installed server."""
        return version_of(find_program("pgbouncer"), "--version")

    def prepare(self) -> None:
        """Write its settings and its list of users."""
        if self._postgres is None:
            raise ServiceError("a PgBouncer needs a PostgreSQL behind it")
        options = {
            "listen_addr": "127.0.0.1",
            "listen_port": str(self.port),
            "unix_socket_dir": "",
            "auth_type": "trust",
            "auth_file": str(self.root / "users.txt"),
            **self.options,
        }
        lines = ["[databases]", f"* = host=127.0.0.1 port={self._postgres.port}", "[pgbouncer]"]
        lines += [f"{name} = {value}" for name, value in options.items()]
        (self.root / "users.txt").write_text('"postgres" ""\n')
        (self.root / "pgbouncer.ini").write_text("\n".join(lines) + "\n")

    def command(self) -> list[str]:
        """The server in the foreground."""
        return [str(find_program("pgbouncer")), str(self.root / "pgbouncer.ini")]

    def ping(self) -> bool:
        """Lets sessions in."""
        return exchange(self.port, (len(STARTUP) + 4).to_bytes(4, "big") + STARTUP).startswith(b"R")

    @property
    def url(self) -> str:
        """The database postgres."""
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        """The URL of a database behind it."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"
