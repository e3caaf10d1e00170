"""The base classes of typed settings: of providers, and of a host's own sections."""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Hashable, Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from annotated_types import Ge
from pydantic import BeforeValidator, Field, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from infra.errors import ErrorCode
from infra.kernel.secrets import Secret as Secret

_DURATION = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>ms|s|m|min|h|d)")
_UNIT = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_COLLECTIONS = (list, tuple, set, frozenset, dict)

_PLACE = ("endpoint", "base_url", "host", "port", "tls")
_ACCOUNT = ("username", "password", "api_key", "ad_token", "profile", "access_key_id", "secret_access_key", "session_token")


def _to_seconds(value: object) -> object:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, str) and (match := _DURATION.fullmatch(value.strip().lower())):
        return float(match["number"]) * _UNIT[match["unit"]]
    return value


#: A duration in seconds: a number, a timedelta, or text such as ``250ms``, ``5s``, ``2m``, ``1h``, ``1d``.
Seconds = Annotated[float, BeforeValidator(_to_seconds), Ge(0)]


class LayeredSettings(BaseSettings):
    """Settings whose values the kernel has merged from its layers; they read no environment of their own."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, arbitrary_types_allowed=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what the kernel passes in."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)

    @model_validator(mode="before")
    @classmethod
    def _split_collections(cls, values: Any) -> Any:
        """Text from the environment for a collection field: JSON, or items separated by commas."""
        if not isinstance(values, dict):
            return values
        split: dict[str, Any] = dict(typing.cast("dict[str, Any]", values))
        for name, value in split.items():
            field = cls.model_fields.get(name)
            if field is None or not isinstance(value, str) or not _is_collection(field.annotation):
                continue
            text = value.strip()
            split[name] = json.loads(text) if text[:1] in ("[", "{") else [item.strip() for item in text.split(",") if item.strip()]
        return split


def _is_collection(annotation: Any) -> bool:
    origins = [typing.get_origin(annotation) or annotation]
    if not isinstance(origins[0], type):  # a union: any member counts unless plain text is one too
        members = typing.get_args(annotation)
        if str in members:
            return False
        origins = [typing.get_origin(member) or member for member in members]
    return any(isinstance(origin, type) and issubclass(origin, _COLLECTIONS) for origin in origins)


class ProviderSettings(LayeredSettings):
    """What every resource can be told, whatever its capability and provider."""

    #: Fields of the portable side, in which resources that share one driver may differ. Subclasses extend it.
    portable_fields: ClassVar[frozenset[str]] = frozenset({"provider", "required", "startup", "open_timeout", "require", "depends_on"})
    #: Which field each part of a URL fills: username, password, host, port, path, fragment.
    url_fields: ClassVar[Mapping[str, str]] = {
        "username": "username",
        "password": "password",
        "host": "host",
        "port": "port",
        "path": "path",
    }

    #: The settings to look at when the server answers so, or does not answer; those that a provider does not have are passed over.
    suspects: ClassVar[Mapping[ErrorCode, tuple[str, ...]]] = {
        ErrorCode.UNAVAILABLE: _PLACE,
        ErrorCode.TIMEOUT: _PLACE,
        ErrorCode.UNAUTHENTICATED: _ACCOUNT,
        ErrorCode.PERMISSION_DENIED: _ACCOUNT,
        ErrorCode.CONFIGURATION: ("database", "bucket", "queue", "vhost"),
        ErrorCode.NOT_FOUND: ("model", "queue"),
    }

    #: Features that the provider has with certain settings only, and what to do for them.
    enabling: ClassVar[Mapping[str, str]] = {}

    provider: str | None = Field(None, description="The provider's name; else the URL's scheme decides, else the embedded default.")
    required: bool = Field(True, description="Whether start-up fails when this resource cannot open.")
    startup: Literal["eager", "lazy"] = Field("eager", description="Open at start-up, or on first use.")
    open_timeout: Seconds = Field(10.0, description="Seconds that opening may take.")
    require: list[str] = Field(default_factory=list, description="Features that the provider must have, checked at open.")
    depends_on: list[str] = Field(default_factory=list, description="Resources to open before this one, such as `cache.main`.")
    threads: int = Field(8, ge=1, le=256, description="Threads for asyncio hosts, where the provider's driver is a blocking one.")

    @classmethod
    def expand_url(cls, url: str) -> dict[str, object]:
        """The fields that a URL stands for: its parts by `url_fields`, its query parameters by their names."""
        parts = urlsplit(url)
        found: dict[str, object] = {
            "username": unquote(parts.username) if parts.username else None,
            "password": unquote(parts.password) if parts.password else None,
            "host": parts.hostname,
            "port": parts.port,
            "path": unquote(parts.path.removeprefix("/")) or None,
            "fragment": unquote(parts.fragment) or None,
        }
        fields: dict[str, object] = {name: found[part] for part, name in cls.url_fields.items() if found.get(part) is not None}
        return fields | dict(parse_qsl(parts.query, keep_blank_values=True))

    def place(self) -> str | None:
        """Where the server is, for messages: host and port, without account; None for what has no server, or a well-known one."""
        address: str | None = getattr(self, "endpoint", None) or getattr(self, "base_url", None)
        if address is not None:
            return urlsplit(address).netloc.rpartition("@")[2] or None
        host, port = getattr(self, "host", None), getattr(self, "port", None)
        return f"{host}:{port}" if host and port else host

    def tls_expected(self) -> bool:
        """Whether the server has to speak TLS: one that does not may just keep silent."""
        return getattr(self, "tls", None) is True

    def dependencies(self) -> list[str]:
        """The full names of the resources to open before this one."""
        return self.depends_on

    def share_key(self) -> Hashable | None:
        """Resources with equal keys share one driver; None, the default, means that this one shares with nobody."""
        return None

    def connection_key(self) -> Hashable:
        """All values that are not of the portable side, for `share_key`."""
        return tuple((name, _hashable(getattr(self, name))) for name in type(self).model_fields if name not in self.portable_fields)


def _hashable(value: object) -> Hashable:
    if isinstance(value, dict):
        return tuple(sorted((key, _hashable(item)) for key, item in typing.cast("dict[str, object]", value).items()))
    if isinstance(value, list | tuple | set | frozenset):
        return tuple(_hashable(item) for item in typing.cast("list[object]", value))
    return typing.cast(Hashable, value)


class Section(LayeredSettings):
    """A typed section of a host's own settings: ``class ApiSettings(infra.Section, section="api")``.

    Its values come from the same layers as those of resources: ``[api]`` in infra.toml, ``INFRA_API__PORT`` in the environment. Read it
    with ``services.section(ApiSettings)``.
    """

    section_name: ClassVar[str] = ""

    def __init_subclass__(cls, section: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.section_name = section or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__.removesuffix("Settings")).lower()
