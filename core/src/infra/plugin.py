"""All that a plugin's author imports.

A plugin is a module, named by an entry point in the group ``infra.plugins``, with functions marked `hookimpl` that return
`Provider` descriptors. The module is imported by every command, so it holds descriptors only: no SDK, no pydantic.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from pluggy import HookimplMarker

from infra.errors import ErrorCode

if TYPE_CHECKING:
    from infra.kernel.context import Diagnosis as Diagnosis
    from infra.kernel.context import OpenContext as OpenContext
    from infra.kernel.secrets import Secret as Secret
    from infra.kernel.settings import ProviderSettings as ProviderSettings
    from infra.kernel.settings import Seconds as Seconds

T = TypeVar("T")

#: The version of the driver contracts that this kernel speaks, and the oldest that it still accepts.
DRIVER_API: Final = 1
OLDEST_DRIVER_API: Final = 1

hookimpl = HookimplMarker("infra")


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One way to serve a capability. The hook that returns it says which.

    ``settings``, ``open`` and ``open_async`` are ``"module:attribute"`` references, imported only when a resource needs them.
    Which of ``open`` and ``open_async`` exist says whether the provider serves blocking hosts, asyncio hosts or both.

    Args:
        name: The provider's name, unique within its capability: ``postgres``, ``redis``.
        summary: One line for ``infra providers``.
        settings: The settings class, a subclass of the capability's settings.
        open: ``(settings, context) -> driver``, blocking.
        open_async: ``async (settings, context) -> driver``.
        schemes: URL schemes that select this provider.
        modules: Top-level modules that must be importable. They are looked for, never imported, by the kernel.
        selects: ``{field: (variable, ...)}``: well-known names whose presence configures the resource ``main``.
        fills: ``{field: (variable, ...)}``: well-known names that only fill fields of resources that exist anyway.
        embedded: True when it needs no server. The first embedded provider of a capability is its default outside production.
        driver_api: The version of the driver contract that it was written for.
        status: ``stable``, ``beta`` or ``experimental``.
        telemetry_system: The semantic-convention name of the system, such as ``postgresql``.
        docs: Where its manual page is.
    """

    name: str
    summary: str
    settings: str
    open: str | None = None
    open_async: str | None = None
    schemes: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    selects: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    fills: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    embedded: bool = False
    driver_api: int = DRIVER_API
    status: str = "stable"
    telemetry_system: str | None = None
    docs: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """A kind of service that hosts use through one portable API. The kernel has five; a plugin may add more.

    Args:
        name: ``cache``. The hook that collects its providers is ``infra_<name>``.
        portable: The blocking portable class, ``"module:Class"``; it takes ``(driver, settings, context, owned=True)``.
        portable_async: Its asyncio twin.
        settings: The settings class that every provider's settings class extends.
        threaded: An async driver over a blocking one, ``"module:Class"``, made as ``(driver, bridge)``; None when there is none.
        looped: A blocking driver over an async one, ``"module:Class"``, made as ``(driver, loop)``; None when there is none.
        hookspecs: The module with the hook's specification; None for the kernel's own.
        selects: Well-known variables that configure the resource ``main``, whatever its provider.
        selects_named: ``{field: pattern}``: ``{"url": "{NAME}_DB_URL"}`` configures the resource ``name``.
        fills: Well-known variables that fill fields of every resource of this capability.
        modules: Top-level modules that the portable API needs.
        extra: The extra of ``infra-kernel`` that installs those modules.
    """

    name: str
    portable: str
    portable_async: str
    settings: str
    threaded: str | None = None
    looped: str | None = None
    hookspecs: str | None = None
    selects: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    selects_named: Mapping[str, str] = field(default_factory=dict[str, str])
    fills: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    modules: tuple[str, ...] = ()
    extra: str | None = None


class SharedStores:
    """In-memory stores that belong to one kernel, so that its blocking and its async door see the same data."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stores: dict[object, object] = {}

    def get(self, key: object, factory: Callable[[], T]) -> T:
        """The store under `key`, made by `factory` on first use."""
        with self._lock:
            if key not in self._stores:
                self._stores[key] = factory()
            return cast(T, self._stores[key])

    def clear(self) -> None:
        """Forget all stores; the kernel does this when its last door closes."""
        with self._lock:
            self._stores.clear()


_LAZY: Final[Mapping[str, str]] = {
    "Diagnosis": "infra.kernel.context",
    "OpenContext": "infra.kernel.context",
    "Secret": "infra.kernel.secrets",
    "ProviderSettings": "infra.kernel.settings",
    "Seconds": "infra.kernel.settings",
}

__all__ = [
    "DRIVER_API",
    "OLDEST_DRIVER_API",
    "Capability",
    "Diagnosis",
    "ErrorCode",
    "OpenContext",
    "Provider",
    "ProviderSettings",
    "Seconds",
    "Secret",
    "SharedStores",
    "hookimpl",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
