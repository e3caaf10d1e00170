"""The furniture that every portable class shares: life cycle, health, errors, the way to the raw client.

The two base classes are loaded on first use, as they need the settings' base classes; the value types cost nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infra.resource.model import Health as Health
from infra.resource.model import Status as Status

if TYPE_CHECKING:
    from infra.resource._async import AsyncResource as AsyncResource
    from infra.resource._sync import Resource as Resource

_PLACES = {"AsyncResource": "infra.resource._async", "Resource": "infra.resource._sync"}

__all__ = ["AsyncResource", "Health", "Resource", "Status"]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PLACES[name]), name)
