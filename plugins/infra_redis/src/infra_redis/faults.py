"""What redis-py's exceptions, and the server's error replies, stand for."""

from __future__ import annotations

from typing import Final

from redis import exceptions

from infra.driver import Cause
from infra.plugin import ErrorCode


class NoSuchQueueError(LookupError):
    """There is no queue of that name, or nobody declared it."""


# The first that fits counts: redis-py derives authentication errors from connection errors.
_TYPES: Final[tuple[tuple[type[Exception], ErrorCode], ...]] = (
    (NoSuchQueueError, ErrorCode.NOT_FOUND),
    (exceptions.AuthenticationError, ErrorCode.UNAUTHENTICATED),
    (exceptions.AuthenticationWrongNumberOfArgsError, ErrorCode.UNAUTHENTICATED),
    (exceptions.AuthorizationError, ErrorCode.PERMISSION_DENIED),
    (exceptions.NoPermissionError, ErrorCode.PERMISSION_DENIED),
    (exceptions.TimeoutError, ErrorCode.TIMEOUT),
    (exceptions.ConnectionError, ErrorCode.UNAVAILABLE),
    (exceptions.RedisClusterException, ErrorCode.CONFIGURATION),
    (exceptions.AskError, ErrorCode.CONFIGURATION),  # and MOVED, which only a cluster says
    (exceptions.ClusterCrossSlotError, ErrorCode.CONFIGURATION),
    (exceptions.ClusterDownError, ErrorCode.UNAVAILABLE),  # and MASTERDOWN
    (exceptions.ReadOnlyError, ErrorCode.UNAVAILABLE),  # a replica, after a failover
    (exceptions.OutOfMemoryError, ErrorCode.UNAVAILABLE),
    (exceptions.DataError, ErrorCode.INVALID_ARGUMENT),
)
#: What is in replies for which redis-py has no type; where a script failed, servers before 7 put its name first.
_WORDS: Final[tuple[tuple[str, ErrorCode], ...]] = (
    ("NOAUTH", ErrorCode.UNAUTHENTICATED),
    ("WRONGPASS", ErrorCode.UNAUTHENTICATED),
    ("WRONGTYPE", ErrorCode.INVALID_ARGUMENT),
    ("value is not an integer", ErrorCode.INVALID_ARGUMENT),
    ("increment or decrement would overflow", ErrorCode.INVALID_ARGUMENT),
    ("DB index is out of range", ErrorCode.CONFIGURATION),
    ("NOGROUP", ErrorCode.NOT_FOUND),
    ("ACL failure in script", ErrorCode.PERMISSION_DENIED),
    ("can't run this command or subcommand", ErrorCode.PERMISSION_DENIED),
    ("can't access at least one of the keys", ErrorCode.PERMISSION_DENIED),
    ("OOM command not allowed", ErrorCode.UNAVAILABLE),
    ("READONLY", ErrorCode.UNAVAILABLE),
    ("BUSY ", ErrorCode.UNAVAILABLE),
    ("MISCONF", ErrorCode.UNAVAILABLE),
    ("NOREPLICAS", ErrorCode.UNAVAILABLE),
)


_KINDS: Final = {"READONLY": exceptions.ReadOnlyError, "OOM": exceptions.OutOfMemoryError}
_WRITES: Final = {
    "READONLY": Cause("the server is a read-only replica", ("host", "port")),
    "OOM": Cause("the server is full and may not evict (maxmemory)", (), "raise maxmemory, or let it evict with maxmemory-policy"),
    "MISCONF": Cause("the server cannot save to its disk and refuses writes (MISCONF)", (), "look at the server's log and disk"),
    "NOREPLICAS": Cause("the server has too few replicas and refuses writes (NOREPLICAS)", (), "look at its replicas"),
}
_REFUSALS: Final = ("OOM command not allowed", "READONLY", "MISCONF", "NOREPLICAS")


def is_answer(error: BaseException) -> bool:
    """Whether it is the server's answer that it has not done what it was asked; else nobody knows."""
    return isinstance(error, exceptions.ResponseError | exceptions.BusyLoadingError)


def refuses(error: BaseException) -> bool:
    """Whether the server answered that it does not write now, though it reads: it is full, a replica, or cannot save."""
    text = str(error)
    return isinstance(error, exceptions.ReadOnlyError | exceptions.OutOfMemoryError) or (
        isinstance(error, exceptions.ResponseError) and any(word in text for word in _REFUSALS)
    )


def classify(error: BaseException) -> ErrorCode | None:
    """The code of an exception; None when it is not redis-py's."""
    for kind, code in _TYPES:
        if isinstance(error, kind):
            return code
    if isinstance(error, exceptions.ResponseError):
        text = str(error)
        return next((code for word, code in _WORDS if word in text), ErrorCode.INTERNAL)
    return ErrorCode.INTERNAL if isinstance(error, exceptions.RedisError) else None


def explain(error: BaseException) -> Cause | None:
    """Better words for an exception than its own, and the settings that it is about."""
    text = str(error)
    if "DB index is out of range" in text:
        return Cause("the server has no database of that number", ("db",))
    if "NOAUTH" in text or "Authentication required" in text:
        return Cause("the server asks for a password", ("password",))
    if isinstance(error, exceptions.AskError):
        return Cause(f"the server is a node of a cluster, and this key is on another one: {text}", ("host", "port"))
    if classify(error) is ErrorCode.CONFIGURATION:
        return Cause(text, ("host", "port"))  # it is a cluster
    for word, cause in _WRITES.items():
        if (refuses(error) and word in text) or isinstance(error, _KINDS.get(word, ())):
            return cause
    if isinstance(error, exceptions.ResponseError) and classify(error) is ErrorCode.UNAVAILABLE:
        return Cause(text, remedy="look at the server: it answers, but cannot do it now")
    return None
