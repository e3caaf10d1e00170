"""Work that runs beside its owner."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TypeVar

from infra.runtime.aio.locks import wait_for

T = TypeVar("T")
_log = logging.getLogger("infra.runtime")


class Stop:
    """A request to stop, seen by the work that it was given to."""

    __slots__ = ("_actions", "_event")

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._actions: list[Callable[[], None]] = []

    def set(self) -> None:
        """Ask to stop."""
        self._event.set()
        for action in list(self._actions):
            action()

    def on_set(self, action: Callable[[], None]) -> Callable[[], None]:
        """Call `action` when asked to stop, at once if that has happened; the function that is returned undoes it."""
        self._actions.append(action)
        if self._event.is_set():
            action()
        return lambda: self._actions.remove(action)

    def is_set(self) -> bool:
        """Whether a stop was asked for."""
        return self._event.is_set()

    async def wait(self, timeout: float | None) -> bool:
        """Sleep for `timeout` seconds, or until asked to stop; True when asked to stop."""
        return await wait_for(self._event, timeout)


class Background:
    """Jobs that end with their owner. A job that fails is logged; it never takes the owner with it.

    Args:
        name: The owner's name, for the log.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.stopping = Stop()
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Callable[[Stop], Awaitable[None]], name: str) -> None:
        """Run ``work(stop)`` as a task of its own until it returns or is stopped."""
        task = asyncio.get_running_loop().create_task(self._run(work, name), name=f"infra-{self.name}-{name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def running(self) -> int:
        """How many jobs have not ended yet."""
        return len(self._tasks)

    async def stop(self, timeout: float) -> bool:
        """Ask all jobs to stop and wait for them; after `timeout` seconds cancel the rest. True when none had to be cancelled."""
        self.stopping.set()
        late: set[asyncio.Task[None]] = set()
        current = asyncio.current_task()
        tasks = {task for task in self._tasks if task is not current}
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=timeout)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=1.0)
        return not late

    async def _run(self, work: Callable[[Stop], Awaitable[None]], name: str) -> None:
        try:
            await work(self.stopping)
        except Exception:
            _log.exception("%s: background job %s failed", self.name, name)


class Watchdog:
    """Calls `action` every `interval` seconds while its block runs, until `action` returns False.

    Attributes:
        lost: True once `action` returned False or raised.
    """

    def __init__(self, interval: float, action: Callable[[], Awaitable[bool]]) -> None:
        self._interval = interval
        self._action = action
        self._task: asyncio.Task[None] | None = None
        self.lost = False

    async def __aenter__(self) -> Watchdog:
        self._task = asyncio.get_running_loop().create_task(self._run())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while not self.lost:
            await asyncio.sleep(self._interval)
            try:
                self.lost = not await self._action()
            except Exception:
                self.lost = True


async def gather(*calls: Callable[[], Awaitable[T]], limit: int | None = None) -> list[T | BaseException]:
    """Run all calls concurrently, at most `limit` at once; their results or exceptions in order. Cancelled as a whole."""
    if len(calls) == 1:
        try:
            return [await calls[0]()]
        except Exception as error:
            return [error]
    gate = asyncio.Semaphore(limit or max(1, len(calls)))

    async def run(one: Callable[[], Awaitable[T]]) -> T:
        async with gate:
            return await one()

    return await asyncio.gather(*(run(one) for one in calls), return_exceptions=True)
