# Generated from cached.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""Functions that keep their results."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from infra.cache.errors import CacheValueError
from infra.cache.model import TTL

if TYPE_CHECKING:
    from infra.cache._sync.cache import Cache


class CachedFunction(Protocol):
    """A decorated function."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The kept result, or that of the function."""
        ...

    def key(self, *args: Any, **kwargs: Any) -> str:
        """The key of these arguments in the cache."""
        ...

    def invalidate(self, *args: Any, **kwargs: Any) -> bool:
        """Forget the result for these arguments; whether there was one."""
        ...


def cached_function(
    cache: Cache,
    function: Callable[..., Any],
    *,
    ttl: TTL,
    key: Callable[..., str] | None,
    stale: float | timedelta,
    early: float | None,
    tags: Sequence[str],
) -> CachedFunction:
    """`function` with its results kept in `cache`; `Cache.cached` has the arguments."""
    name = f"{function.__module__}.{function.__qualname__}"
    encode = cache.codecs.encode
    signature = inspect.signature(function)
    most = len(signature.parameters)

    def key_of(*args: Any, **kwargs: Any) -> str:
        if key is not None:
            return key(*args, **kwargs)
        if kwargs or len(args) < most:  # the same call has the same key, however its arguments are written
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            args, kwargs = bound.args, dict(sorted(bound.kwargs.items()))
        try:
            return f"{name}:{encode([args, kwargs] if kwargs else list(args)).decode('ascii', 'backslashreplace')}"
        except CacheValueError as error:
            raise CacheValueError(
                f"the arguments of {name} make no key: {error.message}", operation="cached", remedy="give `cached` a key function"
            ) from error

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        call = functools.partial(function, *args, **kwargs)
        return cache.get_or_set(key_of(*args, **kwargs), call, ttl, stale=stale, early=early, tags=tags)

    def invalidate(*args: Any, **kwargs: Any) -> bool:
        return cache.delete(key_of(*args, **kwargs))

    wrapper.key = key_of  # type: ignore[attr-defined]
    wrapper.invalidate = invalidate  # type: ignore[attr-defined]
    return wrapper  # type: ignore[return-value]
