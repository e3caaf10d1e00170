"""What handlers do that no handler should: whatever it is, consuming goes on, and no message is in two hands."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.queue import RetryPolicy
from infra.runtime.aio import Stop
from infra_testing.harness import Harness, Place

HARNESS = Harness("memory")
PATIENCE = 60.0
AT_ONCE = RetryPolicy(backoff=lambda _: 0.0)


async def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not happen"
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("kind", [asyncio.CancelledError, SystemExit])
def test_what_ends_a_thread_is_a_failure_of_its_message(tmp_path: Path, kind: type[BaseException]) -> None:
    seen: list[int] = []

    def handle(delivery: Any) -> None:
        seen.append(delivery.attempt)
        if len(seen) == 1:
            raise kind

    with HARNESS.open("queue", Place(tmp_path)) as queue:
        queue.publish_many([b"x", b"y"])
        summary = queue.consume(handle, concurrency=1, retry=AT_ONCE, until="empty")
    assert sorted(seen) == [1, 1, 2]
    assert (summary.handled, summary.retried) == (2, 1)


@pytest.mark.parametrize("in_thread", [False, True])
async def test_a_handler_whose_own_task_was_cancelled_has_failed(tmp_path: Path, in_thread: bool) -> None:
    seen: list[int] = []

    async def handle(delivery: Any) -> None:
        seen.append(delivery.attempt)
        if len(seen) == 1:
            other = asyncio.create_task(asyncio.sleep(PATIENCE))
            asyncio.get_running_loop().call_soon(other.cancel)
            await other

    def handle_in_thread(delivery: Any) -> None:
        asyncio.run(handle(delivery))

    queue = await HARNESS.open_async("queue", Place(tmp_path))
    await queue.publish_many([b"x", b"y"])
    async with asyncio.timeout(PATIENCE):
        summary = await queue.consume(handle_in_thread if in_thread else handle, concurrency=1, retry=AT_ONCE, until="empty")
    assert sorted(seen) == [1, 1, 2]
    assert (summary.handled, summary.retried) == (2, 1)
    await queue.close()


async def test_a_thread_that_outlasts_the_drain_keeps_its_message(tmp_path: Path) -> None:
    running, gate = threading.Event(), threading.Event()

    def handle(_delivery: Any) -> None:
        running.set()
        gate.wait(PATIENCE)

    queue = await HARNESS.open_async("queue", Place(tmp_path), drain_timeout=0.1)
    await queue.publish(b"x")
    stop = Stop()
    consuming = asyncio.create_task(queue.consume(handle, concurrency=1, lease=PATIENCE, stop=stop))
    try:
        await eventually(running.is_set)
        stop.set()
        summary = await consuming
        stats = await queue.stats()
        assert (summary.retried, stats.ready, stats.in_flight) == (0, 0, 1)
    finally:
        gate.set()
        await queue.close()
