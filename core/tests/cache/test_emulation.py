"""Over a provider with only `cas`, everything that can be emulated passes the suite."""

from infra_testing.conformance.cache import AsyncCacheConformance, CacheConformance
from infra_testing.harness import Harness


class TestOverCas(CacheConformance):
    harness = Harness("minimal", plugin="infra_testing.conformance.cache.minimal")


class TestOverCasAsync(AsyncCacheConformance):
    harness = Harness("minimal", plugin="infra_testing.conformance.cache.minimal")
