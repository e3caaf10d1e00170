"""A door to the kernel: opens resources, hands out portable objects, closes everything in reverse."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from types import ModuleType
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from infra.errors import ClosedError, ConfigurationError, InfraError, StartupError
from infra.kernel.core import Kernel, ResourceState
from infra.kernel.discovery import ProviderState
from infra.kernel.health import HealthCheck, HealthReport, failed_check, summarize
from infra.kernel.kernel_settings import truth
from infra.kernel.problems import EnvironmentStatus, failure
from infra.kernel.services._opening_async import Opener
from infra.resource.model import Health, Status
from infra.runtime import forks
from infra.runtime.aio import Lock, SingleFlight, gather, owner, within
from infra.runtime.bridge import ThreadBridge, WouldWaitError, run_now

if TYPE_CHECKING:
    from infra.cache import AsyncCache
    from infra.database import AsyncDatabase
    from infra.kernel.settings import Section
    from infra.llm import AsyncLLM, Options, Prompt, Response
    from infra.queue import AsyncQueue
    from infra.resource import AsyncResource
    from infra.storage import AsyncBucket

# async-only: begin
if TYPE_CHECKING:
    from infra.kernel.services._sync import Infra
# async-only: end

ResourceT = TypeVar("ResourceT", bound="AsyncResource[Any, Any]")
SectionT = TypeVar("SectionT", bound="Section")

_log = logging.getLogger("infra.kernel")
_HEALTH_CACHED = 1.0  # seconds


class AsyncInfra:
    """The door to the kernel.

    Use it as a context manager: entering opens every configured resource whose ``startup`` is eager, leaving closes all in reverse.
    ``services.cache()``, ``services.queue("jobs")`` and so on hand out the portable objects; a resource that is not open yet is opened on
    first use.

    Args:
        settings: Values above every other layer: ``{"cache": {"main": {"provider": "memory"}}}``.
        plugins: Names of plugins that may be loaded; None for what the allow and deny lists say.
        modules: Plugin modules or objects given in code, beside the installed ones.
        sections: The host's own settings sections.
        root: The project folder, which holds infra.toml and .env; the working directory when not given.
        environ: Instead of the process's environment.
        kernel: A kernel to share, instead of making one from the other arguments.
    """

    def __init__(
        self,
        settings: Mapping[str, Any] | None = None,
        *,
        plugins: Sequence[str] | None = None,
        modules: Sequence[ModuleType | object] = (),
        sections: Sequence[type[Section]] = (),
        root: Path | None = None,
        environ: Mapping[str, str] | None = None,
        kernel: Kernel | None = None,
    ) -> None:
        self._owns_kernel = kernel is None
        self.kernel = kernel or Kernel(settings, plugins=plugins, modules=modules, sections=sections, root=root, environ=environ)
        self._opener = Opener(self.kernel, self._service)
        self._opened: dict[str, AsyncResource[Any, Any]] = {}
        self._lookup: dict[tuple[str, str], Any] = {}
        self._overrides: dict[str, AsyncResource[Any, Any]] = {}
        self._retired: list[AsyncResource[Any, Any]] = []
        self._locks: dict[str, Lock] = {}
        self._kinds: dict[type, str] = {}
        self._started = False
        self._closed: str | None = None
        self._owner: object = None
        self._health: tuple[float, HealthReport] | None = None
        self._health_flight: SingleFlight[str, HealthReport] = SingleFlight()
        # async-only: begin
        self._blocking: Infra | None = None
        # async-only: end
        forks.watch(self)

    # Life cycle

    async def start(self) -> None:
        """Check the configuration and open every eager resource, independent ones concurrently.

        Raises:
            ConfigurationError: Something in the configuration is wrong; every problem a line.
            StartupError: A required resource could not open; every failure together. What was opened is closed again.
        """
        if self._started:
            return
        self._check()
        self._owner = owner()
        problems = [problem for problem in self.kernel.problems() if self.kernel.strict or not self._is_optional(problem.subject)]
        if problems:
            raise failure(problems)
        if self.kernel.strict:
            warned = self.kernel.validate_environment().warnings
            if warned:
                raise ConfigurationError("strict start-up, and there are warnings:\n" + "\n".join(f"  {line}" for line in warned))
        for plugin in self.kernel.catalog.plugins:
            if plugin.reason and plugin.state is not ProviderState.DISABLED:
                _log.warning("plugin %s: %s", plugin.title, plugin.reason)
        self._started = True
        try:
            await self._open_eager()
        except BaseException:
            await self.close()
            self._closed = None
            raise

    async def _open_eager(self) -> None:
        names = [
            name
            for name in self.kernel.explicit_resources()
            if (settings := self.kernel.validated(name).settings) is not None and settings.startup == "eager"
        ]
        results = await gather(*(lambda name=name: self._try_open(name) for name in names))
        failures: list[InfraError] = []
        for name, result in zip(names, results, strict=True):
            if not isinstance(result, BaseException):
                continue
            if not isinstance(result, InfraError):
                raise result
            if self.kernel.strict or self.kernel.settings(name).required:
                failures.append(result)
            else:
                _log.warning("optional resource did not open: %s", result)
        if failures:
            raise StartupError(failures)

    async def _try_open(self, full_name: str) -> object:
        return await self.open(full_name)

    async def close(self, timeout: float | None = None) -> None:
        """Close all resources in reverse order of opening, each within `timeout` seconds; errors are logged, the rest is closed anyway."""
        if self._closed is not None:
            return
        self._closed = "it is closed"
        limit = timeout if timeout is not None else self.kernel.own.close_timeout
        self._lookup.clear()
        # async-only: begin
        if self._blocking is not None:
            bridge = ThreadBridge("blocking-door", 1)
            await bridge.call(self._blocking.close, limit)
            bridge.close()
        # async-only: end
        for resource in [*self._retired, *reversed(self._opened.values())]:
            try:
                await within(limit + 1.0, resource.close, limit)
            except (Exception, SystemExit) as error:
                _log.error("closing %s failed: %s", resource.name, self.kernel.redactor(f"{type(error).__name__}: {error}"))
            self.kernel.states[resource.name] = ResourceState.CLOSED
        await self._opener.close(limit)
        self._opened.clear()
        self._retired.clear()
        if self._owns_kernel:
            self.kernel.stores.clear()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def __del__(self) -> None:
        if getattr(self, "_opened", None) and self._closed is None:
            warnings.warn(f"{type(self).__name__} was never closed: use it as a context manager", ResourceWarning, stacklevel=2)

    # Look-up

    def get(self, kind: type[ResourceT], name: str = "main") -> ResourceT:
        """The portable object of type `kind` under `name`: ``services.get(AsyncCache, "main")``. Serves any capability.

        Raises:
            ConfigurationError: It is not configured, or not valid; with the remedy.
            InfraError: It could not open.
        """
        found = self._named(self._kinds.get(kind) or self._capability_of(kind), name)
        if not isinstance(found, kind):
            full_name = f"{self._capability_of(kind)}.{name}"
            raise ConfigurationError(f"is a {type(found).__name__}, not a {kind.__name__}", resource=full_name)
        return found

    def find(self, kind: type[ResourceT], name: str = "main") -> ResourceT | None:
        """Like `get`, but None for a resource that is not configured.

        Outside production an installed embedded provider configures every ``main``.
        """
        full_name = f"{self._capability_of(kind)}.{name}"
        if full_name not in self.kernel.configuration.resources and full_name not in self._overrides:
            return None
        return self.get(kind, name)

    def database(self, name: str = "main") -> AsyncDatabase:
        """The database resource `name`."""
        return self._named("database", name)

    def llm(self, name: str = "main") -> AsyncLLM:
        """The LLM resource `name`."""
        return self._named("llm", name)

    async def execute_prompt(self, prompt: Prompt, context: Mapping[str, object] | None = None, options: Options | None = None) -> Response:
        """Execute a prompt on ``llm.main``, its variables filled from `context`."""
        return await self.llm().execute_prompt(prompt, context, options)

    def storage(self, name: str = "main") -> AsyncBucket:
        """The storage resource `name`."""
        return self._named("storage", name)

    def queue(self, name: str = "main") -> AsyncQueue:
        """The queue resource `name`."""
        return self._named("queue", name)

    def cache(self, name: str = "main") -> AsyncCache:
        """The cache resource `name`."""
        return self._named("cache", name)

    def _named(self, capability: str, name: str) -> Any:
        found = self._lookup.get((capability, name))
        return found if found is not None else self._reach(capability, name)

    async def open(self, full_name: str) -> Any:
        """The resource `full_name` (``cache.main``), opened when it is not open yet, after the resources that it depends on.

        Raises:
            ConfigurationError: It is not configured, or not valid.
            InfraError: It could not open.
        """
        self._check()
        resource: Any = self._overrides.get(full_name) or self._opened.get(full_name)
        if resource is None:
            for name in self._order(full_name, ()):
                resource = await self._open(name)
        return resource

    def _order(self, full_name: str, path: tuple[str, ...]) -> list[str]:
        """The resource after all that it depends on, so that no lock is held while another one is taken."""
        if full_name in path:
            raise ConfigurationError(f"depends on itself: {' -> '.join([*path, full_name])}", resource=full_name, remedy="cut the circle")
        if full_name in self._overrides:
            return [full_name]
        order = [
            name for dependency in self.kernel.settings(full_name).dependencies() for name in self._order(dependency, (*path, full_name))
        ]
        return [*dict.fromkeys(order), full_name]

    async def _open(self, full_name: str) -> Any:
        if full_name in self._overrides:
            return self._overrides[full_name]
        async with self._locks.setdefault(full_name, Lock()):
            if full_name not in self._opened:
                if self._owner is None:
                    self._owner = owner()
                self._opened[full_name] = await self._opener.open(full_name)
            return self._opened[full_name]

    def _reach(self, capability: str, name: str) -> Any:
        """The slow path of a look-up: an override, an open resource, or one to open now."""
        self._check()
        full_name = f"{capability}.{name}"
        resource = self._overrides.get(full_name) or self._opened.get(full_name)
        if resource is None:
            # async-only: begin
            self._check_loop(full_name)
            try:
                resource = run_now(self.open(full_name))
            except WouldWaitError:
                raise ConfigurationError(
                    "it is not open yet, and opening it has to wait for its server",
                    resource=full_name,
                    remedy=f'`await services.open("{full_name}")` first, or configure startup = "eager"',
                ) from None
            # async-only: end
            # sync-only: resource = self.open(full_name)
        self._lookup[capability, name] = resource
        return resource

    # async-only: begin
    def _check_loop(self, full_name: str) -> None:
        try:
            running = owner()
        except RuntimeError:
            raise ClosedError("used outside its event loop", resource=full_name, remedy="use `services.blocking` there") from None
        if self._owner is not None and running is not self._owner:
            raise ClosedError(
                "used from another event loop than the one that entered it", resource=full_name, remedy="open one AsyncInfra for each loop"
            )

    @property
    def blocking(self) -> Infra:
        """The blocking door of the same kernel, for ``def`` handlers and threads; it has its own clients and closes with this door."""
        if self._blocking is None:
            from infra.kernel.services._sync import Infra

            self._check()
            self._blocking = Infra(kernel=self.kernel)
        return self._blocking

    # async-only: end

    def _service(self, capability: str, name: str) -> Any:
        return self._named(self.kernel.capability(capability).name, name)

    def _capability_of(self, kind: type) -> str:
        known = self._kinds.get(kind)
        if known is not None:
            return known
        for capability in self.kernel.catalog.capabilities.values():
            module, _, attribute = capability.portable_async.partition(":")
            if attribute == kind.__name__ and getattr(sys.modules.get(module), attribute, None) is kind:
                self._kinds[kind] = capability.name
                return capability.name
        names = ", ".join(found.portable_async.partition(":")[2] for found in self.kernel.catalog.capabilities.values())
        raise ConfigurationError(f"{kind.__name__} is no portable class of this door", remedy=f"ask for one of: {names}")

    @contextmanager
    def override(self, full_name: str, replacement: object) -> Generator[None]:
        """Serve `full_name` by something else while the block runs; look-ups made before keep what they have.

        Args:
            full_name: ``cache.main``.
            replacement: A portable object, a driver, or settings as a mapping: ``{"provider": "memory"}``.
        """
        self._check()
        capability, _, name = full_name.partition(".")
        self.kernel.capability(capability)
        resource, temporary = self._replacement(full_name, replacement)
        previous = self._overrides.get(full_name)
        self._overrides[full_name] = resource
        self._lookup.pop((capability, name), None)
        try:
            yield
        finally:
            del self._overrides[full_name]
            if previous is not None:
                self._overrides[full_name] = previous
            self._lookup.pop((capability, name), None)
            if temporary:
                self._retired.append(resource)

    def _replacement(self, full_name: str, replacement: object) -> tuple[AsyncResource[Any, Any], bool]:
        from infra.resource import AsyncResource

        if isinstance(replacement, AsyncResource):
            return cast("AsyncResource[Any, Any]", replacement), False
        if not isinstance(replacement, Mapping):
            return self._opener.around(full_name, replacement), True
        settings = cast("Mapping[str, Any]", replacement)
        # async-only: begin
        try:
            return run_now(self._opener.open_temporary(full_name, settings)), True
        except WouldWaitError:
            raise ConfigurationError(
                "opening it has to wait for its server", resource=full_name, remedy="override it with a portable object that is open"
            ) from None
        # async-only: end
        # sync-only: return self._opener.open_temporary(full_name, settings), True

    # Settings and health

    @property
    def is_production(self) -> bool:
        """Whether ``environment`` is ``production``."""
        return self.kernel.is_production

    @property
    def is_development(self) -> bool:
        """Whether ``environment`` is ``development``, which is the default."""
        return self.kernel.is_development

    def section(self, model: type[SectionT]) -> SectionT:
        """A section of the host's own settings, validated once: ``services.section(ApiSettings)``."""
        return self.kernel.section(model)

    def feature(self, name: str, default: bool = False) -> bool:
        """A feature flag: ``[features]`` in infra.toml or ``FEATURE_FLAG_<NAME>``."""
        return self.kernel.feature(name, default)

    def validate_environment(self) -> EnvironmentStatus:
        """Whether the whole configuration is valid; opens nothing."""
        return self.kernel.validate_environment()

    async def health(self, name: str | None = None, timeout: float = 5.0) -> HealthReport:
        """The health of all resources, or of one: concurrent, each within `timeout` seconds, cached for a second, never billable."""
        self._check()
        if name is not None:
            return summarize(await self._check_all([name], timeout), {name}, True)
        if self._health is not None and monotonic() - self._health[0] < _HEALTH_CACHED:
            return self._health[1]
        return await self._health_flight.do("all", lambda: self._report(timeout))

    async def _report(self, timeout: float) -> HealthReport:
        names = list(dict.fromkeys([*self.kernel.explicit_resources(), *self._opened]))
        checks = await self._check_all(names, timeout)
        required = {name for name in names if not self._is_optional(name) and not self._is_lazy(name)}
        extra = [check for _, found in self.kernel.catalog.collect("infra_health_checks", kind=HealthCheck) for check in found]
        results = await gather(*(lambda check=check: self._extra(check) for check in extra))
        for check, result in zip(extra, results, strict=True):
            checks[check.name] = result if isinstance(result, Health) else failed_check(result)
            if check.required:
                required.add(check.name)
        report = summarize(checks, required, self._started and self._closed is None)
        self._health = (monotonic(), report)
        return report

    async def _extra(self, check: Any) -> Any:
        from infra.runtime.aio import call

        return await within(check.timeout, call, check.check)

    async def _check_all(self, names: Sequence[str], timeout: float) -> dict[str, Health]:
        results = await gather(*(lambda name=name: self._check_one(name, timeout) for name in names))
        return {
            name: result if isinstance(result, Health) else Health(Status.DOWN, code="INTERNAL", message=type(result).__name__)
            for name, result in zip(names, results, strict=True)
        }

    async def _check_one(self, name: str, timeout: float) -> Health:
        resource = self._overrides.get(name) or self._opened.get(name)
        if resource is not None:
            try:
                return await within(timeout + 0.5, resource.health, timeout)
            except TimeoutError:
                return Health(Status.DOWN, timeout, "TIMEOUT", f"no answer within {timeout:g} s")
        if self.kernel.states.get(name) in (ResourceState.OPEN_FAILED, ResourceState.INVALID):
            return Health(Status.DOWN, code="CONFIGURATION", message=f"it is {self.kernel.states[name]}")
        self.kernel.resource(name)
        return Health(Status.UNKNOWN, message="it is not open")

    def _is_lazy(self, full_name: str) -> bool:
        settings = self.kernel.validated(full_name).settings
        return full_name not in self._opened and settings is not None and settings.startup == "lazy"

    def _is_optional(self, full_name: str) -> bool:
        """Whether a resource says ``required = false``; read from the raw values, as the settings may be invalid."""
        config = self.kernel.configuration.resources.get(full_name)
        if config is None:
            return False
        for part in [*config.parts, *config.defaults]:
            if ("required",) in part.values:
                return truth(part.values["required",].content) is False
        return False

    def _check(self) -> None:
        if self._closed is not None:
            raise ClosedError(f"{type(self).__name__} was used although {self._closed}", remedy="open a new one")

    def forked(self) -> None:
        """Called in a forked child: the clients are the parent's."""
        self._closed = "it was opened in the parent process, before a fork"
        self._lookup.clear()
