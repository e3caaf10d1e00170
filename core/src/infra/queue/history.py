"""What became of deliveries whose lease ended before they were settled, for when their messages come again."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from infra.queue.model import Message

_MOST: Final = 10_000


@dataclass(slots=True)
class Lost:
    """A message whose lease this process lost.

    Args:
        why: As far as it is known.
        unbegun: How often no handler had begun.
        ended: Whether a handler has ended well nevertheless.
    """

    why: str = ""
    unbegun: int = 0
    ended: bool = False


class History:
    """Of one queue, for all its consumers in this process. Remembers the newest ten thousand."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, datetime], Lost] = {}
        self._lock = threading.Lock()

    def lost(self, message: Message, why: str, *, begun: bool) -> None:
        """Its lease ended, and nobody died of it."""
        with self._lock:
            found = self._of(message)
            found.why = why
            found.unbegun += not begun

    def ended(self, message: Message) -> None:
        """Its handler has ended well, but nobody could say so."""
        with self._lock:
            self._of(message).ended = True

    def find(self, message: Message) -> Lost | None:
        """What is known of it."""
        return self._found.get((message.id, message.created_at)) if self._found else None

    def settled(self, message: Message) -> None:
        """It will not come again."""
        if self._found:
            self._found.pop((message.id, message.created_at), None)

    def _of(self, message: Message) -> Lost:
        key = message.id, message.created_at
        found = self._found.pop(key, None) or Lost()
        self._found[key] = found
        while len(self._found) > _MOST:
            del self._found[next(iter(self._found))]
        return found


def why_lost(unrenewed: float, lease: float) -> str:
    """Why a lease was lost that nobody gave up, where leases were last looked after `unrenewed` seconds ago."""
    if unrenewed > 0.3 * lease:
        return f"it was not renewed for {unrenewed:.1f} s, as when a handler blocks the event loop, or the process stands still"
    return "its lease was over, or it was taken away"
