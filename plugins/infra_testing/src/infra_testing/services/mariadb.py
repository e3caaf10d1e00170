"""A private MariaDB."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from pathlib import Path

from infra_testing.services.programs import find_program, version_of
from infra_testing.services.server import Server
from infra_testing.services.wire import exchange


class MariaDBServer(Server):
    """MariaDB on a free port; user root, no password.

    Args:
        options: Further settings by their names as options, such as ``{"max-connections": "20"}``.
    """

    name = "mariadb"
    remedy = "mariadb-server"
    packaged = True

    def __init__(self, options: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.options = dict(options or {})

    @classmethod
    def find_version(cls) -> str:
        """The version of the installed server."""
        find_program("mariadb-install-db", "mysql_install_db")
        return version_of(find_program("mariadbd", "mysqld"), "--no-defaults", "--version")

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.root / "data"

    def environment(self) -> Mapping[str, str]:
        """A folder for temporary tables of its own: a server that starts deletes what it takes for leftovers there."""
        return {"TMPDIR": str(self.root / "tmp")}

    def prepare(self) -> None:
        """Make the system tables."""
        (self.root / "tmp").mkdir(exist_ok=True)
        install = [find_program("mariadb-install-db", "mysql_install_db"), "--no-defaults", *self._user(), f"--datadir={self.data}"]
        self.execute([*install, "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"])

    def _user(self) -> list[str]:
        """As root it must be told so; anyone else it runs as anyway."""
        return ["--user=root"] if os.geteuid() == 0 else []

    def command(self) -> list[str]:
        """The server in the foreground."""
        places = [f"--datadir={self.data}", f"--socket={self.root}/s.sock", f"--pid-file={self.root}/pid"]
        network = [f"--port={self.port}", "--bind-address=127.0.0.1", "--skip-name-resolve"]
        network.append("--skip-ssl")  # newer servers speak TLS by themselves, and a proxy before them would see nothing
        options = [f"--{name}={value}" for name, value in self.options.items()]
        return [str(find_program("mariadbd", "mysqld")), "--no-defaults", *self._user(), *places, *network, "--skip-log-bin", *options]

    def ping(self) -> bool:
        """Greets with its handshake, of protocol 10, once it takes sessions."""
        greeting = exchange(self.port, b"")
        return len(greeting) > 4 and greeting[4] == 10

    @property
    def url(self) -> str:
        """The database mysql. On a shared server make one of your own with `database`."""
        return self.url_of("mysql")

    def url_of(self, database: str) -> str:
        """The URL of a database of this server."""
        return f"mysql://root@127.0.0.1:{self.port}/{database}"

    def database(self, name: str | None = None) -> str:
        """Make an empty database, of a fresh name when none is given; gives its URL."""
        name = name or f"test_{uuid.uuid4().hex[:12]}"
        self.sql(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
        return self.url_of(name)

    def drop_database(self, url: str) -> None:
        """Delete a database that `database` made."""
        self.sql(f"DROP DATABASE IF EXISTS `{url.rpartition('/')[2]}`")

    def sql(self, statement: str, database: str = "mysql") -> str:
        """Run a statement; gives the rows, columns apart by tabs, a line each.

        Raises:
            ServiceError: It failed.
        """
        client = [find_program("mariadb", "mysql"), "--no-defaults", "--skip-ssl", "-h", "127.0.0.1", "-P", str(self.port), "-u", "root"]
        return self.execute([*client, "--batch", "--skip-column-names", "-e", statement, database]).strip()
