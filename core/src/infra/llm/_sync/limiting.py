# Generated from limiting.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""The link that keeps the calls under way below a number."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing, contextmanager

from infra.llm._sync.step import Call, Step
from infra.llm.errors import LLMTimeoutError
from infra.llm.events import StreamEvent
from infra.llm.model import Response
from infra.runtime.deadline import Deadline
from infra.runtime.threads import Semaphore, acquired


class Slots:
    """So many calls at once; further ones wait for their turn, as long as their deadline allows.

    Args:
        most: The number; None for no limit.
    """

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._free = None if most is None else Semaphore(most)

    @contextmanager
    def one(self, deadline: Deadline) -> Generator[None]:
        """A slot, held within the block.

        Raises:
            LLMTimeoutError: None became free before the deadline.
        """
        free = self._free
        if free is None:
            yield
            return
        if not acquired(free, deadline.remaining()):
            raise LLMTimeoutError(
                f"timed out waiting for one of {self._most} slots",
                attempts=0,
                remedy="raise `max_concurrency` or `timeout`, and close streams that are not read to their end",
            )
        try:
            yield
        finally:
            free.release()


class Limiting:
    """Holds a slot for each attempt; none while an attempt is waited for.

    Args:
        inner: The next link.
        slots: The slots of the resource.
    """

    def __init__(self, inner: Step, slots: Slots) -> None:
        self._inner = inner
        self._slots = slots

    def generate(self, call: Call) -> Response:
        """One answer."""
        with self._slots.one(call.deadline):
            return self._inner.generate(call)

    def stream(self, call: Call) -> Generator[StreamEvent]:
        """One answer in pieces; its slot is free once it ends or is closed."""
        with self._slots.one(call.deadline), closing(self._inner.stream(call)) as events:
            for event in events:
                yield event
