"""The whole suite."""

from __future__ import annotations

from infra_testing.conformance.cache._async.arguments import AsyncArgumentCases
from infra_testing.conformance.cache._async.atomics import AsyncAtomicCases
from infra_testing.conformance.cache._async.computing import AsyncComputingCases
from infra_testing.conformance.cache._async.faults import AsyncFaultCases
from infra_testing.conformance.cache._async.groups import AsyncGroupCases
from infra_testing.conformance.cache._async.values import AsyncValueCases


class AsyncCacheConformance(AsyncArgumentCases, AsyncValueCases, AsyncAtomicCases, AsyncComputingCases, AsyncGroupCases, AsyncFaultCases):
    """All that a cache provider must do. Subclass it with a `harness`."""
