"""The providers on the openai package, against the suites that hold for every provider and for every one over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from infra_testing.conformance.llm import SCRIPT, AsyncLLMConformance, AsyncLLMOverHTTPCases, LLMConformance, LLMOverHTTPCases
from infra_testing.harness import Harness
from infra_testing.llm_server import ScriptedLLMServer


@pytest.fixture(autouse=True)
def scripted(request: pytest.FixtureRequest, llm_server: ScriptedLLMServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each resource that a case opens talks to a script of its own."""
    kind = request.cls

    def settings() -> dict[str, Any]:
        _, url = llm_server.session(SCRIPT, key="test-key")
        return {"embed_batch": 16, **request.instance.settings_at(url, "test-key"), **kind.settings}

    monkeypatch.setattr(kind, "harness", Harness(kind.provider, settings, plugin="infra_openai"), raising=False)


class OpenAI:
    provider = "openai"
    settings: dict[str, Any] = {}


class Azure:
    provider = "azure"
    settings = {"model": "a-deployment", "embedding_model": "a-deployment"}

    def settings_at(self, url: str, key: object) -> dict[str, object]:
        return {"endpoint": url, "api_key": key}


class TestOpenAI(OpenAI, LLMConformance, LLMOverHTTPCases):
    pass


class TestAsyncOpenAI(OpenAI, AsyncLLMConformance, AsyncLLMOverHTTPCases):
    settings = {"transport": "httpx"}


class TestAzure(Azure, LLMOverHTTPCases):
    pass


class TestAsyncAzureOverAiohttp(Azure, AsyncLLMOverHTTPCases):
    settings = {**Azure.settings, "transport": "aiohttp"}
