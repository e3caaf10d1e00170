"""Asyncio hosts over a blocking-only driver: the memory queue's, through the adapter on threads."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import ClassVar

from infra.plugin import Provider
from infra_testing.conformance.queue import AsyncQueueConformance
from infra_testing.harness import Harness


class BlockingOnly(Harness):
    def descriptor(self, capability: str) -> Provider:
        return replace(super().descriptor(capability), open_async=None)


class TestThreadedMemory(AsyncQueueConformance):
    harness: ClassVar[Harness] = BlockingOnly("memory")
    lease = tick = 0.3

    async def test_cancelled_receives_do_not_use_up_the_threads(self, opened) -> None:
        queue = await opened(threads=2)
        for _ in range(8):
            task = asyncio.create_task(queue.receive(wait=30))
            await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.wait([task])
        await queue.publish(b"x")
        (delivery,) = await queue.receive(wait=90)
        await delivery.ack()
