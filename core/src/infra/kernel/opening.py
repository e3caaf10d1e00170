"""From a provider's descriptor to an open driver, and from a driver to its portable object."""

from __future__ import annotations

import sys
from importlib import import_module
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final, cast

from infra.errors import ConfigurationError, ErrorCode, ServiceError
from infra.kernel.capabilities import CAPABILITIES
from infra.kernel.shapes import describe
from infra.plugin import Capability, OpenContext, Provider

if TYPE_CHECKING:
    from infra.kernel.core import Kernel
    from infra.kernel.discovery import FoundProvider
    from infra.kernel.settings import ProviderSettings


_ABSENT: Final = object()

#: Members of a Protocol that only drivers with a feature have.
_OPTIONAL: Final = {"database": frozenset({"notify", "wait_for_notice"})}


def load(reference: str) -> Any:
    """The object that ``"module:attribute"`` names."""
    module, _, attribute = reference.partition(":")
    return getattr(import_module(module), attribute)


def load_settings(found: FoundProvider) -> type[ProviderSettings]:
    """The settings class of a provider.

    Raises:
        ConfigurationError: It cannot be imported, or is no settings class; with the plugin and the cause.
    """
    from infra.kernel.settings import ProviderSettings

    model = _load_of(found.plugin.title, "settings", found.descriptor.settings)
    if not (isinstance(model, type) and issubclass(model, ProviderSettings)):
        message = f"the settings {found.descriptor.settings} of plugin {found.plugin.title} are no ProviderSettings class"
        raise ConfigurationError(message, provider=found.name, remedy="report it to its author")
    return model


def _load_of(title: str, what: str, reference: str) -> Any:
    """What a plugin's descriptor names.

    Raises:
        ConfigurationError: It cannot be imported; with the plugin and the cause.
    """
    try:
        return load(reference)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        missing = isinstance(error, ImportError)
        remedy = "install what it needs, or run `infra doctor`" if missing else "report it to its author"
        message = f"importing the {what} {reference} of {title} raised {describe(error)}"
        raise ConfigurationError(message, remedy=remedy) from error


def _checked(capability: Capability, provider: Provider, driver: Any, context: OpenContext, blocking: bool) -> Any:
    """A driver that a plugin opened.

    Raises:
        ConfigurationError: It lacks members that every driver of the capability has; the message names them.
    """
    try:
        missing = [name for name in _members(capability, blocking) if _static(driver, name) is _ABSENT and not _is_dynamic(driver, name)]
        said = "" if not missing else f"lacks {', '.join(missing)}"
        features = _static(driver, "features")
        if not missing and isinstance(features, str | bytes | int | list | tuple | dict):
            said = f"has features that are {type(cast(object, features)).__name__}, not a frozenset"
    except Exception as error:
        said = f"raised {describe(error)} when it was looked at"
    if not said:
        return driver
    raise ConfigurationError(
        f"provider {provider.name} opened {'None' if driver is None else f'a {type(driver).__name__}'}, which {said}",
        resource=context.resource,
        provider=provider.name,
        operation="open",
        remedy="report it to the plugin's author",
    )


def _static(driver: object, name: str) -> object:
    """A member as it is defined: a property is not run, which may ask a server."""
    from inspect import getattr_static

    return getattr_static(driver, name, _ABSENT)


def _is_dynamic(driver: object, name: str) -> bool:
    """Whether a driver that answers for any name, such as a proxy, has this one."""
    return hasattr(type(driver), "__getattr__") and hasattr(driver, name)


def _members(capability: Capability, blocking: bool) -> list[str]:
    """The names that a driver of that capability must have: those of its Protocol, where the capability is one of the kernel's."""
    from infra.driver import AsyncDriver, Driver

    kind: Any = Driver if blocking else AsyncDriver
    module = sys.modules.get(f"infra.{capability.name}.driver")
    if capability in CAPABILITIES and module is not None:
        title = {"llm": "LLM"}.get(capability.name, capability.name.title())
        kind = getattr(module, f"{'' if blocking else 'Async'}{title}Driver", None) or getattr(module, f"{title}Driver", kind)
    bases: tuple[type, ...] = kind.__mro__
    names: set[str] = {
        name
        for one in bases
        if getattr(one, "_is_protocol", False) and one.__module__.startswith("infra.")
        for name in (*vars(one), *vars(one).get("__annotations__", {}))
        if not name.startswith("_")
    }
    return sorted(names - _OPTIONAL.get(capability.name, frozenset()))


def open_driver(capability: Capability, provider: Provider, settings: ProviderSettings, context: OpenContext) -> Any:
    """A blocking driver; over an asyncio-only provider, the capability's adapter on an event loop of this resource."""
    if provider.open is None and provider.open_async is not None and capability.looped is not None:
        from infra.runtime.looped import PrivateLoop

        loop = PrivateLoop(context.resource)
        try:
            return load(capability.looped)(loop.call(open_driver_async(capability, provider, settings, context)), loop)
        except BaseException:
            loop.close()
            raise
    if provider.open is None:
        raise ConfigurationError(
            f"provider {provider.name} serves asyncio hosts only",
            resource=context.resource,
            provider=provider.name,
            remedy="use AsyncInfra, or choose another provider",
        )
    opener = _load_of(f"provider {provider.name}", "function", provider.open)
    return _checked(capability, provider, opener(settings, context), context, True)


async def open_driver_async(capability: Capability, provider: Provider, settings: ProviderSettings, context: OpenContext) -> Any:
    """An asyncio driver; over a blocking-only provider, the capability's adapter on a thread pool of this resource."""
    if provider.open_async is not None:
        opener = _load_of(f"provider {provider.name}", "function", provider.open_async)
        opening = opener(settings, context)
        if not isawaitable(opening):
            raise ConfigurationError(
                f"{provider.open_async} is no coroutine function",
                resource=context.resource,
                provider=provider.name,
                remedy="report it to the plugin's author",
            )
        return _checked(capability, provider, await opening, context, False)
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
        opened = await bridge.call(open_driver, capability, provider, settings, context)
        return load(capability.threaded)(opened, bridge)
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
    found = kernel.resource(full_name).provider
    if isinstance(error, OSError) and error.filename is not None and found is not None and found.descriptor.embedded:
        remedy = f"see that this account may write there, or set another path in [{full_name}], or `data_dir` in [infra]"
        return _not_open(kernel, full_name, ErrorCode.UNAVAILABLE, f"{error.filename}: {error.strerror}", remedy)
    if plain is not None or isinstance(error, OSError):
        return _not_open(kernel, full_name, ErrorCode.UNAVAILABLE, plain or str(error))
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return _not_open(kernel, full_name, ErrorCode.INTERNAL, text)


def _not_open(kernel: Kernel, full_name: str, code: ErrorCode, text: str, remedy: str | None = None) -> ServiceError:
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
        remedy=remedy or advice(code, look) or f"`infra explain {full_name}` shows its settings and where they come from",
    )
