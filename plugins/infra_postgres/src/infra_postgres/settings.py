"""Settings of PostgreSQL databases."""

from __future__ import annotations

import re
from typing import Any, Final, Literal
from urllib.parse import unquote, urlsplit, urlunsplit

from pydantic import Field, field_validator, model_validator

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
_WORD: Final = re.compile(r"(?:\\.|[^\s\\])+")
_NAME: Final = re.compile(r"[A-Za-z_][\w.]*")


class PostgresSettings(ServerDatabaseSettings):
    """A database on a PostgreSQL server."""

    driver: Literal["psycopg", "asyncpg"] = Field("psycopg", description="What asyncio hosts connect with; blocking hosts use psycopg.")
    application_name: str = Field("infra", description="What the server's own views call these connections.")
    network_timeout: Seconds = Field(
        10.0,
        description="Seconds without a byte after which the server is asked for a sign of life, and left without one (psycopg). 0: never.",
    )
    hosts: list[str] = Field(
        default_factory=list, description="Several servers, as `host:port`, tried in order until one is as `target_session_attrs` says."
    )
    target_session_attrs: Literal["any", "read-write", "read-only", "primary", "standby", "prefer-standby"] | None = Field(
        None, description="Which of several servers to take."
    )
    channel_binding: Literal["disable", "prefer", "require"] | None = Field(
        None, description="Whether the login is bound to the TLS connection (psycopg)."
    )
    options: str | None = Field(None, description="Further settings of sessions, as libpq writes them: `-c search_path=app`.")
    pooler: Literal["transaction"] | None = Field(
        None,
        description="`transaction`: a pooler such as PgBouncer lends a server's session for one transaction at a time; "
        "settings and locks are the transaction's then, nothing is prepared, and there is no NOTIFY.",
    )
    jit: bool = Field(False, description="Compile expensive queries: seldom worth its time for short ones.")

    @field_validator("options")
    @classmethod
    def _readable(cls, value: str | None) -> str | None:
        if value is not None:
            option_values(value)
        return value

    @model_validator(mode="after")
    def _together(self) -> PostgresSettings:
        if self.channel_binding == "require" and self.driver == "asyncpg":
            raise ValueError("asyncpg knows no channel binding: leave `channel_binding` out, or choose psycopg")
        return self

    @classmethod
    def expand_url(cls, url: str) -> dict[str, object]:
        """What libpq's URLs mean: several hosts, a socket's folder as host, `options`, ``sslmode`` and the like.

        ``postgresql+asyncpg://`` names the driver.
        """
        parts = urlsplit(url)
        account, at, places = parts.netloc.rpartition("@")
        hosts = [(unquote(host), port) for host, port in map(_place, places.split(","))]
        plain = len(hosts) == 1 and not hosts[0][0].startswith("/")
        fields: dict[str, Any] = super().expand_url(url if plain else urlunsplit(parts._replace(netloc=f"{account}{at}")))
        if not plain:
            fields.setdefault("host", hosts[0][0])
            if hosts[0][1]:
                fields.setdefault("port", hosts[0][1])
            if len(hosts) > 1:
                fields.setdefault("hosts", [f"{host}:{port}" if port else host for host, port in hosts])
        variant = parts.scheme.partition("+")[2]
        if variant:
            fields.setdefault("driver", "psycopg" if variant in ("psycopg2", "psycopg_async") else variant)
        for name, ours in (("sslmode", "tls"), ("ssl", "tls")):
            if name in fields:
                mode = fields.pop(name)
                fields.setdefault(ours, _SSL_MODES.get(mode, mode))
        for name, ours in (("sslrootcert", "tls_ca"), ("user", "username"), ("dbname", "database")):
            if name in fields:
                fields.setdefault(ours, fields.pop(name))
        return fields


def option_values(options: str) -> dict[str, str]:
    """The settings in libpq's `options`.

    Raises:
        ValueError: It has something else.
    """
    found: dict[str, str] = {}
    words = iter(_WORD.findall(options))
    for word in words:
        text = re.sub(r"\\(.)", r"\1", next(words, "") if word == "-c" else word.removeprefix("-c" if word.startswith("-c") else "--"))
        name, equals, value = text.partition("=")
        if not word.startswith(("-c", "--")) or not equals or not _NAME.fullmatch(name):
            raise ValueError(f"write settings as `-c name=value`, not {word!r}")
        found[name] = value
    return found


def _place(text: str) -> tuple[str, str]:
    """Host and port of one place in a URL; an address of IPv6 stands in brackets."""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        return host, port.removeprefix(":")
    host, _, port = text.partition(":")
    return host, port
