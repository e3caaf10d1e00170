"""A private MySQL, which is not MariaDB."""

from __future__ import annotations

from infra_testing.services.mariadb import MariaDBServer
from infra_testing.services.programs import find_program, said_version, version_in
from infra_testing.services.server import MissingServiceError


class MySQLServer(MariaDBServer):
    """MySQL on a free port; user root, no password. Debian stable has no package of it.

    Args:
        options: Further settings by their names as options, such as ``{"max-connections": "20"}``.
    """

    name = "mysql"
    remedy = "MySQL's own server (dev.mysql.com/downloads)"
    packaged = False
    optional = True

    @classmethod
    def find_version(cls) -> str:
        """The version of the installed server."""
        program = find_program("mysqld")
        said = said_version(program, "--no-defaults", "--version")
        if "mariadb" in said.lower():
            raise MissingServiceError(f"{program} is MariaDB")
        return version_in(program, said)

    def prepare(self) -> None:
        """Make the system tables, and a root who may come over TCP: by itself it lets root use the socket alone."""
        (self.root / "tmp").mkdir(exist_ok=True)
        account = "root@'127.0.0.1'"
        script = self.root / "init.sql"
        script.write_text(f"CREATE USER {account};\nGRANT ALL ON *.* TO {account} WITH GRANT OPTION;\n")
        self.execute([*self._program(), "--initialize-insecure", f"--init-file={script}"], timeout=300)

    def command(self) -> list[str]:
        """The server in the foreground, without TLS: a proxy before it sees what is said."""
        network = [f"--port={self.port}", "--bind-address=127.0.0.1", "--skip-name-resolve", "--tls-version=", "--mysqlx=OFF"]
        options = [f"--{name}={value}" for name, value in self.options.items()]
        return [*self._program(), f"--socket={self.root}/s.sock", f"--pid-file={self.root}/pid", *network, "--skip-log-bin", *options]

    def _program(self) -> list[str]:
        return [str(find_program("mysqld")), "--no-defaults", *self._user(), f"--datadir={self.data}", f"--tmpdir={self.root}/tmp"]
