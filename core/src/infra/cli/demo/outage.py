"""What the demo does while a server is away: it waits for a while, says so once, and gives up in one line."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

from infra.cli.demo.place import Place
from infra.errors import InfraError

_STILL = 5.0  # seconds without progress after which the resources are asked how they are
_PATIENCE = 20.0  # seconds without progress after which a resource that is down ends the run
_BETWEEN = 2.0  # seconds between two such questions
_PING = 4.0  # seconds for an answer


class Outage:
    """Watches the progress of a run.

    Args:
        place: The resources.
        slow: Seconds that the run dawdles over each document.
        tell: Says something to the person at the terminal.
        troubles: What was logged.
    """

    def __init__(self, place: Place, slow: float, tell: Callable[[str], None], troubles: Troubles) -> None:
        self._place = place
        self._slow = slow
        self._tell = tell
        self._troubles = troubles
        self._done = -1
        self._since = self._asked = time.monotonic()
        self._told: str | None = None

    async def look(self, done: int, error: InfraError | None = None) -> None:
        """Note how many documents are done; after a while without progress, ask the resources why.

        Args:
            error: What kept us from counting them.

        Raises:
            InfraError: A resource has been down for too long.
        """
        now = time.monotonic()
        if error is None and done != self._done:
            self._done, self._since, self._told, self._troubles.last = done, now, None, None
            return
        still = now - self._since - self._slow
        if still < _STILL or now - self._asked < _BETWEEN:
            return
        error = error or await self._down()
        self._asked = time.monotonic()
        if error is None:
            if self._troubles.last is not None:
                self._tell_once(f"nothing done for {still:.0f} s, though every server answers: {self._troubles.last}")
        elif still > _PATIENCE:
            raise error
        else:
            self._tell_once(f"waiting up to {_PATIENCE:.0f} s for {error.resource}, which does not answer")

    def _tell_once(self, text: str) -> None:
        if self._told is None:
            self._told = text
            self._tell(text)

    async def _down(self) -> InfraError | None:
        """What the first resource that does not answer says. The cache is not asked: the job goes on without it."""
        place = self._place
        resources = (place.database, place.storage, place.queue, place.llm)
        answers = await asyncio.gather(*(resource.ping(_PING) for resource in resources), return_exceptions=True)
        return next((answer for answer in answers if isinstance(answer, InfraError)), None)


class Troubles(logging.Handler):
    """Keeps the last warning, and says the first of each kind where that is wanted: on one line, without its traceback.

    Args:
        tell: Says a line; None keeps quiet.
    """

    def __init__(self, tell: Callable[[str], None] | None = None) -> None:
        super().__init__(logging.WARNING)
        self.last: str | None = None
        self._tell = tell
        self._known: set[tuple[str, str]] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Note a record."""
        self.last = record.getMessage().partition("\n")[0]
        kind = (record.name, str(record.msg))
        if self._tell is not None and kind not in self._known:
            self._known.add(kind)
            self._tell(self.last)

    @contextmanager
    def instead_of_tracebacks(self) -> Generator[Troubles]:
        """Take the place of what logging does when nobody has told it anything."""
        root = logging.getLogger()
        root.addHandler(self)
        try:
            yield self
        finally:
            root.removeHandler(self)
