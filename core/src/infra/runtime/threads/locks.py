"""Locks and events between threads."""

from __future__ import annotations

from threading import Condition, Event, Lock, Semaphore

__all__ = ["Condition", "Event", "Lock", "Semaphore", "acquired", "wait_for"]


def wait_for(event: Event, timeout: float | None) -> bool:
    """Wait until `event` is set; False when `timeout` seconds pass first."""
    return event.wait(timeout)


def acquired(semaphore: Semaphore, timeout: float | None) -> bool:
    """Wait until `semaphore` has a place, and take it; False when `timeout` seconds pass first."""
    return semaphore.acquire(timeout=timeout)
