"""The embedded caches pass the suite, through both doors."""

from types import MappingProxyType

from infra_testing.conformance.cache import AsyncCacheConformance, CacheConformance
from infra_testing.harness import Harness


class TestMemory(CacheConformance):
    harness = Harness("memory", plugin="infra_local")
    bounded = MappingProxyType({"max_entries": 40})
    small = MappingProxyType({"max_bytes": 1 << 20})


class TestMemoryAsync(AsyncCacheConformance):
    harness = Harness("memory", plugin="infra_local")
    bounded = MappingProxyType({"max_entries": 40})
    small = MappingProxyType({"max_bytes": 1 << 20})


class TestSQLite(CacheConformance):
    harness = Harness("sqlite", plugin="infra_local")
    small = MappingProxyType({"max_bytes": 1 << 20})


class TestSQLiteAsync(AsyncCacheConformance):
    harness = Harness("sqlite", plugin="infra_local")
    small = MappingProxyType({"max_bytes": 1 << 20})
