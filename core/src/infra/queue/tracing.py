"""The W3C trace context that envelopes carry from publisher to handler."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

#: The traceparent that messages published here carry; while a handler runs, it is that of the handled message.
traceparent: Final[ContextVar[str | None]] = ContextVar("infra_traceparent", default=None)
