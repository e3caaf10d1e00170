from __future__ import annotations

from collections.abc import Hashable
from typing import ClassVar, Literal

from pydantic import Field

from infra.plugin import ProviderSettings, Seconds, Secret


class ClockSettings(ProviderSettings):
    precision: int = Field(3, ge=0, le=9)
    after: list[str] = Field(default_factory=list)

    def dependencies(self) -> list[str]:
        return [*self.depends_on, *self.after]


class NtpSettings(ClockSettings):
    url_fields: ClassVar = {"username": "username", "password": "password", "host": "host", "port": "port", "path": "zone"}

    host: str
    port: int = 123
    username: str | None = None
    password: Secret | None = None
    zone: str = "UTC"
    mode: Literal["client", "peer"] = "client"
    delay: Seconds = 0.0
    servers: list[str] = Field(default_factory=list)
    labels: dict[str, str] = Field(default_factory=dict)
    fail: str | None = None

    def share_key(self) -> Hashable:
        return (self.host, self.port)
