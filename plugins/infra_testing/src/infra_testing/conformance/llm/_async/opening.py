"""Opening what the cases need: a resource whose driver counts, with a cache where one is wanted."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace
from typing import Any, ClassVar

import pytest
import pytest_asyncio

from infra.llm import AsyncLLM, CallContext, LLMFeature, LLMRequest, Response, StreamEvent
from infra_testing.conformance.base import AsyncConformance
from infra_testing.harness import Harness, Place


class AsyncCountedDriver:
    """A driver that counts what it is asked; all else is the provider's own.

    Attributes:
        asked: How many answers were asked for.
        open_streams: How many streams are neither ended nor closed.
        contexts: The `CallContext` of each.
    """

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        self.asked = 0
        self.open_streams = 0
        self.contexts: list[CallContext] = []
        self.requests: list[LLMRequest] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    async def generate(self, request: LLMRequest, context: CallContext) -> Response:
        """Count, and ask the provider."""
        self.asked += 1
        self.contexts.append(context)
        self.requests.append(request)
        return await self._driver.generate(request, context)

    async def stream(self, request: LLMRequest, context: CallContext) -> AsyncGenerator[StreamEvent]:
        """Count, and ask the provider."""
        self.asked += 1
        self.contexts.append(context)
        self.requests.append(request)
        self.open_streams += 1
        events = self._driver.stream(request, context)
        try:
            async for event in events:
                yield event
        finally:
            try:
                await events.aclose()
            finally:
                self.open_streams -= 1


class AsyncLLMCases(AsyncConformance):
    """The base of the modules of cases."""

    capability = "llm"
    feature_type = LLMFeature
    #: A provider of cache resources, to keep answers in.
    cache_harness: ClassVar[Harness] = Harness("memory")

    @pytest_asyncio.fixture
    async def counted(self, opened: Any, place: Place) -> AsyncGenerator[Callable[..., Awaitable[Any]]]:
        """``await counted(**settings)``: a resource whose ``driver`` is counted; with ``cache="main"`` it keeps answers in a real cache.

        ``store=...`` gives another object as that cache.
        """
        caches: list[Any] = []

        async def open_one(store: Any = None, **settings: Any) -> Any:
            resource = await opened()
            if settings.get("cache") is not None and store is None:
                if not caches:
                    caches.append(await self.cache_harness.open_async("cache", place))
                store = caches[0]
            changed = type(resource.settings)(**{**resource.settings.model_dump(), **settings})

            def services(capability: str, name: str) -> Any:
                return store if (capability, name) == ("cache", "main") else None

            context = replace(resource.context, services=services)
            made = AsyncLLM(AsyncCountedDriver(resource.driver), changed, context, owned=False)  # type: ignore[arg-type]
            await made.start()
            return made

        yield open_one
        for cache in caches:
            await cache.close()

    @pytest.fixture
    def quick(self) -> dict[str, object]:
        """Settings that retry without waiting long."""
        return {"retry_delay": 0.01, "retry_delay_max": 0.02}
