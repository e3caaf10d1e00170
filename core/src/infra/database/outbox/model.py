"""Value types of the outbox."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxStats:
    """Rows of the outbox.

    Args:
        pending: Committed and neither published nor dead.
        dead: Given up.
        oldest: Seconds since the oldest unpublished row was written, dead ones included; None when there is none.
    """

    pending: int
    dead: int
    oldest: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayPolicy:
    """How a relay works.

    Args:
        batch: Rows of one lease.
        lease: Seconds after which another relay takes over what this one has not marked.
        poll: Seconds between two looks, when nothing wakes it.
        timeout: Seconds that publishing a batch may take; well below `lease`.
        first: Seconds before the second attempt; it doubles with each further one.
        longest: The most seconds between two attempts.
        dead_after: Refusals after which a row is dead. Anything but a refusal is tried again for ever.
        on_dead: ``block`` holds back the later rows of a dead row's key, ``skip`` lets them pass.
    """

    batch: int = 100
    lease: float = 60.0
    poll: float = 5.0
    timeout: float = 5.0
    first: float = 1.0
    longest: float = 60.0
    dead_after: int = 10
    on_dead: Literal["block", "skip"] = "block"
