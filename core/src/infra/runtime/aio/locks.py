"""Locks and events between tasks of one loop."""

from __future__ import annotations

import asyncio
from asyncio import Condition, Event, Lock, Semaphore

__all__ = ["Condition", "Event", "Lock", "Semaphore", "acquired", "wait_for"]


async def wait_for(event: Event, timeout: float | None) -> bool:
    """Wait until `event` is set; False when `timeout` seconds pass first."""
    if event.is_set():
        return True
    try:
        async with asyncio.timeout(timeout):
            await event.wait()
    except TimeoutError:
        return event.is_set()
    return True


async def acquired(semaphore: Semaphore, timeout: float | None) -> bool:
    """Wait until `semaphore` has a place, and take it; False when `timeout` seconds pass first."""
    try:
        async with asyncio.timeout(timeout):
            await semaphore.acquire()
    except TimeoutError:
        return False
    return True
