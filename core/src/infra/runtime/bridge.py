"""Blocking calls from asyncio: a bounded thread pool of one resource, never the loop's default executor."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")

# True while `run_now` steps a coroutine: bridged calls then run in this thread instead of waiting for another.
_inline: ContextVar[bool] = ContextVar("infra_inline", default=False)


def inline() -> bool:
    """Whether the caller runs within `run_now`."""
    return _inline.get()


class WouldWaitError(RuntimeError):
    """A coroutine given to `run_now` had to wait for something."""


def run_now(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end without giving up the event loop, its bridged calls in this thread.

    Raises:
        WouldWaitError: It had to wait; it was closed.
    """
    token = _inline.set(True)
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    finally:
        _inline.reset(token)
    coroutine.close()
    raise WouldWaitError


class ThreadBridge:
    """A dedicated, bounded pool of threads.

    Args:
        name: Names the threads, so that a stack dump says whose they are.
        size: The largest number of blocking calls under way at once; further ones wait in order.
    """

    def __init__(self, name: str, size: int = 8) -> None:
        self.size = size
        self._executor = ThreadPoolExecutor(size, thread_name_prefix=f"infra-{name}")

    async def call(self, function: Callable[..., T], *args: Any, abandoned: Callable[[T], None] | None = None) -> T:
        """Run ``function(*args)`` in the pool and wait for it.

        A cancelled caller does not stop the thread. When the call later ends with a result that nobody took, `abandoned` gets it, in
        a thread, so that nothing received is lost.
        """
        if _inline.get():
            return function(*args)
        future = self._executor.submit(function, *args)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            if abandoned is not None and not future.cancel():
                caller = threading.get_ident()
                future.add_done_callback(lambda done: _give_back(done, abandoned, caller))
            raise

    def close(self) -> None:
        """Refuse further calls; calls under way finish in their threads."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def _give_back(done: Future[T], abandoned: Callable[[T], None], caller: int) -> None:
    if done.cancelled() or done.exception() is not None:
        return
    if threading.get_ident() == caller:  # it had ended already; the event loop must not wait for what `abandoned` does
        threading.Thread(target=abandoned, args=(done.result(),), name="infra-give-back").start()
    else:
        abandoned(done.result())
