"""Turns at something that only one task may use at a time."""

from __future__ import annotations

import asyncio
from types import CodeType
from typing import Any, Final

_WAIT_FOR: Final[CodeType] = asyncio.wait_for.__code__


class Turns:
    """Who uses it now. A user may take it again within its own turn; nobody waits for a turn."""

    __slots__ = ("_depth", "_freed", "_user")

    def __init__(self) -> None:
        self._user: object = None
        self._depth = 0
        self._freed: asyncio.Event | None = None

    def take(self) -> bool:
        """Begin a turn; False while another task has one."""
        me = asyncio.current_task()
        if self._depth and self._user is not me:
            return False
        self._user = me
        self._depth += 1
        return True

    def give(self) -> None:
        """End it."""
        self._depth -= 1
        if not self._depth:
            self._user = None
            if self._freed is not None:
                self._freed.set()

    async def settled(self) -> None:
        """Wait until no other task has a turn."""
        while self._depth and self._user is not asyncio.current_task():
            if self._freed is None:
                self._freed = asyncio.Event()
            self._freed.clear()
            await self._freed.wait()


def continues(owner: Any, here: Any) -> bool:
    """Whether the task `here` does the work of the task `owner`, which only waits for it in ``asyncio.wait_for``.

    Since Python 3.12 ``wait_for`` starts no task; with this, sessions on 3.11 behave alike.
    """
    while owner is not here:
        owner = _waited_for(owner)
        if not isinstance(owner, asyncio.Task):
            return False
    return True


def _waited_for(task: Any) -> Any:
    """The task that `task` waits for in ``asyncio.wait_for``; None when it does anything else."""
    inner: Any = task.get_coro()
    while inner is not None:
        frame = getattr(inner, "cr_frame", None)
        if frame is not None and frame.f_code is _WAIT_FOR:
            return frame.f_locals.get("fut")
        inner = getattr(inner, "cr_await", None)
    return None
