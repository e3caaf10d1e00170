"""Counts of what a cache does, shared by a resource and its namespaces."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """The mutable side of `CacheStats`. Not locked: a lost count under threads costs less than a lock on each read."""

    hits: int = 0
    misses: int = 0
    stale: int = 0
    writes: int = 0
    deletes: int = 0
    computed: int = 0
    undecodable: int = 0
    failures: int = 0
