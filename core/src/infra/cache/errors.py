"""Errors of the cache."""

from __future__ import annotations

from infra.errors import ErrorCode, ServiceError


class CacheError(ServiceError):
    """The root of all cache errors."""


class CacheOperationError(CacheError):
    """The provider failed an operation."""


class CacheUnavailableError(CacheOperationError):
    """The cache cannot be reached, or was not a moment ago. Reads turn it into a miss; `incr`, `cas` and `lock` raise it."""

    default_code = ErrorCode.UNAVAILABLE


class CacheValueError(CacheError):
    """A value that cannot be stored, an argument out of range, or a stored value that is not the integer that `incr` needs."""

    default_code = ErrorCode.INVALID_ARGUMENT


class CacheRefusedError(CacheUnavailableError):
    """The server answers, but refuses to write now: it is full, or a read-only replica. Reads go on."""


class CacheCycleError(CacheError):
    """A factory of `get_or_set` that needs its own result."""

    default_code = ErrorCode.INVALID_ARGUMENT


class LockNotAcquiredError(CacheError):
    """Somebody else held the lock for as long as this caller was willing to wait."""

    default_code = ErrorCode.CONFLICT


class LockLostError(CacheError):
    """The lock expired or was taken away while its block ran: what the block did was not exclusive."""

    default_code = ErrorCode.CONFLICT
