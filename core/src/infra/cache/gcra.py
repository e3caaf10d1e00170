"""The generic cell rate algorithm (ATM Forum, Traffic Management 4.0, 4.4.2): a limiter that needs one number per subject.

The number is the theoretical arrival time (TAT) of the next request at the steady rate, in milliseconds on whatever clock decides.
"""

from __future__ import annotations

import math

from infra.cache.model import Decision


def decide(tat_ms: float | None, now_ms: float, interval_ms: float, burst: int, cost: int) -> tuple[float, Decision]:
    """Whether a request of `cost` is allowed now, and the TAT to store when it is.

    Args:
        tat_ms: The stored TAT; None when there is none.
        now_ms: The present, on the same clock.
        interval_ms: Milliseconds between requests at the steady rate.
        burst: Requests that may come at once after a pause.
        cost: How many requests this one counts for; 0 only looks.
    """
    tolerance = burst * interval_ms
    earlier = now_ms if tat_ms is None else max(tat_ms, now_ms)
    tat = earlier + cost * interval_ms
    excess = tat - now_ms - tolerance
    if excess > 1e-6:
        left = max(0, math.floor((tolerance - (earlier - now_ms)) / interval_ms + 1e-9))
        retry = math.inf if cost > burst else excess / 1000
        return earlier, Decision(False, left, retry, (earlier - now_ms) / 1000)
    return tat, Decision(True, math.floor(-excess / interval_ms + 1e-9), 0.0, (tat - now_ms) / 1000)
