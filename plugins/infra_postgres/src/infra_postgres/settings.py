"""Settings of PostgreSQL databases."""

from __future__ import annotations

from typing import Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import Field

from infra.database.settings import ServerDatabaseSettings
from infra.kernel.settings import Seconds

#: What libpq's ``sslmode`` means here.
_SSL_MODES: Final = {
    "disable": "disable",
    "allow": "prefer",
    "prefer": "prefer",
    "require": "require",
    "verify-ca": "verify",
    "verify-full": "verify",
}


class PostgresSettings(ServerDatabaseSettings):
    """A database on a PostgreSQL server."""

    driver: Literal["psycopg", "asyncpg"] = Field("psycopg", description="What asyncio hosts connect with; blocking hosts use psycopg.")
    application_name: str = Field("infra", description="What the server's own views call these connections.")
    network_timeout: Seconds = Field(
        10.0,
        description="Seconds without a byte after which the server is asked for a sign of life, and left without one (psycopg). 0: never.",
    )
    jit: bool = Field(False, description="Compile expensive queries: seldom worth its time for short ones.")

    @classmethod
    def expand_url(cls, url: str) -> dict[str, object]:
        """``postgresql+asyncpg://`` names the driver; ``sslmode``, ``sslrootcert`` and the like mean what libpq says."""
        fields: dict[str, Any] = super().expand_url(url)
        variant = urlsplit(url).scheme.partition("+")[2]
        if variant:
            fields.setdefault("driver", "psycopg" if variant == "psycopg2" else variant)
        for name, ours in (("sslmode", "tls"), ("ssl", "tls")):
            if name in fields:
                mode = fields.pop(name)
                fields.setdefault(ours, _SSL_MODES.get(mode, mode))
        if "sslrootcert" in fields:
            fields.setdefault("tls_ca", fields.pop("sslrootcert"))
        return fields
