"""Where a Redis server is: the settings that the cache and the queue have in common."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from infra.plugin import ProviderSettings, Secret


class RedisSettings(ProviderSettings):
    """Where the server is and how to get in: ``redis://user:password@host:6379/0``, ``rediss://`` with TLS."""

    url_fields: ClassVar[Mapping[str, str]] = {**ProviderSettings.url_fields, "path": "db"}

    host: str = Field("localhost", min_length=1, description="The server.")
    port: int = Field(6379, ge=1, le=65535, description="Its port.")
    db: int = Field(0, ge=0, description="The number of the database.")
    username: str | None = Field(None, description="The user of Redis' access control; else the default one.")
    password: Secret | None = Field(None, description="The password; read anew for each connection, so that it can change.")
    client_name: str | None = Field(None, pattern=r"^[!-~]+$", description="How the server's `CLIENT LIST` names the connections.")
    max_connections: int = Field(16, ge=1, description="Most connections; further calls wait for a free one within their timeout.")
    tls: bool = Field(False, description="Encrypt; a `rediss://` URL says so.")
    tls_verify: bool = Field(True, description="Whether the server's certificate must be valid and name the host.")
    tls_ca: Path | None = Field(None, description="The authority that signed the server's certificate; else the system's.")
    tls_cert: Path | None = Field(None, description="The client's certificate, where the server asks for one.")
    tls_key: Path | None = Field(None, description="The key of `tls_cert`.")

    @classmethod
    def expand_url(cls, url: str) -> dict[str, object]:
        """The fields that a URL stands for; the scheme says whether to encrypt."""
        return {**super().expand_url(url), **({"tls": True} if url.startswith("rediss:") else {})}

    def share_key(self) -> Hashable | None:
        """Resources on the same server share their connections."""
        return self.connection_key()

    def connection_arguments(self) -> dict[str, Any]:
        """What redis-py's connections are made with: RESP2, no repetition, and nothing sent that is not needed."""
        from infra_redis.credentials import RevealedCredentials

        arguments: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "db": self.db,
            "client_name": self.client_name,
            "driver_info": None,
            "protocol": 2,
            "socket_keepalive": True,
        }
        if self.password is not None:
            arguments["credential_provider"] = RevealedCredentials(self.username, self.password)
        elif self.username:
            arguments["username"] = self.username
        if self.tls:
            arguments |= {
                "ssl_cert_reqs": "required" if self.tls_verify else "none",
                "ssl_check_hostname": self.tls_verify,
                "ssl_ca_certs": self.tls_ca and str(self.tls_ca),
                "ssl_certfile": self.tls_cert and str(self.tls_cert),
                "ssl_keyfile": self.tls_key and str(self.tls_key),
            }
        return arguments
