# Generated from dead_letters.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""The messages that were given up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from infra.queue.model import DeadLetter, QueueFeature

if TYPE_CHECKING:
    from infra.queue._sync.queue import Queue

_REMEDY = "use the provider's own tools, or choose a provider with dead_letters"


class DeadLetters:
    """``queue.dead_letters``.

    Args:
        queue: Whose dead letters they are.
    """

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def list(self, most: int = 100) -> Sequence[DeadLetter]:
        """The `most` oldest ones, with the reason and the original message; they stay where they are."""
        queue = self._queue
        queue.check()
        queue.arguments.count("dead_letters.list", "most", most)
        queue.need(QueueFeature.DEAD_LETTERS, _REMEDY)
        try:
            return queue.driver.dead_letters(queue.queue, most, queue.settings.timeout)
        except Exception as error:
            raise queue.error(error, "dead_letters.list") from error

    def redrive(self, ids: Sequence[str] | None = None, *, most: int = 1000) -> int:
        """Put them back into the queue as new messages: same id and body, attempts counted from the beginning.

        Args:
            ids: Only those messages; the oldest ones when not given.
            most: No more than that.

        Returns:
            How many it was.
        """
        queue = self._queue
        queue.check()
        ids = queue.arguments.ids("dead_letters.redrive", ids)
        queue.arguments.count("dead_letters.redrive", "most", most)
        queue.need(QueueFeature.DEAD_LETTERS, _REMEDY)
        try:
            return queue.driver.redrive(queue.queue, ids, most, queue.settings.timeout)
        except Exception as error:
            raise queue.error(error, "dead_letters.redrive") from error

    def purge(self) -> int:
        """Delete them all; how many it was."""
        queue = self._queue
        queue.check()
        queue.need(QueueFeature.PURGE, _REMEDY)
        try:
            return queue.driver.purge(queue.queue, True, queue.settings.timeout)
        except Exception as error:
            raise queue.error(error, "dead_letters.purge") from error
