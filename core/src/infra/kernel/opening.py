"""From a provider's descriptor to an open driver, and from a driver to its portable object."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from infra.errors import ConfigurationError, ErrorCode, ServiceError
from infra.plugin import Capability, OpenContext, Provider

if TYPE_CHECKING:
    from infra.kernel.core import Kernel
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


def no_answer(kernel: Kernel, full_name: str, seconds: float) -> ServiceError:
    """The error for a resource that did not open in time."""
    return _not_open(kernel, full_name, ErrorCode.TIMEOUT, f"no answer within {seconds:g} s")


def not_open(kernel: Kernel, full_name: str, error: BaseException) -> ServiceError:
    """The error for an exception that nobody classified, since the driver is not there yet."""
    from infra.resource.causes import plain_cause

    plain = plain_cause(error)
    if plain is not None or isinstance(error, OSError):
        return _not_open(kernel, full_name, ErrorCode.UNAVAILABLE, plain or str(error))
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return _not_open(kernel, full_name, ErrorCode.INTERNAL, text)


def _not_open(kernel: Kernel, full_name: str, code: ErrorCode, text: str) -> ServiceError:
    from infra.kernel.origins import name_origins
    from infra.resource.causes import advice

    config, settings = kernel.resource(full_name), kernel.settings(full_name)
    provider = config.provider.name if config.provider is not None else None
    place = settings.place()
    look = name_origins(kernel, config, settings.suspects.get(code, ()))
    return ServiceError(
        f"{provider}{f' at {place}' if place else ''} did not open: {' '.join(kernel.redactor(text).split())[:300]}",
        code=code,
        resource=full_name,
        provider=provider,
        operation="open",
        remedy=advice(code, look) or f"`infra explain {full_name}` shows its settings and where they come from",
    )
