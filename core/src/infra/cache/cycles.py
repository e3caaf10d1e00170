"""Computations that would wait for themselves, found before anybody waits."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from infra.cache.errors import CacheCycleError

_lock: Final = threading.Lock()


class Computation:
    """One computation that is under way.

    Args:
        key: Where its value is stored.

    Attributes:
        revoked: Whether its result must not be stored.
    """

    __slots__ = ("awaited", "done", "key", "revoked")

    def __init__(self, key: str) -> None:
        self.key = key
        self.revoked = False
        self.done = False
        self.awaited: list[Computation] = []  # what its factory waits for now


#: The computations within whose factories this runs, the outermost first; of both doors and of all kernels.
_within: ContextVar[tuple[Computation, ...]] = ContextVar("infra_cache_within", default=())


@contextmanager
def computing(computation: Computation, alone: bool = False) -> Generator[None]:
    """Run the factory of `computation`; `alone` when nobody waits for it, whoever began it."""
    token = _within.set((computation,) if alone else (*_within.get(), computation))
    try:
        yield
    finally:
        computation.done = True
        _within.reset(token)


@contextmanager
def waiting(computation: Computation) -> Generator[None]:
    """Wait for `computation`.

    Raises:
        CacheCycleError: It waits, directly or through others, for the factory that asks.
    """
    chain = _within.get()
    if not chain:
        yield
        return
    asker = chain[-1]
    with _lock:
        if any(one.key == computation.key and not one.done for one in chain) or _leads_to(computation, asker):
            raise CacheCycleError(
                "the factory of this key asks for the key itself, directly or through others: it would wait for ever",
                operation="get_or_set",
                remedy="compute it from what does not need it, or read with get",
            )
        asker.awaited.append(computation)
    try:
        yield
    finally:
        with _lock:
            asker.awaited.remove(computation)


def _leads_to(start: Computation, end: Computation) -> bool:
    seen: set[int] = set()
    todo = [start]
    while todo:
        one = todo.pop()
        if one is end:
            return True
        if id(one) not in seen:
            seen.add(id(one))
            todo += one.awaited
    return False
