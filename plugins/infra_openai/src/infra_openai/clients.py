"""The openai package's clients, told everything by our settings: what they would read from the environment is taken out."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import quote, urlsplit

from infra.errors import ConfigurationError
from infra.kernel.secrets import SecretUnavailableError
from infra.llm.errors import AuthenticationError
from infra.plugin import OpenContext, Secret
from infra_openai.rows import ROWS, Row
from infra_openai.sdk import SDK
from infra_openai.settings import AzureSettings, OpenAISettings, ProtocolSettings

_NO_KEY = "none"  # what an unwrapped client sends to a server that wants no key


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where requests go, and with which key.

    Args:
        row: The provider.
        url: The base URL, without a slash at its end.
        key: The key or token; None when the server wants none.
        azure: Whether the model is part of the path.
        bearer: Whether the key goes into ``Authorization``, not into ``api-key``.
        remedy: What to do about a key that cannot be sent.
    """

    row: Row
    url: str
    key: Secret | None
    azure: bool = False
    bearer: bool = True
    remedy: str | None = None

    @property
    def address(self) -> str:
        """Host and port, for messages."""
        parts = urlsplit(self.url)
        return parts.netloc.rpartition("@")[2]

    def path(self, operation: str, model: str) -> str:
        """The path of an operation, below the base URL."""
        return f"/deployments/{quote(model, safe='')}{operation}" if self.azure else operation

    def reveal(self) -> str | None:
        """The key as its source has it now.

        Raises:
            AuthenticationError: Its source is gone, or holds what no header can carry.
        """
        if self.key is None:
            return None
        try:
            key = self.key.reveal().strip()  # a file or a variable that was filled by a program often ends with a line end
        except SecretUnavailableError as error:
            raise AuthenticationError(f"the API key cannot be read: {error}", attempts=0) from None
        if not key:
            raise AuthenticationError("the API key is empty", attempts=0, remedy=self.remedy)
        if not (key.isascii() and key.isprintable()):
            raise AuthenticationError(
                "the API key holds a line end or a character that no header can carry", attempts=0, remedy=self.remedy
            )
        return key

    def headers(self, sdk: SDK, key: str | None) -> dict[str, Any]:
        """The headers that carry `key`."""
        if not self.bearer:
            return {"api-key": key}
        return {"Authorization": sdk.openai.Omit() if key is None else f"Bearer {key}"}


def endpoint_of(settings: ProtocolSettings, context: OpenContext) -> Endpoint:
    """Where the settings point.

    Raises:
        ConfigurationError: A key is missing, or the address is none.
    """
    row = ROWS[context.provider]
    if isinstance(settings, AzureSettings):
        url, setting = settings.endpoint.strip().rstrip("/") + "/openai", "endpoint"
        key, bearer = settings.ad_token or settings.api_key, bool(settings.ad_token)
    else:
        given: str | None = getattr(settings, "base_url", None)
        url, setting = (given or row.base_url or "").strip().rstrip("/"), "base_url"
        key, bearer = settings.api_key, True
    if not _is_address(url):
        raise ConfigurationError(
            f"`{setting}` is not an http or https address",
            resource=context.resource,
            provider=context.provider,
            remedy=f"correct {context.origins((setting,)) or f'`{setting}`'}: write it such as https://api.example.com/v1",
        )
    if not key:
        if row.keyed and (isinstance(settings, AzureSettings) or url == row.base_url):
            name = "AZURE_OPENAI_API_KEY" if isinstance(settings, AzureSettings) else "OPENAI_API_KEY"
            raise ConfigurationError(
                "it has no API key", resource=context.resource, provider=context.provider, remedy=f"set `api_key`, or {name}"
            )
        key = None
    for name, value in settings.headers.items():
        if not (name.isascii() and name.isprintable() and name and " " not in name and value.isascii() and value.isprintable()):
            raise ConfigurationError(
                f"`headers` has a name or a value that no header can carry: {name!r}",
                resource=context.resource,
                provider=context.provider,
                remedy=f"correct {context.origins(('headers',)) or '`headers`'}: printable ASCII, on one line",
            )
    named = "ad_token" if isinstance(settings, AzureSettings) and settings.ad_token else "api_key"
    remedy = f"correct {context.origins((named,)) or f'`{named}`'}"
    return Endpoint(row, url, key, isinstance(settings, AzureSettings), bearer, remedy)


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and url.isprintable() and " " not in url
    except ValueError:  # brackets or a port that are none
        return False


def identity_of(settings: ProtocolSettings, endpoint: Endpoint) -> dict[str, str]:
    """All of the endpoint that changes answers; of headers, a digest."""
    found = {"base_url": endpoint.url}
    for name in ("organization", "project", "api_version"):
        if (value := getattr(settings, name, None)) is not None:
            found[name] = value
    if settings.headers:
        found["headers"] = sha256(repr(sorted(settings.headers.items())).encode()).hexdigest()
    return found


def blocking_client(sdk: SDK, settings: ProtocolSettings, endpoint: Endpoint) -> Any:
    """A client for threads."""
    kind = sdk.openai.AzureOpenAI if endpoint.azure else sdk.openai.OpenAI
    http = sdk.openai.DefaultHttpxClient(**_security(endpoint))
    return _bare(
        kind(**_arguments(settings, endpoint, _NO_KEY if endpoint.key is None else lambda: endpoint.reveal() or _NO_KEY), http_client=http),
        settings,
    )


def asyncio_client(sdk: SDK, settings: ProtocolSettings, endpoint: Endpoint) -> Any:
    """A client for the running event loop."""

    async def reveal() -> str:
        return endpoint.reveal() or _NO_KEY

    kind = sdk.openai.AsyncAzureOpenAI if endpoint.azure else sdk.openai.AsyncOpenAI
    http = None
    if settings.transport != "httpx":
        try:
            http = sdk.openai.DefaultAioHttpClient(**_security(endpoint))
        except RuntimeError:  # it is not installed
            if settings.transport == "aiohttp":
                raise ConfigurationError(
                    "`transport` asks for aiohttp, which is not installed", remedy="pip install infra-openai[aiohttp], or leave it out"
                ) from None
    http = http or sdk.openai.DefaultAsyncHttpxClient(**_security(endpoint))
    return _bare(kind(**_arguments(settings, endpoint, reveal), http_client=http), settings)


def _security(endpoint: Endpoint) -> dict[str, Any]:
    """Without TLS nothing is verified: the certificates of the authorities, which take longest to load, are left out."""
    return {} if endpoint.url.startswith("https:") else {"verify": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)}


def _arguments(settings: ProtocolSettings, endpoint: Endpoint, key: Any) -> dict[str, Any]:
    common: dict[str, Any] = {"max_retries": 0, "default_headers": dict(settings.headers)}
    if isinstance(settings, AzureSettings):
        common |= {"azure_endpoint": endpoint.url.removesuffix("/openai"), "api_version": settings.api_version}
        return common | ({"azure_ad_token_provider": key} if endpoint.bearer else {"api_key": key})
    return common | {"base_url": endpoint.url, "api_key": key}


def _bare(client: Any, settings: ProtocolSettings) -> Any:
    """The client without what it took from the environment: OPENAI_ORG_ID, OPENAI_PROJECT_ID, OPENAI_ADMIN_KEY, OPENAI_CUSTOM_HEADERS."""
    told = settings if isinstance(settings, OpenAISettings) else None
    client.organization = told.organization if told else None
    client.project = told.project if told else None
    client.admin_api_key = None
    client._custom_headers = dict(settings.headers)
    return client
