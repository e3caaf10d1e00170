"""A block of code that others can cancel."""

from __future__ import annotations

import asyncio
from types import TracebackType


class Scope:
    """Cancels the code in its block, and only that: what follows the block runs on.

    Attributes:
        cancelled: Whether `cancel` was called while or before the block ran.
    """

    __slots__ = ("_cancelling", "_interrupted", "_task", "cancelled")

    def __init__(self) -> None:
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._interrupted = False
        self.cancelled = False

    def cancel(self) -> None:
        """Cancel what runs in the block."""
        if not self.cancelled and self._task is not None:
            self._interrupted = True
            self._task.cancel()
        self.cancelled = True

    async def __aenter__(self) -> Scope:
        self._task = asyncio.current_task()
        assert self._task is not None
        self._cancelling = self._task.cancelling()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        task, self._task = self._task, None
        if not self._interrupted or task is None:
            return False
        others = task.uncancel() > self._cancelling
        return kind is asyncio.CancelledError and not others
