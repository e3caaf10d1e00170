"""The conformance suite of cache providers.

Give it a harness::

    class TestMemcached(CacheConformance):
        harness = Harness("memcached", settings={...})

    class TestMemcachedAsync(AsyncCacheConformance):
        harness = Harness("memcached", settings={...})
"""

from infra_testing.conformance.cache._async.suite import AsyncCacheConformance as AsyncCacheConformance
from infra_testing.conformance.cache._sync.suite import CacheConformance as CacheConformance
