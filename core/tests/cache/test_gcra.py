"""The limiter's arithmetic."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from infra.cache.gcra import decide


def test_a_burst_then_the_rate() -> None:
    tat, allowed = None, []
    for now in [0.0] * 4 + [99.0, 100.0, 100.0, 1000.0, 1000.0, 1000.0, 1000.0]:
        tat, decision = decide(tat, now, 100, 3, 1)
        allowed.append(decision.allowed)
    assert allowed == [True, True, True, False, False, True, False, True, True, True, False]


def test_a_refusal_says_when_to_come_back_and_that_is_true() -> None:
    tat, _ = decide(None, 0, 100, 2, 2)
    _, refused = decide(tat, 30, 100, 2, 1)
    assert refused.retry_after == 0.07
    assert decide(tat, 30 + refused.retry_after * 1000, 100, 2, 1)[1].allowed


@given(st.lists(st.tuples(st.floats(0, 500), st.integers(1, 3)), max_size=60), st.integers(1, 10), st.floats(1, 1000))
def test_never_more_than_burst_and_rate_allow(steps: list[tuple[float, int]], burst: int, interval: float) -> None:
    now, tat, admitted = 0.0, None, 0
    for pause, cost in steps:
        now += pause
        tat, decision = decide(tat, now, interval, burst, cost)
        admitted += cost if decision.allowed else 0
        assert admitted <= burst + now / interval + 1e-6
