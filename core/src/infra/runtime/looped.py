"""A blocking driver over an asyncio one, on an event loop of its own in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from functools import wraps
from inspect import isawaitable
from typing import Any, TypeVar

T = TypeVar("T")


class PrivateLoop:
    """An event loop that runs in a daemon thread until `close`.

    Args:
        name: Names the thread, so that a stack dump says whose it is.
    """

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"infra-{name}-loop", daemon=True)
        self._thread.start()

    def call(self, awaitable: Awaitable[T]) -> T:
        """Wait in this thread for what runs on the loop; where the caller is interrupted, what it waited for is cancelled."""

        async def work() -> T:
            return await awaitable

        future = asyncio.run_coroutine_threadsafe(work(), self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Cancel what still runs and end the thread. A second call does nothing."""
        if self._loop.is_closed():
            return

        async def end() -> None:
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.get_running_loop().shutdown_asyncgens()

        self.call(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class LoopedDriver:
    """The methods of an asyncio driver as blocking ones, for capabilities whose methods take and give plain values.

    Args:
        driver: The asyncio driver, opened on `loop`.
        loop: Closed with the driver.
    """

    def __init__(self, driver: Any, loop: PrivateLoop) -> None:
        self._driver = driver
        self._loop = loop
        self._closed = False

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._driver, name)
        if not callable(found):
            return found
        method: Callable[..., Any] = found

        @wraps(method)
        def blocking(*args: Any, **options: Any) -> Any:
            answer = method(*args, **options)
            return self._loop.call(answer) if isawaitable(answer) else answer

        setattr(self, name, blocking)
        return blocking

    def close(self, timeout: float) -> None:
        """Close the driver, then the loop."""
        if self._closed:
            return
        self._closed = True
        try:
            self._loop.call(self._driver.close(timeout))
        finally:
            self._loop.close()
