"""Long polls of one queue, apart from the receives that wait for them.

A poll cannot be ended: what the server answers after its receiver has gone would stay invisible until its lease ends. So it runs in a
thread of its own. An interrupted receive leaves it behind; the next one takes it over, and what a poll brings that nobody waits for goes
back at once.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from infra_sqs.inbox import Held, Inbox, void

#: Seconds of the longest poll that SQS takes.
LONGEST: Final = 20
_MOST: Final = 10  # messages of one answer


@dataclass(slots=True, eq=False)
class _Poll:
    lease: int
    ends: float
    done: bool = False
    abandoned: bool = False  # by an interrupted receive: nobody may come for what it brings
    error: BaseException | None = None


class Poller:
    """Receives from one queue.

    Args:
        fetch: ``(most, wait, lease)`` in whole seconds; one call of the server.
        give_back: Makes messages visible again, as well as it can.
        executor: Where polls run.
        later: Runs a function soon, elsewhere.
        fifo: Whether the queue is FIFO.
    """

    def __init__(
        self,
        fetch: Callable[[int, int, int], Sequence[Held]],
        give_back: Callable[[Sequence[Held]], None],
        executor: ThreadPoolExecutor,
        later: Callable[[Callable[[], object]], None],
        *,
        fifo: bool,
        most_polls: int,
    ) -> None:
        self._fetch = fetch
        self._give_back = give_back
        self._executor = executor
        self._later = later
        self._most_polls = most_polls
        self._inbox = Inbox(fifo)
        self._changed = threading.Condition()
        self._left: set[_Poll] = set()  # by receives that returned before them
        self._running = 0
        self._waiting = 0
        self._interruptions = 0
        self._closed = False

    def receive(self, most: int, wait: float, lease: int) -> list[Held]:
        """Up to `most` messages, as soon as there is one; none after `wait` seconds, rounded up to whole ones, or when interrupted.

        Raises the exception of its poll.
        """
        deadline = time.monotonic() + wait
        own: _Poll | None = None
        polled = False
        surplus: list[Held] = []
        with self._changed:
            self._waiting += 1
            before = self._interruptions
            try:
                while not (taken := self._inbox.take(most)) and not self._closed and before == self._interruptions:
                    if own is not None and own.done:
                        if own.error is not None:
                            raise own.error
                        own, polled = None, True
                    if own is None:
                        left = deadline - time.monotonic()
                        if left <= 0 and polled:
                            break
                        own = self._poll(most, max(0.0, left), lease)
                    self._changed.wait(self._inbox.next_due())
            finally:
                self._waiting -= 1
                if own is not None and not own.done:
                    own.abandoned = self._closed or before != self._interruptions
                    self._left.add(own)
                if not self._waiting:
                    surplus = self._inbox.loose()
                    void(surplus)
        if surplus:
            self._give_back(surplus)
        return taken

    def interrupt(self) -> None:
        """Let waiting receives return, and give back what nobody has yet."""
        with self._changed:
            self._interruptions += 1
            for poll in self._left:
                poll.abandoned = True
            waiting = self._inbox.clear()
            void(waiting)
            self._running += bool(waiting)
            self._changed.notify_all()
        if waiting:
            self._later(lambda: self._return(waiting))

    def close(self, timeout: float) -> None:
        """End receives, and wait until no poll is under way, whose messages then are back."""
        deadline = time.monotonic() + timeout
        self._closed = True
        self.interrupt()
        with self._changed:
            self._changed.wait_for(lambda: not self._running, max(0.0, deadline - time.monotonic()))

    # What settling tells

    def behind(self, held: Held) -> list[Held]:
        """The messages that wait until this one is settled."""
        with self._changed:
            return self._inbox.behind(held)

    def settled(self, held: Held) -> None:
        """It is handled; the turn of the next one of its group may have come."""
        with self._changed:
            held.serial = -1
            if self._inbox.settled(held):
                self._changed.notify_all()

    def lost(self, held: Held) -> None:
        """It is with somebody else; those that waited for it go back."""
        with self._changed:
            held.serial = -1
            waiting = self._inbox.forget(held)
            void(waiting)
        if waiting:
            self._give_back(waiting)

    def returned(self, held: Held) -> None:
        """It is back on the server, and so are those that waited for it."""
        with self._changed:
            held.serial = -1
            void(self._inbox.forget(held))

    def retried(self, held: Held, delay: float) -> None:
        """It waits here, at the head of its group."""
        with self._changed:
            held.due = time.monotonic() + delay
            held.serial = 0
            self._changed.notify_all()

    # Polls

    def _poll(self, most: int, wait: float, lease: int) -> _Poll | None:
        """One that was left behind and ends in time, or a new one; None when there are too many."""
        latest = time.monotonic() + wait + 1.0
        for poll in self._left:
            if poll.lease == lease and poll.ends <= latest and not poll.done:
                self._left.discard(poll)
                poll.abandoned = False
                return poll
        if self._running >= self._most_polls:
            return None
        seconds = min(LONGEST, math.ceil(wait))
        poll = _Poll(lease, time.monotonic() + seconds)
        self._running += 1
        try:
            self._executor.submit(self._run, poll, min(most, _MOST), seconds)
        except BaseException:
            self._running -= 1
            raise
        return poll

    def _run(self, poll: _Poll, most: int, seconds: int) -> None:
        arrived: Sequence[Held] = ()
        try:
            arrived = self._fetch(most, seconds, poll.lease)
        except BaseException as error:
            poll.error = error
        with self._changed:
            poll.done = True
            self._left.discard(poll)
            unwanted = self._closed or (poll.abandoned and not self._waiting)
            surplus = arrived if unwanted else ()
            void(surplus)
            if not unwanted:
                self._inbox.add(arrived)
            self._changed.notify_all()
        self._return(surplus)

    def _return(self, surplus: Sequence[Held]) -> None:
        """Give back, as the end of something that was running."""
        try:
            if surplus:
                self._give_back(surplus)
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()
