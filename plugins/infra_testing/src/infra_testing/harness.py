"""How a conformance suite opens the provider under test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from infra.kernel.capabilities import CAPABILITIES
from infra.kernel.opening import load, open_driver, open_driver_async
from infra.kernel.settings import ProviderSettings
from infra.plugin import Capability, OpenContext, Provider, SharedStores
from infra_testing.loading import modules_of, offered
from infra_testing.private import PrivateServer


@dataclass(frozen=True)
class Place:
    """Where resources of one test live. Resources opened in one place see the same embedded data.

    Args:
        data_dir: The folder of embedded providers.
        stores: The memory stores of embedded providers.
    """

    data_dir: Path
    stores: SharedStores = field(default_factory=SharedStores)


@dataclass(frozen=True)
class Harness:
    """A provider and the settings to test it with.

    Args:
        provider: The provider's name.
        settings: Its settings, or a function that returns them (which may start a server).
        plugin: The module of the plugin; found through the installed entry points when not given.
        capability: Only for a capability that the kernel does not have.
        server: A private server to stop, kill and reach through a fault proxy. With it the fault cases run; a provider that is not
            embedded and gives none has them reported as skipped.
        absent: What fault cases cannot have, each with its reason: ``{"kill": "the server forgets everything"}`` for a server that
            may not be killed, ``{"server": "..."}`` where there is none. The cases that need it then pass without a run.
    """

    provider: str
    settings: Mapping[str, object] | Callable[[], Mapping[str, object]] = field(default_factory=dict[str, object])
    plugin: str | None = None
    capability: Capability | None = None
    server: PrivateServer | None = None
    absent: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        for name, reason in self.absent.items():
            if name not in ("kill", "server") or not reason.strip():
                raise ValueError(f"absent={{{name!r}: {reason!r}}}: give 'kill' or 'server', and the reason for its absence")
        if "server" in self.absent and self.server is not None:
            raise ValueError("a harness gives a server or declares its absence, not both")

    def with_settings(self, **changes: object) -> Harness:
        """The same provider with further settings."""
        return replace(self, settings={**self.values(), **changes})

    def values(self) -> Mapping[str, object]:
        """The settings as a mapping."""
        return self.settings() if callable(self.settings) else self.settings

    def portable(self) -> Harness:
        """The same for another process: the values as they are now, and no server."""
        return Harness(self.provider, dict(self.values()), self.plugin, self.capability)

    def capability_of(self, name: str) -> Capability:
        """The capability's descriptor."""
        if self.capability is not None and self.capability.name == name:
            return self.capability
        return next(known for known in CAPABILITIES if known.name == name)

    def descriptor(self, capability: str) -> Provider:
        """The provider's descriptor, from its plugin's hook.

        Raises:
            LookupError: No host would find it either: no hook offers it, or the hook is not marked as one.
        """
        modules = modules_of(self.plugin)
        for module in modules:
            for provider in offered(module, capability):
                if provider.name == self.provider:
                    return provider
        raise LookupError(f"no plugin among {modules} offers {capability} provider {self.provider!r}")

    def prepare(
        self, capability: str, place: Place, name: str, overrides: Mapping[str, object]
    ) -> tuple[Provider, ProviderSettings, OpenContext]:
        """All that is needed to open a resource."""
        provider = self.descriptor(capability)
        settings = load(provider.settings)(**{**self.values(), **overrides})
        context = OpenContext(
            capability=capability, name=name, provider=provider.name, environment="test", data_dir=place.data_dir, stores=place.stores
        )
        return provider, settings, context

    def open(self, capability: str, place: Place, name: str = "main", **overrides: object) -> Any:
        """A started blocking resource; the caller closes it."""
        provider, settings, context = self.prepare(capability, place, name, overrides)
        known = self.capability_of(capability)
        resource = load(known.portable)(open_driver(known, provider, settings, context), settings, context)
        try:
            resource.start()
        except BaseException:
            resource.close()
            raise
        return resource

    async def open_async(self, capability: str, place: Place, name: str = "main", **overrides: object) -> Any:
        """A started asyncio resource; the caller closes it."""
        provider, settings, context = self.prepare(capability, place, name, overrides)
        known = self.capability_of(capability)
        driver = await open_driver_async(known, provider, settings, context)
        resource = load(known.portable_async)(driver, settings, context)
        try:
            await resource.start()
        except BaseException:
            await resource.close()
            raise
        return resource
