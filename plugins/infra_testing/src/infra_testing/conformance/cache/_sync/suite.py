# Generated from suite.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""The whole suite."""

from __future__ import annotations

from infra_testing.conformance.cache._sync.arguments import ArgumentCases
from infra_testing.conformance.cache._sync.atomics import AtomicCases
from infra_testing.conformance.cache._sync.computing import ComputingCases
from infra_testing.conformance.cache._sync.faults import FaultCases
from infra_testing.conformance.cache._sync.groups import GroupCases
from infra_testing.conformance.cache._sync.values import ValueCases


class CacheConformance(ArgumentCases, ValueCases, AtomicCases, ComputingCases, GroupCases, FaultCases):
    """All that a cache provider must do. Subclass it with a `harness`."""
