"""An asyncio driver over a blocking one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

from infra.driver import Cause, Explains
from infra.errors import ErrorCode
from infra.llm.driver import CallContext, DriverInfo, EmbedRequest, LLMDriver, LLMRequest
from infra.llm.errors import Failure
from infra.llm.events import StreamEvent
from infra.llm.model import Embeddings, Response
from infra.runtime.bridge import ThreadBridge


class ThreadedLLMDriver:
    """Runs each call of `driver` in a thread of `bridge`; a stream takes a thread only while an event is awaited.

    A cancelled call ends for its caller at once; its thread goes on until the driver's own timeout.
    """

    def __init__(self, driver: LLMDriver, bridge: ThreadBridge) -> None:
        self._driver = driver
        self._bridge = bridge

    @property
    def spec_version(self) -> int:
        """The version of the contract that the blocking driver was written for."""
        return self._driver.spec_version

    @property
    def info(self) -> DriverInfo:
        """What the blocking driver is."""
        return self._driver.info

    @property
    def features(self) -> frozenset[str]:
        """What the blocking driver can do."""
        return self._driver.features

    def classify(self, error: BaseException) -> ErrorCode | None:
        """What an exception stands for."""
        return self._driver.classify(error)

    def failure(self, error: BaseException) -> Failure | None:
        """What is known about an exception."""
        return self._driver.failure(error)

    def explain(self, error: BaseException) -> Cause | None:
        """The blocking driver's words for an exception, where it has any."""
        return self._driver.explain(error) if isinstance(self._driver, Explains) else None

    def unwrap(self) -> Sequence[object]:
        """The raw objects of the blocking driver."""
        return self._driver.unwrap()

    async def ping(self, timeout: float) -> None:
        """Ask the server for a sign of life."""
        await self._bridge.call(self._driver.ping, timeout)

    async def generate(self, request: LLMRequest, context: CallContext) -> Response:
        """One answer."""
        return await self._bridge.call(self._driver.generate, request, context)

    async def stream(self, request: LLMRequest, context: CallContext) -> AsyncGenerator[StreamEvent]:
        """One answer in pieces."""
        events = self._driver.stream(request, context)

        def take() -> StreamEvent | None:
            return next(events, None)

        def give_back(_: StreamEvent | None) -> None:
            events.close()

        waiting = False
        try:
            while True:
                waiting = True
                event = await self._bridge.call(take, abandoned=give_back)
                waiting = False
                if event is None:
                    return
                yield event
        finally:
            if not waiting:  # else its thread closes it, once the event has come that nobody takes
                await asyncio.shield(self._bridge.call(events.close))

    async def embed(self, request: EmbedRequest, context: CallContext) -> Embeddings:
        """One vector for each text."""
        return await self._bridge.call(self._driver.embed, request, context)

    async def close(self, timeout: float) -> None:
        """Close the blocking driver, then the threads."""
        try:
            await self._bridge.call(self._driver.close, timeout)
        finally:
            self._bridge.close()
