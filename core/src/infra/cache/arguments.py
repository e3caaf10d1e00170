"""What times and numbers a cache takes, checked before anything is sent or computed."""

from __future__ import annotations

import math
from datetime import timedelta
from numbers import Real
from operator import index
from typing import Final

from infra.cache.errors import CacheValueError
from infra.cache.model import TTL

_LONGEST: Final = 100 * 365 * 86_400
_INTEGERS: Final = range(-(2**63), 2**63)


def milliseconds(ttl: TTL) -> int | None:
    """A TTL for a driver.

    Raises:
        CacheValueError: It is no number, not positive, or beyond 100 years.
    """
    if ttl is None:
        return None
    found = _number(ttl)
    if found is None or not 0.001 <= found <= _LONGEST:
        raise CacheValueError(f"a TTL of {_shown(ttl)} is out of range", remedy="give seconds from 0.001 to 100 years, or None for no end")
    return int(found * 1000)


def clipped(ttl: float) -> int:
    """The milliseconds of seconds that were calculated from what the caller gave, within what a driver takes."""
    return int(min(max(ttl, 0.001), _LONGEST) * 1000)


def lasting(ttl: float | timedelta) -> int:
    """The TTL of a lock, in milliseconds.

    Raises:
        CacheValueError: It has none, or one that `milliseconds` refuses.
    """
    found = milliseconds(ttl)
    if found is None:
        raise CacheValueError("a lock has a TTL, or it would outlive a holder that dies", remedy="give seconds, such as 30")
    return found


def span(value: float | timedelta, what: str) -> float:
    """A time in seconds that may be 0.

    Raises:
        CacheValueError: It is no number, negative, or beyond 100 years.
    """
    found = _number(value)
    if found is None or not 0 <= found <= _LONGEST:
        raise CacheValueError(f"{what} is {_shown(value)}, which is no time", remedy="give seconds from 0 up, or a timedelta")
    return found


def patience(wait: float | timedelta | None) -> float | None:
    """How long to wait, in seconds; None, and infinity, for as long as it takes."""
    found = None if wait is None else _number(wait)
    return None if wait is None or found == math.inf else span(wait, "wait")


def positive(value: float, what: str) -> float:
    """A finite number above 0.

    Raises:
        CacheValueError: It is none.
    """
    found = None if isinstance(value, timedelta) else _number(value)
    if found is None or not 0 < found < math.inf:
        raise CacheValueError(f"{what} is {_shown(value)}", remedy="give a positive number")
    return float(found)


def eagerness(early: float) -> float:
    """XFetch's beta: a finite number, at least 0."""
    found = None if isinstance(early, timedelta) else _number(early)
    if found is None or not 0 <= found < math.inf:
        raise CacheValueError(f"early is {_shown(early)}", remedy="give a number from 0 up; 0 never refreshes early")
    return float(found)


def integer(value: int, what: str, least: int = -(2**63)) -> int:
    """An integer of 64 bits.

    Raises:
        CacheValueError: It is no integer, out of range, or below `least`.
    """
    try:
        found = None if isinstance(value, bool) else index(value)
    except TypeError:
        found = None
    if found is None or found not in _INTEGERS or found < least:
        where = "" if least < 0 else f" from {least} up"
        raise CacheValueError(f"{what} is {_shown(value)}, which is no integer of 64 bits{where}", remedy="give an int")
    return found


def _number(value: object) -> float | None:
    """The seconds or number that `value` is; None when it is neither."""
    if type(value) is int or type(value) is float:
        return value
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Real) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return math.inf
    return None


def _shown(value: object) -> str:
    """`value` as a message shows it: short, and whatever its ``repr`` does."""
    try:
        text = repr(value)
    except Exception:
        text = f"a {type(value).__name__}"
    return text if len(text) <= 40 else f"{text[:40]}..."
