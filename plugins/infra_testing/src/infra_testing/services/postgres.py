"""A private PostgreSQL."""

from __future__ import annotations

import re
import signal
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from infra_testing.services.programs import find_program, version_of
from infra_testing.services.server import Server, ServiceError
from infra_testing.services.wire import exchange

STARTUP = b"\x00\x03\x00\x00user\x00postgres\x00database\x00postgres\x00\x00"


def program(name: str) -> Path:
    """One of the server's own programs. Debian keeps those of each version in a folder of their own, off the PATH."""
    folders = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if path.parent.name.isdigit()]
    return find_program(name, folders=sorted(folders, key=lambda path: int(path.parent.name), reverse=True))


class PostgresServer(Server):
    """PostgreSQL on a free port; user postgres, no password.

    Args:
        options: Further settings by their names in postgresql.conf, such as ``{"max_connections": "20"}``.
    """

    name = "postgres"
    remedy = "postgresql"
    packaged = True
    account = "postgres"
    stop_signal = signal.SIGINT  # fast shutdown: open sessions are ended

    def __init__(self, options: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.options = {"max_connections": "200", "wal_level": "logical", **(options or {})}
        self._primary: PostgresServer | None = None
        self._slot = ""

    @classmethod
    def find_version(cls) -> str:
        """The version of the installed server."""
        program("initdb")
        return version_of(program("postgres"), "--version")

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.root / "data"

    def prepare(self) -> None:
        """Make a new cluster, or a copy of the primary's."""
        if self._primary is None:
            initdb = [program("initdb"), "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"]
            self.execute([*initdb, "--no-sync", "--no-instructions"])
            return
        source = ["-h", "127.0.0.1", "-p", str(self._primary.port), "-U", "postgres"]
        copy = ["-R", "-X", "stream", "-C", "-S", self._slot, "-c", "fast", "--no-sync"]
        self.execute([program("pg_basebackup"), *source, "-D", self.data, *copy])

    def command(self) -> list[str]:
        """The server in the foreground."""
        options = {"port": str(self.port), "listen_addresses": "127.0.0.1", "unix_socket_directories": str(self.root), **self.options}
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        return [str(program("postgres")), "-D", str(self.data), *settings]

    def ping(self) -> bool:
        """Answers once recovery has ended and sessions are let in."""
        return exchange(self.port, (len(STARTUP) + 4).to_bytes(4, "big") + STARTUP).startswith(b"R")

    @property
    def url(self) -> str:
        """The database postgres. On a shared server make one of your own with `database`."""
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        """The URL of a database of this server."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def database(self, name: str | None = None) -> str:
        """Make an empty database, of a fresh name when none is given; gives its URL."""
        name = name or f"test_{uuid.uuid4().hex[:12]}"
        self.sql(f'CREATE DATABASE "{name}"')
        return self.url_of(name)

    def drop_database(self, url: str) -> None:
        """Delete a database that `database` made, ending its sessions."""
        self.sql(f'DROP DATABASE IF EXISTS "{url.rpartition("/")[2]}" WITH (FORCE)')

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run a statement; gives the rows as psql prints them, unaligned, a line each.

        Raises:
            ServiceError: It failed.
        """
        target = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-d", database]
        return self.execute([program("psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", *target, "-c", statement]).strip()

    def standby(self, slot: str = "standby") -> PostgresServer:
        """A streaming copy of this server, not yet started; the caller closes it."""
        if not re.fullmatch(r"[a-z0-9_]+", slot):
            raise ServiceError(f"{slot!r} is no name for a replication slot")
        copy = PostgresServer(self.options)
        copy._primary, copy._slot = self, slot
        return copy

    def promote(self) -> Self:
        """Make a standby a primary, and wait until it takes writes."""
        self.execute([program("pg_ctl"), "promote", "-D", self.data, "-w"])
        return self
