# Generated from limiter.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""Rate limits between processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from infra.cache._sync.atomic import Atomics
from infra.cache.arguments import integer, milliseconds, positive
from infra.cache.errors import CacheUnavailableError
from infra.cache.model import Decision


class Limiter:
    """Admits requests at a steady rate, with bursts, by GCRA: no windows at whose edges twice the rate gets through.

    Losing the provider's memory admits one more burst.
    """

    def __init__(
        self, atomics: Atomics, key: Callable[[str], str], rate: float, burst: int, policy: Literal["allow", "deny", "raise"]
    ) -> None:
        self.rate = positive(rate, "rate")
        self.burst = integer(burst, "burst", 1)
        if self.burst / self.rate >= 0.001:  # refuses what takes longer than 100 years to come back
            milliseconds(self.burst / self.rate)
        self._atomics = atomics
        self._key = key
        self._interval_ms = 1000 / self.rate
        self._policy = policy

    def acquire(self, subject: str = "", cost: int = 1) -> Decision:
        """Ask for `cost` requests of `subject`, such as a user or an address, at once; never waits.

        While the provider is down the setting `limiter_policy` decides.

        Raises:
            CacheUnavailableError: The provider is down, and the policy is to raise.
            CacheValueError: A cost that is no integer, or negative.
        """
        cost = min(integer(cost, "cost", 0), self.burst + 1)  # one that never can be allowed is as good as another
        try:
            return self._atomics.gcra(self._key(subject), self._interval_ms, self.burst, cost)
        except CacheUnavailableError:
            if self._policy == "raise":
                raise
            allowed = self._policy == "allow"
            return Decision(allowed, self.burst if allowed else 0, 0.0 if allowed else self._interval_ms / 1000, 0.0)
