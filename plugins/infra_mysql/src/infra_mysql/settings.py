"""Settings of MySQL and MariaDB databases."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from infra.database.settings import ServerDatabaseSettings
from infra.kernel.settings import Seconds

Driver = Literal["pymysql", "mysqlclient", "asyncmy", "aiomysql"]

#: The drivers of each door, its default first.
BLOCKING: Final[tuple[Driver, ...]] = ("pymysql", "mysqlclient")
ASYNCIO: Final[tuple[Driver, ...]] = ("asyncmy", "aiomysql")
#: What MySQL's own clients and SQLAlchemy's URLs call the modes of TLS.
_SSL_MODES: Final = {
    "disabled": "disable",
    "preferred": "prefer",
    "required": "require",
    "verify_ca": "verify",
    "verify_identity": "verify",
    "true": "require",
    "false": "disable",
}
_SQL_MODE: Final = re.compile(r"[A-Z_]+(,[A-Z_]+)*")


class MySQLSettings(ServerDatabaseSettings):
    """A database on a MySQL or MariaDB server."""

    driver: list[Driver] = Field(
        default_factory=list[Driver],
        description="What to connect with: `pymysql` (the default) or `mysqlclient` for blocking hosts, "
        "`asyncmy` (the default) or `aiomysql` for asyncio hosts; one of each at most.",
    )
    unix_socket: str | None = Field(None, description="The server's socket file; beats `host` and `port`.")
    charset: Literal["utf8mb4"] = Field("utf8mb4", description="The character set of connections: all of Unicode.")
    sql_mode: str | None = Field(
        None, description="The sessions' SQL mode, which must be a strict one; the server's own when not given, which is checked."
    )
    read_timeout: Seconds = Field(
        0.0, description="Seconds to wait for bytes of the server, more than any statement takes; 0 for no limit. Not with aiomysql."
    )
    write_timeout: Seconds = Field(0.0, description="Seconds that sending may take; 0 for no limit. Blocking hosts only.")

    @field_validator("driver")
    @classmethod
    def _one_a_door(cls, value: Sequence[Driver]) -> Sequence[Driver]:
        for door in (BLOCKING, ASYNCIO):
            if len(set(value) & set(door)) > 1:
                raise ValueError(f"choose one of {' and '.join(door)}")
        return value

    @field_validator("sql_mode")
    @classmethod
    def _strict(cls, value: str | None) -> str | None:
        if value is None:
            return None
        mode = value.upper().replace(" ", "")
        if not _SQL_MODE.fullmatch(mode):
            raise ValueError("names of modes, separated by commas")
        if not is_strict(mode):
            raise ValueError("add STRICT_TRANS_TABLES: without it the server cuts values that do not fit")
        return mode

    def driver_of(self, is_async: bool) -> Driver:
        """The driver of one door."""
        door = ASYNCIO if is_async else BLOCKING
        return door[1] if door[1] in self.driver else door[0]

    @classmethod
    def expand_url(cls, url: str) -> dict[str, object]:
        """``mysql+aiomysql://`` names the driver; ``ssl_mode``, ``ssl_ca`` and the like mean what MySQL's own clients say."""
        fields: dict[str, Any] = super().expand_url(url)
        variant = urlsplit(url).scheme.partition("+")[2]
        if variant:
            fields.setdefault("driver", "mysqlclient" if variant == "mysqldb" else variant)
        for name in ("ssl_mode", "ssl-mode", "ssl"):
            if name in fields:
                mode = str(fields.pop(name)).lower()
                fields.setdefault("tls", _SSL_MODES.get(mode, mode))
        for name in ("ssl_ca", "ssl-ca"):
            if name in fields:
                fields.setdefault("tls_ca", fields.pop(name))
        return fields


def is_strict(sql_mode: str) -> bool:
    """Whether a server in this mode refuses values that do not fit, instead of cutting them."""
    return not {"STRICT_TRANS_TABLES", "STRICT_ALL_TABLES", "TRADITIONAL"}.isdisjoint(sql_mode.upper().split(","))
