"""Settings of the providers on the openai package."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import ClassVar, Literal

from pydantic import Field

from infra.kernel.settings import Secret
from infra.llm.model import LLMFeature
from infra.llm.settings import LLMSettings


class ProtocolSettings(LLMSettings):
    """What holds for every server of the protocol."""

    url_fields: ClassVar[Mapping[str, str]] = {}

    api_key: Secret | None = Field(None, description="The API key, or a reference to it; read again for each call.")
    headers: dict[str, str] = Field(default_factory=dict[str, str], description="Further headers of each request; nothing secret.")
    lacks: list[LLMFeature] = Field(
        default_factory=list[LLMFeature], description="Features that the server or model does not have, such as `json-schema`."
    )
    limit_name: Literal["max_completion_tokens", "max_tokens"] | None = Field(
        None,
        description="By which name the server takes the token limit; else the provider's usual one, and the other once that is refused.",
    )
    stream_usage: bool = Field(
        True, description="Ask for the usage at the end of a stream; not again once the server refuses the question."
    )
    embed_batch: int = Field(2048, ge=1, le=2048, description="The most texts of one request for embeddings.")
    embed_encoding: Literal["auto", "base64", "float"] = Field(
        "auto", description="How vectors travel; `auto` asks for base64, which is shorter, until the server refuses that."
    )
    transport: Literal["auto", "httpx", "aiohttp"] = Field(
        "auto", description="What asyncio hosts send with; `auto` takes aiohttp, which is faster, when it is installed."
    )

    def share_key(self) -> Hashable | None:
        """Resources that differ on the portable side only use one client."""
        return (type(self).__qualname__, self.provider, self.connection_key())


class OpenAISettings(ProtocolSettings):
    """OpenAI itself, or another server by its address."""

    base_url: str | None = Field(None, description="The server's address up to and with `/v1`; OpenAI's when not given.")
    organization: str | None = Field(None, description="The organisation that is billed.")
    project: str | None = Field(None, description="The project that is billed.")


class AzureSettings(ProtocolSettings):
    """Azure OpenAI; `model` is the name of a deployment."""

    endpoint: str = Field(description="The resource's address, such as `https://example.openai.azure.com`.")
    api_version: str = Field("2024-10-21", description="The version of the API.")
    ad_token: Secret | None = Field(None, description="A Microsoft Entra token, or a reference to it, instead of the API key.")


class CompatibleSettings(ProtocolSettings):
    """A server of one's own."""

    base_url: str | None = Field(None, description="The server's address up to and with `/v1`; its usual local one when not given.")
