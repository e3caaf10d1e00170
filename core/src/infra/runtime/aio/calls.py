"""Calls with a deadline, calls that survive cancellation, and calls of a host's own functions."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from infra.runtime.bridge import ThreadBridge

T = TypeVar("T")

sleep = asyncio.sleep


def owner() -> object:
    """What an open object belongs to: the running event loop."""
    return asyncio.get_running_loop()


def ends_caller(error: BaseException) -> bool:
    """Whether `error`, which is no `Exception`, is meant for the caller: not where something that it waited for was cancelled."""
    task = asyncio.current_task()
    return not isinstance(error, asyncio.CancelledError) or task is None or task.cancelling() > 0


async def within(timeout: float | None, function: Callable[..., Awaitable[T]], *args: Any) -> T:
    """Await ``function(*args)``; `TimeoutError` after `timeout` seconds, whatever the driver does with its own timeout."""
    async with asyncio.timeout(timeout):
        return await function(*args)


async def shielded(function: Callable[..., Awaitable[T]], *args: Any) -> T:
    """Await ``function(*args)`` to its end even if the caller is cancelled meanwhile; the cancellation is raised afterwards."""
    task = asyncio.ensure_future(function(*args))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.done():
            await asyncio.wait([task])
        raise


async def call(function: Callable[..., Any], *args: Any, bridge: ThreadBridge | None = None) -> Any:
    """Call a host's function: a coroutine function in this loop, any other in a thread of `bridge` (here when there is none)."""
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__):
        return await function(*args)
    result = function(*args) if bridge is None else await bridge.call(contextvars.copy_context().run, function, *args)
    return await result if inspect.isawaitable(result) else result
