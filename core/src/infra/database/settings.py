"""Settings that every database provider shares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from infra.kernel.settings import ProviderSettings, Seconds, Secret


class DatabaseSettings(ProviderSettings):
    """What every database can be told, whatever its provider."""

    portable_fields: ClassVar[frozenset[str]] = ProviderSettings.portable_fields | {
        "pool_size",
        "max_overflow",
        "pool_recycle",
        "pool_pre_ping",
        "pool_timeout",
        "expire_on_commit",
        "echo",
        "migrations",
        "cursor_key",
        "session_class",
    }

    pool_size: int = Field(10, ge=1, description="Connections that are kept open.")
    max_overflow: int = Field(10, ge=0, description="Further connections under load.")
    pool_recycle: Seconds = Field(900, description="Seconds after which a connection is replaced.")
    pool_pre_ping: bool = Field(True, description="Test an idle connection before it is used.")
    pool_timeout: Seconds = Field(5.0, description="Seconds to wait for a free connection.")
    statement_timeout: Seconds = Field(30.0, description="Seconds that a statement may take; 0 for no limit.")
    lock_timeout: Seconds = Field(5.0, description="Seconds to wait for a lock.")
    idle_in_transaction_timeout: Seconds = Field(60.0, description="Seconds that a transaction may be idle; 0 for no limit.")
    expire_on_commit: bool = Field(False, description="Whether objects are reloaded after a commit.")
    echo: bool | None = Field(None, description="Log every statement; never in production, whatever this says.")
    cursor_key: Secret | None = Field(
        None, description="Signs paging cursors; when not given a key derived from the connection's URL does."
    )
    session_class: str | None = Field(
        None,
        description="The class of sessions, as `module:Class`: SQLModel's or another subclass of SQLAlchemy's Session or AsyncSession.",
    )
    migrations: Literal["managed", "external"] = Field("managed", description="`external` databases are validated, never changed.")

    @field_validator("session_class", mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
        """In code the class itself may be given."""
        return f"{value.__module__}:{value.__qualname__}" if isinstance(value, type) else value


class ServerDatabaseSettings(DatabaseSettings):
    """What every database on a server can be told."""

    url_fields: ClassVar[Mapping[str, str]] = {
        "username": "username",
        "password": "password",
        "host": "host",
        "port": "port",
        "path": "database",
    }

    host: str = Field("localhost", description="The server's name or address.")
    port: int | None = Field(None, ge=1, le=65535, description="The server's port; else the provider's usual one.")
    username: str | None = Field(None, description="The account.")
    password: Secret | None = Field(None, description="The account's password.")
    database: str | None = Field(None, description="The database's name on the server.")
    connect_timeout: Seconds = Field(5.0, description="Seconds that connecting may take.")
    isolation: Literal["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] = Field("READ COMMITTED", description="The isolation level.")
    tls: Literal["verify", "require", "prefer", "disable"] | None = Field(
        None, description="`verify` checks certificate and name: the default in production; elsewhere `prefer`."
    )
    tls_ca: str | None = Field(None, description="A file with the certificate authorities to trust.")
    replicas: list[str] = Field(default_factory=list, description="URLs of read-only copies.")
