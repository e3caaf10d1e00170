"""The cache: one portable API for Redis, SQLite, memory and whatever a plugin brings."""

from infra.cache._async.cache import AsyncCache as AsyncCache
from infra.cache._async.cached import AsyncCachedFunction as AsyncCachedFunction
from infra.cache._async.limiter import AsyncLimiter as AsyncLimiter
from infra.cache._async.lock import AsyncCacheLock as AsyncCacheLock
from infra.cache._sync.cache import Cache as Cache
from infra.cache._sync.cached import CachedFunction as CachedFunction
from infra.cache._sync.limiter import Limiter as Limiter
from infra.cache._sync.lock import CacheLock as CacheLock
from infra.cache.codecs import Codecs as Codecs
from infra.cache.driver import AsyncAtomicCacheDriver as AsyncAtomicCacheDriver
from infra.cache.driver import AsyncCacheDriver as AsyncCacheDriver
from infra.cache.driver import AtomicCacheDriver as AtomicCacheDriver
from infra.cache.driver import CacheDriver as CacheDriver
from infra.cache.errors import CacheError as CacheError
from infra.cache.errors import CacheOperationError as CacheOperationError
from infra.cache.errors import CacheUnavailableError as CacheUnavailableError
from infra.cache.errors import CacheValueError as CacheValueError
from infra.cache.errors import LockLostError as LockLostError
from infra.cache.errors import LockNotAcquiredError as LockNotAcquiredError
from infra.cache.model import MISS as MISS
from infra.cache.model import CacheFeature as CacheFeature
from infra.cache.model import CacheItem as CacheItem
from infra.cache.model import CacheStats as CacheStats
from infra.cache.model import Decision as Decision
from infra.cache.model import SetMode as SetMode
from infra.cache.settings import CacheSettings as CacheSettings
