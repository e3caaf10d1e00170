"""Why a server was not reached, in plain words: what the operating system and TLS said, below all layers of an SDK."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator
from typing import Final

from infra.errors import ErrorCode

_ERRNO: Final = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "the connection was reset",
    errno.EPIPE: "the connection was closed",
    errno.EHOSTUNREACH: "no route to the host",
    errno.ENETUNREACH: "the network is unreachable",
    errno.ETIMEDOUT: "no answer in time",
}


def plain_cause(error: BaseException) -> str | None:
    """The cause of a failure to connect; None when no layer tells."""
    for layer in _layers(error):
        if isinstance(layer, ssl.SSLCertVerificationError) and isinstance(reason := getattr(layer, "verify_message", None), str):
            return f"its certificate is not trusted ({reason})"
        if isinstance(layer, ssl.SSLError) and isinstance(reason := getattr(layer, "reason", None), str):
            return f"TLS failed ({reason.replace('_', ' ').lower()}): is TLS spoken on that port?"
        if isinstance(layer, socket.gaierror):
            return "unknown host"
        if isinstance(layer, OSError) and layer.errno in _ERRNO:
            return _ERRNO[layer.errno]
        if isinstance(layer, TimeoutError):
            return "no answer in time"
    return None


def _layers(error: BaseException) -> Iterator[BaseException]:
    """An exception, and what lies below it; an SDK keeps it as cause, context, argument or attribute."""
    waiting, seen = [error], set[int]()
    while waiting:
        layer = waiting.pop(0)
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        yield layer
        inner = [layer.__cause__, None if layer.__suppress_context__ else layer.__context__, *layer.args, getattr(layer, "reason", None)]
        if isinstance(layer, BaseExceptionGroup):
            inner += layer.exceptions  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
        waiting += [found for found in inner if isinstance(found, BaseException)]


_SENTENCES: Final = {
    ErrorCode.UNAVAILABLE: "see that the server runs, or correct {}",
    ErrorCode.TIMEOUT: "check that the server runs and can be reached from here, or correct {}",
    ErrorCode.UNAUTHENTICATED: "correct {}",
    ErrorCode.PERMISSION_DENIED: "grant the permission to the account in use: {}",
    ErrorCode.CONFIGURATION: "correct {}",
    ErrorCode.NOT_FOUND: "correct {}",
}


def advice(code: ErrorCode, settings: str | None, *, certain: bool = False) -> str | None:
    """What to do about an error of that code, where the settings that it is about are known: ```host` and `port` (REDIS_URL)``.

    Args:
        code: The code.
        settings: The settings, with their origins.
        certain: Whether it is they, and not the server.
    """
    sentence = "correct {}" if certain and code is not ErrorCode.PERMISSION_DENIED else _SENTENCES.get(code)
    return None if sentence is None or settings is None else sentence.format(settings)
