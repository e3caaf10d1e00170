"""A worker: fetches a document, has it summarised, and stores the summary exactly once."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable

from infra.cli.demo.model import SUMMARY, Summaries, Summary, Task
from infra.cli.demo.place import Place
from infra.database import inbox
from infra.errors import InfraError
from infra.queue import AsyncDelivery, Backoff, RetryPolicy
from infra.runtime.aio import Stop

_LEASE = 3.0  # seconds: how long a message of a killed worker stays hidden
_LONGEST = 60_000  # characters of a document that are shown to the model
#: Killed workers use up attempts too, so there are many; what cannot succeed is given up at once by the handler.
_RETRY = RetryPolicy(max_attempts=50, backoff=Backoff(first=0.2, longest=5.0))


def handler(place: Place, slow: float) -> Callable[[Task, AsyncDelivery], Awaitable[None]]:
    """The handler over open resources.

    Args:
        place: The resources.
        slow: Seconds to dawdle, half of them before and half after the commit, for whoever wants to interrupt it there.
    """

    async def summarise(task: Task, delivery: AsyncDelivery) -> None:
        started = time.perf_counter()
        try:
            content = await place.storage.get(task.key)
            place.calls["storage.get"] += 1
            answer = await place.llm.execute_prompt(SUMMARY, {"text": content.decode()[:_LONGEST]})
            place.calls["llm.cached" if answer.cached else "llm.answered"] += 1
        except InfraError as error:
            if error.retryable:
                raise
            await delivery.dead(str(error))
            return
        await asyncio.sleep(slow / 2)
        async with place.database.session() as session:
            # The mark of the inbox and the summary commit together: a second delivery finds both or neither.
            if await inbox.once(session, delivery.message, consumer="demo"):
                row = Summary(
                    run_id=task.run_id,
                    document_id=task.document_id,
                    text=answer.content,
                    model=answer.model,
                    cached=answer.cached,
                    seconds=time.perf_counter() - started,
                    attempt=delivery.attempt,
                    process=os.getpid(),
                )
                await Summaries(session).add(row)
            else:
                place.calls["queue.repeated"] += 1
        place.calls["database.transaction"] += 1
        place.calls["queue.handled"] += 1
        await asyncio.sleep(slow / 2)

    return summarise


async def work(place: Place, slow: float, stop: Stop, abort: Stop, concurrency: int = 4) -> None:
    """Consume until stopped."""
    await place.queue.consume(
        handler(place, slow),
        message=Task,
        concurrency=concurrency,
        prefetch=concurrency,
        retry=_RETRY,
        lease=_LEASE,
        stop=stop,
        abort=abort,
    )
