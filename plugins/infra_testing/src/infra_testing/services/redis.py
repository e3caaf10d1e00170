"""A private Redis that writes each change to disk before it answers."""

from __future__ import annotations

from collections.abc import Mapping

from infra_testing.services.certificates import make_certificates
from infra_testing.services.programs import find_program, version_of
from infra_testing.services.server import Server
from infra_testing.services.wire import exchange


class RedisServer(Server):
    """Redis on a free port.

    Args:
        options: Further settings by their names in redis.conf, such as ``{"maxmemory": "10mb"}``.
    """

    name = "redis"
    remedy = "redis-server"
    packaged = True

    def __init__(self, options: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.options = {"appendonly": "yes", "appendfsync": "always", "save": "", **(options or {})}

    @classmethod
    def find_version(cls) -> str:
        """The version of the installed server."""
        return version_of(find_program("redis-server"), "--version")

    def command(self) -> list[str]:
        """The server in the foreground."""
        options = [part for name, value in self.options.items() for part in (f"--{name}", value)]
        return [str(find_program("redis-server")), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.root), *options]

    def ping(self) -> bool:
        """Answers once the data is loaded, even when it asks for a password."""
        return exchange(self.port, b"PING\r\n").startswith((b"+PONG", b"-NOAUTH"))

    @property
    def url(self) -> str:
        """Database 0, which other tests of the run use as well when the server is shared: use keys of your own."""
        password = self.options.get("requirepass")
        return f"redis://{f':{password}@' if password else ''}127.0.0.1:{self.port}/0"


class TLSRedisServer(RedisServer):
    """Redis that speaks TLS only, with a certificate for localhost that an authority of its own has signed."""

    def prepare(self) -> None:
        """Make the authority and the certificate."""
        make_certificates(self.root)

    def command(self) -> list[str]:
        """No port but the encrypted one."""
        tls = [
            "--tls-port",
            str(self.port),
            "--tls-ca-cert-file",
            "ca.crt",
            "--tls-cert-file",
            "server.crt",
            "--tls-key-file",
            "server.key",
        ]
        return [*super().command(), "--port", "0", *tls, "--tls-auth-clients", "no"]

    def ping(self) -> bool:
        """Answers what is no TLS by hanging up, or with an alert."""
        return self.log.exists() and "Ready to accept connections" in self.log.read_text(errors="replace")
