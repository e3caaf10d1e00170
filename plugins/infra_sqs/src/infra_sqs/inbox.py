"""What the server has lent to this process, and who may have it.

SQS answers one receive with several messages of a FIFO group, and then locks the group until all of them are settled. Only the first may
be handed out; the others wait here for it. A retry of the first happens here as well: if the others were given back for it, each would
lose one of its attempts. Not thread-safe; its owner locks.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from infra.queue.model import Message

_serials: Final = itertools.count(1)


@dataclass(slots=True, eq=False)
class Held:
    """A message that the server has lent.

    Args:
        message: Its envelope; `attempt` counts all deliveries, this one included.
        sqs_id: The id that SQS gave it.
        receipt: The receipt handle.
        group: Its group in a FIFO queue.
        lease: Seconds of the lease.
        since: When it was received; monotonic, as all times here.
        ends: When the lease ends.
        due: Not to be handed out before.
        serial: Whom it was handed to; 0 while it is with nobody.
    """

    message: Message
    sqs_id: str
    receipt: str
    group: str
    lease: float
    since: float
    ends: float
    due: float = 0.0
    serial: int = 0

    def hand_out(self) -> int:
        """Give it to somebody; the serial number says to whom."""
        self.serial = next(_serials)
        return self.serial


@dataclass(frozen=True, slots=True)
class Token:
    """What a settlement needs: the message, and that it was lent to this receiver."""

    held: Held
    serial: int

    def holds(self) -> bool:
        """Whether the lease still is this receiver's."""
        return self.held.serial == self.serial and self.held.ends > time.monotonic()


class Inbox:
    """The messages of one queue that were received and are not settled; of a standard queue only those that nobody took yet."""

    def __init__(self, fifo: bool) -> None:
        self._fifo = fifo
        self._loose: deque[Held] = deque()
        self._groups: dict[str, deque[Held]] = {}

    def add(self, arrived: Sequence[Held]) -> None:
        """Messages of one answer, in its order."""
        if not self._fifo:
            self._loose.extend(arrived)
            return
        # The server gives a group only when it holds nothing of it lent: what is here of it is settled, or its lease is over.
        for group in {held.group for held in arrived}:
            self._groups.pop(group, None)
        for held in arrived:
            self._groups.setdefault(held.group, deque()).append(held)

    def take(self, most: int) -> list[Held]:
        """Up to `most` messages whose turn it is, handed out; those whose lease has ended are forgotten."""
        now = time.monotonic()
        taken: list[Held] = []
        while self._loose and len(taken) < most:
            held = self._loose.popleft()
            if held.ends > now:
                held.hand_out()
                taken.append(held)
        for group, line in list(self._groups.items()):
            if len(taken) >= most:
                break
            head = line[0]
            if head.ends <= now:
                del self._groups[group]  # the leases of those behind it ended with its own, or will soon
            elif not head.serial and head.due <= now:
                head.hand_out()
                taken.append(head)
        return taken

    def next_due(self) -> float | None:
        """Seconds until the first retry that waits here; None when there is none."""
        waiting = [line[0].due for line in self._groups.values() if line[0].due and not line[0].serial]
        return max(0.0, min(waiting) - time.monotonic()) if waiting else None

    def behind(self, held: Held) -> list[Held]:
        """The messages that wait for this one."""
        line = self._groups.get(held.group)
        return list(line)[1:] if line and line[0] is held else []

    def settled(self, held: Held) -> bool:
        """It is gone from the server, or back there alone. Whether another one's turn has come."""
        line = self._groups.get(held.group)
        if not line or line[0] is not held:
            return False
        line.popleft()
        if line:
            return True
        del self._groups[held.group]
        return False

    def forget(self, held: Held) -> list[Held]:
        """Its lease is lost, or it goes back with its group: those that waited for it, to be given back."""
        line = self._groups.get(held.group)
        if not line or line[0] is not held:
            return []
        del self._groups[held.group]
        return list(line)[1:]

    def clear(self) -> list[Held]:
        """Everything that is with nobody, to be given back."""
        waiting = list(self._loose)
        self._loose.clear()
        for group, line in list(self._groups.items()):
            head = line[0]
            kept = [head] if head.serial else []
            waiting += list(line)[len(kept) :]
            if kept:
                self._groups[group] = deque(kept)
            else:
                del self._groups[group]
        return waiting

    def loose(self) -> list[Held]:
        """What nobody took of a standard queue, to be given back; in a group the next receive has the next one's turn."""
        left = list(self._loose)
        self._loose.clear()
        return left


def void(all_of: Iterable[Held]) -> None:
    """Whoever has them has them no longer."""
    for held in all_of:
        held.serial = -1
