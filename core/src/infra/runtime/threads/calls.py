"""Calls with a deadline, calls that survive cancellation, and calls of a host's own functions."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from typing import Any, TypeVar

from infra.errors import UnsupportedError
from infra.runtime.bridge import ThreadBridge

T = TypeVar("T")

sleep = time.sleep


def owner() -> object:
    """What an open object belongs to: any thread of the process."""
    return None


def ends_caller(error: BaseException) -> bool:
    """Whether `error`, which is no `Exception`, is meant for the caller: nobody cancels or interrupts a thread that is not the main one."""
    del error
    return False


def within(timeout: float | None, function: Callable[..., T], *args: Any) -> T:
    """Call ``function(*args)``. A thread cannot be interrupted: the driver's own timeout holds."""
    del timeout
    return function(*args)


def shielded(function: Callable[..., T], *args: Any) -> T:
    """Call ``function(*args)``; threads are not cancelled."""
    return function(*args)


def call(function: Callable[..., Any], *args: Any, bridge: ThreadBridge | None = None) -> Any:
    """Call a host's function in this thread; a coroutine function is refused."""
    del bridge
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__):
        name = getattr(function, "__qualname__", type(function).__name__)
        raise UnsupportedError(
            f"{name} is a coroutine function, and this is the blocking API",
            remedy="give it a plain function, or use the Async twin of this class",
        )
    result = function(*args)
    if inspect.iscoroutine(result):
        result.close()
        raise UnsupportedError(
            "the function gave a coroutine, which nothing runs in the blocking API",
            remedy="give it a plain function, or use the Async twin of this class",
        )
    return result
