"""OpenAI, Azure OpenAI, and servers that speak the OpenAI protocol. Descriptors only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from infra.plugin import Provider, hookimpl


def _provider(name: str, summary: str, settings: str, telemetry: str, fills: Mapping[str, tuple[str, ...]] | None = None) -> Provider:
    return Provider(
        name=name,
        summary=summary,
        settings=f"infra_openai.settings:{settings}",
        open="infra_openai.driver:open_driver",
        open_async="infra_openai.driver:open_driver_async",
        modules=("openai",),
        fills=fills or {},
        telemetry_system=telemetry,
        docs=f"docs/providers/{name}.md",
    )


@hookimpl
def infra_llm() -> Sequence[Provider]:
    """One driver; the providers differ in address, authentication and what their servers can do."""
    return [
        _provider(
            "openai",
            "OpenAI, and any server that speaks its protocol, by `base_url`",
            "OpenAISettings",
            "openai",
            {"api_key": ("OPENAI_API_KEY",), "model": ("OPENAI_MODEL",), "base_url": ("OPENAI_BASE_URL",)},
        ),
        _provider(
            "azure",
            "deployments of Azure OpenAI",
            "AzureSettings",
            "azure.ai.openai",
            {"api_key": ("AZURE_OPENAI_API_KEY",), "endpoint": ("AZURE_OPENAI_ENDPOINT",), "api_version": ("OPENAI_API_VERSION",)},
        ),
        _provider("vllm", "a vLLM server", "CompatibleSettings", "vllm"),
        _provider("ollama", "an Ollama server", "CompatibleSettings", "ollama"),
        _provider("lmstudio", "an LM Studio server", "CompatibleSettings", "lmstudio"),
    ]
