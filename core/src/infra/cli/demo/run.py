"""A run: upload and announce the documents, relay, work, and wait until every document has its summary."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import PurePosixPath
from uuid import UUID

from infra.cli.demo.documents import Source
from infra.cli.demo.model import NAME, Document, Documents, Run, Runs, Summaries, Task
from infra.cli.demo.outage import Outage
from infra.cli.demo.place import Place
from infra.cli.demo.process import Workers
from infra.cli.demo.work import work
from infra.database import UniqueError, outbox
from infra.database.outbox import AsyncRelay, RelayPolicy
from infra.errors import InfraError
from infra.queue import DeadLetter, QueueFeature
from infra.runtime.aio import Stop

_AT_ONCE = 4  # uploads
_LOOK = 0.1  # seconds between two looks at how far the workers are
#: Short leases: what a killed relay had leased is taken over by the next one within seconds.
_POLICY = RelayPolicy(batch=20, lease=3.0, poll=0.5, timeout=1.5)


@dataclass(slots=True)
class Course:
    """How a run went.

    Args:
        resumed: Whether an earlier start of it was interrupted.
        uploading: Seconds.
        summarising: Seconds.
        failed: Documents that were given up: the reason of each.
        restarts: Worker processes that died and were replaced.
    """

    run_id: UUID
    documents: int
    resumed: bool
    uploading: float = 0.0
    summarising: float = 0.0
    failed: list[str] = field(default_factory=list[str])
    restarts: int = 0


async def begin(place: Place, source: str, most: int | None, documents: int) -> Course:
    """The unfinished run of the same documents, else a new one."""
    async with place.database.session() as session:
        runs = Runs(session)
        unfinished = await runs.list(source=source, most=most or 0, finished_at=None, sort="-created_at", limit=1)
        run = unfinished[0] if unfinished else await runs.add(Run(source=source, most=most or 0))
        return Course(run.id, documents, bool(unfinished))


async def ingest(place: Place, run_id: UUID, sources: list[Source], relay: AsyncRelay, uploaded: Callable[[], None]) -> None:
    """Upload every document, and write its row and its message in one transaction. What an earlier start did is left alone."""
    async with place.database.session(autocommit=True) as session:
        known = {document.name for document in await Documents(session).list(run_id=run_id)}
    waiting = iter(sources)

    async def some() -> None:
        for source in waiting:
            if source.name not in known:
                await _ingest(place, run_id, source)
                relay.wake()
            uploaded()

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(some())
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None


async def _ingest(place: Place, run_id: UUID, source: Source) -> None:
    key = f"documents/{hashlib.sha256(source.content).hexdigest()}{PurePosixPath(source.name).suffix}"
    await place.storage.put(key, source.content, content_type="text/plain; charset=utf-8")
    place.calls["storage.put"] += 1
    try:
        async with place.database.session() as session:
            row = await Documents(session).add(Document(run_id=run_id, name=source.name, key=key, size=len(source.content)))
            task = Task(run_id=run_id, document_id=row.id, key=key)
            await outbox.publish(session, queue=NAME, type="document.uploaded", body=task, headers={"run": str(run_id)})
    except UniqueError:
        return  # another process works on the same run
    place.calls["database.transaction"] += 1
    place.calls["queue.announced"] += 1


@asynccontextmanager
async def relaying(place: Place) -> AsyncGenerator[AsyncRelay]:
    """A relay from the outbox to the queue, for the length of a block."""
    relay, stop = AsyncRelay(place.database, lambda _: place.queue, policy=_POLICY), Stop()
    task = asyncio.create_task(relay.run(stop))
    try:
        yield relay
    finally:
        stop.set()
        await task


class Inside:
    """The worker of this process, with what `Workers` have."""

    restarts = 0

    def __init__(self, task: asyncio.Task[None]) -> None:
        self._task = task

    async def ready(self) -> None:
        """It is ready at once."""

    def check(self) -> None:
        """Raise what ended it."""
        if self._task.done():
            self._task.result()


@asynccontextmanager
async def working(place: Place, processes: int, slow: float, arguments: list[str]) -> AsyncGenerator[Workers | Inside]:
    """Workers, for the length of a block: in this process, or each in its own."""
    if processes > 1:
        async with Workers(processes, arguments, place.calls).running() as workers:
            yield workers
        return
    stop, abort = Stop(), Stop()
    task = asyncio.create_task(work(place, slow, stop, abort))
    try:
        yield Inside(task)
    except BaseException:
        abort.set()
        stop.set()
        await asyncio.wait([task])  # what ended the block is what to tell
        raise
    stop.set()
    await task


async def finish(place: Place, course: Course, workers: Workers | Inside, outage: Outage, show: Callable[[int], None]) -> None:
    """Wait until every document has its summary or was given up, and close the run."""
    done, looked = 0, 0.0
    while True:
        trouble: InfraError | None = None
        try:
            async with place.database.session(autocommit=True) as session:
                done = await Summaries(session).count(run_id=course.run_id)
            if time.monotonic() - looked > 1.0:
                course.failed = [letter.reason for letter in await _dead(place, course.run_id)]
                looked = time.monotonic()
        except InfraError as error:
            if not error.retryable:
                raise
            trouble = error
        ended = done + len(course.failed)
        show(ended)
        if ended >= course.documents:
            break
        workers.check()
        await outage.look(ended, trouble)
        await asyncio.sleep(_LOOK)
    course.restarts = workers.restarts
    if not course.failed:
        async with place.database.session() as session:
            await Runs(session).update(course.run_id, finished_at=datetime.now(UTC))


async def try_again(place: Place, course: Course) -> None:
    """Put back what an earlier start of the run had given up."""
    letters = await _dead(place, course.run_id)
    if letters:
        await place.queue.dead_letters.redrive([letter.message.id for letter in letters])


async def _dead(place: Place, run_id: UUID) -> list[DeadLetter]:
    if not place.queue.supports(QueueFeature.DEAD_LETTERS):
        return []
    letters = await place.queue.dead_letters.list(most=1000)
    return [letter for letter in letters if letter.message.headers.get("run") == str(run_id)]
