"""Opening one resource: driver, portable object, proof that the server answers; resources with equal connections share a driver."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from infra.errors import ConfigurationError, InfraError, ServiceError
from infra.kernel.configuration import ResourceConfig
from infra.kernel.core import Kernel, ResourceState
from infra.kernel.opening import load, no_answer, not_open, open_driver_async
from infra.plugin import OpenContext, SharedStores
from infra.runtime.aio import Lock, within
from infra.runtime.bridge import WouldWaitError, inline

if TYPE_CHECKING:
    from infra.kernel.settings import ProviderSettings
    from infra.resource import AsyncResource

_log = logging.getLogger("infra.kernel")


class _SharedDriver:
    """A driver that several resources use; the door closes it after them."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.driver: Any = None


class Opener:
    """Opens the resources of one door.

    Args:
        kernel: The kernel.
        services: Looks up another portable object of the door.
    """

    def __init__(self, kernel: Kernel, services: Callable[[str, str], Any]) -> None:
        self._kernel = kernel
        self._services = services
        self._shared: dict[tuple[str, str, Hashable], _SharedDriver] = {}

    async def open(self, full_name: str) -> AsyncResource[Any, Any]:
        """A configured resource, started.

        Raises:
            InfraError: It could not open, with cause and remedy.
        """
        config = self._kernel.resource(full_name)
        settings = self._kernel.settings(full_name)
        try:
            resource = await self._open(config, settings)
        except BaseException as error:
            self._kernel.states[full_name] = ResourceState.OPEN_FAILED
            if isinstance(error, Exception | SystemExit) and not isinstance(error, WouldWaitError):
                raise self._explained(error, config, settings) from (None if isinstance(error, InfraError) else error)
            self._kernel.states[full_name] = ResourceState.READY
            raise
        self._kernel.states[full_name] = ResourceState.OPEN
        return resource

    async def open_temporary(self, full_name: str, values: Mapping[str, Any]) -> AsyncResource[Any, Any]:
        """A resource from settings given in code, for overrides; memory providers start empty."""
        config, settings = self._kernel.temporary(full_name, values)
        return await self._open(config, settings, SharedStores())

    def around(self, full_name: str, driver: Any) -> AsyncResource[Any, Any]:
        """A portable object over a driver given in code, with default settings."""
        capability, _, name = full_name.partition(".")
        known = self._kernel.capability(capability)
        config = ResourceConfig(capability, name)
        return load(known.portable_async)(driver, load(known.settings)(), self._kernel.context(config, self._services))

    async def close(self, timeout: float) -> None:
        """Close the shared drivers, each within `timeout` seconds; errors are logged."""
        for (capability, provider, _), shared in reversed(self._shared.items()):
            if shared.driver is None:
                continue
            try:
                await within(timeout + 1.0, shared.driver.close, timeout)
            except (Exception, SystemExit) as error:
                _log.error("closing %s %s failed: %s", capability, provider, self._kernel.redactor(f"{type(error).__name__}: {error}"))
        self._shared.clear()

    async def _open(
        self, config: ResourceConfig, settings: ProviderSettings, stores: SharedStores | None = None
    ) -> AsyncResource[Any, Any]:
        context = self._kernel.context(config, self._services, stores)
        # A timeout needs a task that can wait; a resource that is opened within a look-up does not wait.
        limit = None if inline() else settings.open_timeout
        return await within(limit, self._build, config, settings, context)

    async def _build(self, config: ResourceConfig, settings: ProviderSettings, context: OpenContext) -> AsyncResource[Any, Any]:
        assert config.provider is not None
        capability, provider = self._kernel.catalog.capabilities[config.capability], config.provider.descriptor
        key = settings.share_key()
        if key is None:
            driver = await open_driver_async(capability, provider, settings, context)
        else:
            shared = self._shared.setdefault((config.capability, provider.name, key), _SharedDriver())
            async with shared.lock:
                if shared.driver is None:
                    shared.driver = await open_driver_async(capability, provider, settings, context)
                driver = shared.driver
        resource: AsyncResource[Any, Any] = load(capability.portable_async)(driver, settings, context, owned=key is None)
        try:
            if not provider.embedded:
                await resource.ping(settings.open_timeout)
            await resource.start()
        except BaseException:
            with suppress(Exception, SystemExit):  # what failed is what has to be told
                await resource.close(1.0)
            raise
        return resource

    def _explained(self, error: BaseException, config: ResourceConfig, settings: ProviderSettings) -> InfraError:
        """The failure with resource, cause and remedy."""
        full_name = config.full_name
        provider = config.provider.name if config.provider is not None else None
        diagnosis = self._kernel.diagnose(error, full_name)
        if diagnosis is not None:
            return ServiceError(
                self._kernel.redactor(f"{diagnosis.what}: {diagnosis.why}"),
                code=error.code if isinstance(error, InfraError) else None,
                resource=full_name,
                provider=provider,
                operation="open",
                remedy=diagnosis.remedy,
            )
        if isinstance(error, InfraError):
            error.resource = error.resource or full_name
            error.provider = error.provider or provider
            return error
        if isinstance(error, TimeoutError) and not error.args:
            return no_answer(self._kernel, full_name, settings.open_timeout)
        if isinstance(error, ImportError):
            return ConfigurationError(
                f"importing {provider} failed: {self._kernel.redactor(' '.join(str(error).split()))[:300]}",
                resource=full_name,
                provider=provider,
                remedy="run `infra doctor`",
            )
        return not_open(self._kernel, full_name, error)
