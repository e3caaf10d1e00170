"""When to ask again, and after how long."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from infra.errors import InfraError
from infra.llm.errors import LLMError

_RETRY = 10  # in tenths: each success allows a tenth of a further retry
_SAVED_AT_MOST = 100


@dataclass(slots=True)
class RetryBudget:
    """Slows retries down while they are more than a small share of the calls, so that a struggling provider is not asked thrice as often.

    Ten successes allow one retry at the usual pace, and at most ten are saved up; beyond them a retry waits the longest delay. It takes
    none away: `retries` means what it says. Between threads counts may be off by a few; that harms nothing.
    """

    saved: int = _SAVED_AT_MOST

    def succeeded(self) -> None:
        """A call was answered."""
        if self.saved < _SAVED_AT_MOST:
            self.saved += 1

    def take(self) -> bool:
        """Whether a retry at the usual pace is allowed now; it is then counted."""
        if self.saved < _RETRY:
            return False
        self.saved -= _RETRY
        return True


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """One owner of all retries: an SDK's own must be off.

    Args:
        retries: Further attempts at most.
        delay: Seconds before the first one at most; each next one doubles it.
        delay_max: The longest delay, in seconds. Retry-After is obeyed instead, however long.
    """

    retries: int
    delay: float
    delay_max: float
    budget: RetryBudget = field(default_factory=RetryBudget)

    def wait(self, error: InfraError, attempt: int, remaining: float | None) -> float | None:
        """Seconds to wait before asking again after `attempt` attempts; None to give up.

        Full jitter (Brooker, "Exponential Backoff and Jitter", AWS 2015). A Retry-After is obeyed and costs the budget nothing; one beyond
        the deadline gives up at once, and the error then says so.
        """
        if attempt > self.retries or not error.retryable:
            return None
        asked = error.retry_after if isinstance(error, LLMError) else None
        if asked is not None:
            if remaining is None or asked < remaining:
                return asked
            error.remedy = f"the server asks to wait {asked:g} s, longer than the call may take: ask again then, or raise `timeout`"
            return None
        wait = random.uniform(0, min(self.delay_max, self.delay * 2 ** (attempt - 1)))  # noqa: S311
        if not self.budget.take():
            slow = random.uniform(self.delay_max / 2, self.delay_max)  # noqa: S311
            wait = max(wait, slow if remaining is None else min(slow, remaining / 4))
        return None if remaining is not None and wait >= remaining else wait
