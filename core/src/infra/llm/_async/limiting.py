"""The link that keeps the calls under way below a number."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager

from infra.llm._async.step import AsyncStep, Call
from infra.llm.errors import LLMTimeoutError
from infra.llm.events import StreamEvent
from infra.llm.model import Response
from infra.runtime.aio import Semaphore, acquired
from infra.runtime.deadline import Deadline


class AsyncSlots:
    """So many calls at once; further ones wait for their turn, as long as their deadline allows.

    Args:
        most: The number; None for no limit.
    """

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._free = None if most is None else Semaphore(most)

    @asynccontextmanager
    async def one(self, deadline: Deadline) -> AsyncGenerator[None]:
        """A slot, held within the block.

        Raises:
            LLMTimeoutError: None became free before the deadline.
        """
        free = self._free
        if free is None:
            yield
            return
        if not await acquired(free, deadline.remaining()):
            raise LLMTimeoutError(
                f"timed out waiting for one of {self._most} slots",
                attempts=0,
                remedy="raise `max_concurrency` or `timeout`, and close streams that are not read to their end",
            )
        try:
            yield
        finally:
            free.release()


class AsyncLimiting:
    """Holds a slot for each attempt; none while an attempt is waited for.

    Args:
        inner: The next link.
        slots: The slots of the resource.
    """

    def __init__(self, inner: AsyncStep, slots: AsyncSlots) -> None:
        self._inner = inner
        self._slots = slots

    async def generate(self, call: Call) -> Response:
        """One answer."""
        async with self._slots.one(call.deadline):
            return await self._inner.generate(call)

    async def stream(self, call: Call) -> AsyncGenerator[StreamEvent]:
        """One answer in pieces; its slot is free once it ends or is closed."""
        async with self._slots.one(call.deadline), aclosing(self._inner.stream(call)) as events:
            async for event in events:
                yield event
