"""A block of code that others can ask to end."""

from __future__ import annotations

from types import TracebackType


class Scope:
    """Carries the request to end the block; a thread cannot be cancelled, so its code has to look.

    Attributes:
        cancelled: Whether `cancel` was called.
    """

    __slots__ = ("cancelled",)

    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        """Ask what runs in the block to end."""
        self.cancelled = True

    def __enter__(self) -> Scope:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        return False
