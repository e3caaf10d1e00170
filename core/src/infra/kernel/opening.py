"""From a provider's descriptor to an open driver, and from a driver to its portable object."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from infra.errors import ConfigurationError
from infra.plugin import Capability, OpenContext, Provider

if TYPE_CHECKING:
    from infra.kernel.settings import ProviderSettings


def load(reference: str) -> Any:
    """The object that ``"module:attribute"`` names."""
    module, _, attribute = reference.partition(":")
    return getattr(import_module(module), attribute)


def open_driver(capability: Capability, provider: Provider, settings: ProviderSettings, context: OpenContext) -> Any:  # noqa: ARG001
    """A blocking driver. The parameters are those of `open_driver_async`."""
    if provider.open is None:
        raise ConfigurationError(
            f"provider {provider.name} serves asyncio hosts only",
            resource=context.resource,
            provider=provider.name,
            remedy="use AsyncInfra, or choose another provider",
        )
    return load(provider.open)(settings, context)


async def open_driver_async(capability: Capability, provider: Provider, settings: ProviderSettings, context: OpenContext) -> Any:
    """An asyncio driver; over a blocking-only provider, the capability's adapter on a thread pool of this resource."""
    if provider.open_async is not None:
        return await load(provider.open_async)(settings, context)
    if capability.threaded is None or provider.open is None:
        raise ConfigurationError(
            f"provider {provider.name} serves blocking hosts only",
            resource=context.resource,
            provider=provider.name,
            remedy="use Infra, or choose another provider",
        )
    from infra.runtime.bridge import ThreadBridge

    bridge = ThreadBridge(context.resource, settings.threads)
    try:
        return load(capability.threaded)(await bridge.call(load(provider.open), settings, context), bridge)
    except BaseException:
        bridge.close()
        raise
