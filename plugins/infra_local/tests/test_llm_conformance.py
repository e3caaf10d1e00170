"""The offline provider, against the suite that holds for every provider; its blocking driver also under asyncio, through threads."""

from __future__ import annotations

from dataclasses import replace

from infra.llm.threaded import ThreadedLLMDriver
from infra.plugin import Provider
from infra_testing.conformance.llm import SCRIPT, AsyncLLMConformance, LLMConformance
from infra_testing.harness import Harness


class BlockingOnly(Harness):
    """A provider whose asyncio driver is left out."""

    def descriptor(self, capability: str) -> Provider:
        return replace(super().descriptor(capability), open_async=None)


class TestOffline(LLMConformance):
    harness = Harness("offline", settings={"script": SCRIPT})


class TestAsyncOffline(AsyncLLMConformance):
    harness = Harness("offline", settings={"script": SCRIPT})


class TestThreadedOffline(AsyncLLMConformance):
    harness = BlockingOnly("offline", settings={"script": SCRIPT})

    async def test_it_runs_in_threads(self, opened: object) -> None:
        resource = await opened()  # type: ignore[operator]
        assert isinstance(resource.driver, ThreadedLLMDriver)
