"""The provider passes the suite, through both doors."""

from infra_testing.conformance.cache import AsyncCacheConformance, CacheConformance
from infra_testing.harness import Harness


class TestDictFile(CacheConformance):
    harness = Harness("dictfile", plugin="infra_dictfile")


class TestDictFileAsync(AsyncCacheConformance):
    harness = Harness("dictfile", plugin="infra_dictfile")
