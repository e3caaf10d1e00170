"""Finding plugins and their providers without importing an SDK, and recording why each is or is not available."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Final

from pluggy import PluginManager, PluginValidationError

from infra.errors import nearest
from infra.kernel import hookspecs
from infra.kernel.capabilities import CAPABILITIES
from infra.kernel.entry_points import Point, find_points
from infra.plugin import DRIVER_API, OLDEST_DRIVER_API, Capability, Provider

GROUP: Final = "infra.plugins"
_NAME = re.compile(r"[a-z][a-z0-9_]*")


class ProviderState(StrEnum):
    """What discovery found out about a plugin or provider."""

    DISABLED = "disabled"
    LOAD_FAILED = "load_failed"
    INCOMPATIBLE = "incompatible"
    MISSING_DEPENDENCY = "missing_dependency"
    CONFLICTED = "conflicted"
    AVAILABLE = "available"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One decision on the way to an active provider or resource; ``infra explain`` prints them."""

    stage: str
    ok: bool
    code: str
    message: str
    remedy: str | None = None


@dataclass(slots=True, eq=False)
class Plugin:
    """An installed distribution's entry point, or a module given in code.

    Args:
        module: What is imported; empty for objects given in code.
    """

    name: str
    distribution: str
    version: str
    module: str = ""
    state: ProviderState = ProviderState.AVAILABLE
    outcomes: list[Outcome] = field(default_factory=list[Outcome])

    def fail(self, state: ProviderState, stage: str, message: str, remedy: str | None) -> None:
        """Record why this plugin is out."""
        self.state = state
        self.outcomes.append(Outcome(stage, False, str(state), message, remedy))

    @property
    def title(self) -> str:
        """Distribution and version."""
        return f"{self.distribution} {self.version}".strip()


@dataclass(slots=True, eq=False)
class FoundProvider:
    """A provider that some plugin offers, with what was decided about it."""

    capability: str
    descriptor: Provider
    plugin: Plugin
    state: ProviderState = ProviderState.AVAILABLE
    outcomes: list[Outcome] = field(default_factory=list[Outcome])

    @property
    def name(self) -> str:
        """The provider's name."""
        return self.descriptor.name

    @property
    def available(self) -> bool:
        """Whether resources can use it."""
        return self.state is ProviderState.AVAILABLE

    def judge(self, ok: bool, stage: str, state: ProviderState, message: str, remedy: str | None = None) -> None:
        """Record a decision; the first failure decides the state."""
        self.outcomes.append(Outcome(stage, ok, "ok" if ok else str(state), message, remedy))
        if not ok and self.state is ProviderState.AVAILABLE:
            self.state = state

    @property
    def reason(self) -> str:
        """Why it is not available, in one line; empty when it is."""
        failed = next((outcome for outcome in self.outcomes if not outcome.ok), None)
        return "" if failed is None else failed.message + (f"; {failed.remedy}" if failed.remedy else "")


class Catalog:
    """All plugins, capabilities and providers that one kernel found."""

    def __init__(self) -> None:
        self.plugins: list[Plugin] = []
        self.providers: list[FoundProvider] = []
        self.capabilities: dict[str, Capability] = {known.name: known for known in CAPABILITIES}
        self._manager = PluginManager("infra")
        self._manager.add_hookspecs(hookspecs)
        self._by_name: dict[str, Plugin] = {}

    def of(self, capability: str) -> list[FoundProvider]:
        """The providers of a capability, in the order of discovery."""
        return [found for found in self.providers if found.capability == capability]

    def find(self, capability: str, name: str, distribution: str | None = None) -> FoundProvider | None:
        """The provider of that name; the available one when several distributions offer it and one is pinned."""
        matches = [
            found
            for found in self.of(capability)
            if found.name == name and distribution in (None, found.plugin.distribution, found.plugin.name)
        ]
        return next((found for found in matches if found.available), matches[0] if matches else None)

    def by_scheme(self, capability: str, scheme: str) -> FoundProvider | None:
        """The provider that a URL's scheme selects: ``mysql+asyncmy`` is looked up whole, then as ``mysql``."""
        for wanted in (scheme, scheme.partition("+")[0]):
            matches = [found for found in self.of(capability) if wanted in found.descriptor.schemes]
            if matches:
                return next((found for found in matches if found.available), matches[0])
        return None

    def embedded(self, capability: str) -> FoundProvider | None:
        """The default outside production: the first embedded provider that is available."""
        return next((found for found in self.of(capability) if found.descriptor.embedded and found.available), None)

    def implementations(self, hook: str) -> Iterator[tuple[Plugin, Any]]:
        """The plugins that implement `hook`, in the order of discovery."""
        caller = getattr(self._manager.hook, hook, None)
        if caller is not None:
            for implementation in caller.get_hookimpls():
                yield self._by_name[implementation.plugin_name], implementation.function

    def collect(self, hook: str, *arguments: object) -> list[tuple[Plugin, Any]]:
        """Every implementation's result; one that raises is recorded with its plugin and left out."""
        results: list[tuple[Plugin, Any]] = []
        for plugin, function in list(self.implementations(hook)):
            try:
                results.append((plugin, function(*arguments[: function.__code__.co_argcount])))
            except (Exception, SystemExit) as error:
                plugin.outcomes.append(
                    Outcome("collect", False, "hook_failed", f"{hook} raised {describe(error)}", "report it to its author")
                )
        return results

    def first(self, hook: str, *arguments: object) -> Any:
        """The first result that is not None; implementations that raise are recorded and passed over."""
        for plugin, function in self.implementations(hook):
            try:
                result = function(*arguments[: function.__code__.co_argcount])
            except (Exception, SystemExit) as error:
                plugin.outcomes.append(Outcome("collect", False, "hook_failed", f"{hook} raised {type(error).__name__}"))
                continue
            if result is not None:
                return result
        return None

    def add(self, plugin: Plugin, module: object) -> None:
        """Check a loaded plugin module and register its hooks."""
        self._by_name[plugin.name] = plugin
        self.plugins.append(plugin)
        wrappers = [name for name, options in _implementations(module) if options.get("wrapper") or options.get("hookwrapper")]
        if wrappers:
            plugin.fail(
                ProviderState.INCOMPATIBLE, "register", f"{', '.join(wrappers)} is a wrapper", "make it a plain hook: wrappers are refused"
            )
            return
        try:
            self._manager.register(module, plugin.name)
        except (PluginValidationError, ValueError) as error:
            plugin.fail(ProviderState.INCOMPATIBLE, "register", describe(error), "match the hook's parameters")

    def add_capabilities(self) -> None:
        """The first round: capabilities of plugins, and the specifications of their hooks."""
        for plugin, found in self.collect("infra_capabilities"):
            for capability in found or ():
                if not isinstance(capability, Capability) or not _NAME.fullmatch(capability.name):
                    plugin.outcomes.append(Outcome("collect", False, "incompatible", f"infra_capabilities returned {capability!r:.80}"))
                elif capability.name in self.capabilities:
                    plugin.outcomes.append(
                        Outcome("collect", False, "conflicted", f"capability {capability.name} exists already", "choose another name")
                    )
                else:
                    self._specify(plugin, capability)

    def _specify(self, plugin: Plugin, capability: Capability) -> None:
        while True:
            try:
                if capability.hookspecs is not None:
                    self._manager.add_hookspecs(import_module(capability.hookspecs))
            except PluginValidationError as error:
                culprit = self._manager.get_name(error.plugin) or ""
                self._manager.unregister(error.plugin)
                self._by_name[culprit].fail(
                    ProviderState.INCOMPATIBLE, "register", describe(error), f"match the hook's parameters ({capability.name})"
                )
                continue
            except (Exception, SystemExit) as error:
                plugin.fail(ProviderState.LOAD_FAILED, "load", f"{capability.hookspecs} raised {describe(error)}", None)
                return
            self.capabilities[capability.name] = capability
            return

    def check_hook_names(self) -> None:
        """Report implementations of hooks that nobody specified, with the nearest name."""
        known = {name for name in dir(self._manager.hook) if getattr(getattr(self._manager.hook, name), "spec", None) is not None}
        for name, plugin in self._by_name.items():
            for hook, _ in _implementations(self._manager.get_plugin(name)):
                if hook not in known:
                    near = nearest(hook, known)
                    plugin.outcomes.append(
                        Outcome("register", False, "unknown_hook", f"{hook} is not a hook", f"did you mean {near}?" if near else None)
                    )

    def add_providers(self, pins: Mapping[tuple[str, str], str]) -> None:
        """The second round: descriptors of all capabilities, each checked without importing anything.

        Args:
            pins: ``{(capability, provider): distribution}`` from the settings, for names that two distributions offer.
        """
        for capability in self.capabilities:
            for plugin, descriptors in self.collect(f"infra_{capability}"):
                for descriptor in descriptors or ():
                    if not isinstance(descriptor, Provider):
                        plugin.outcomes.append(
                            Outcome(
                                "collect",
                                False,
                                "incompatible",
                                f"infra_{capability} returned {type(descriptor).__name__}",
                                "return Provider objects",
                            )
                        )
                        continue
                    found = FoundProvider(capability, descriptor, plugin)
                    found.outcomes.append(Outcome("load", True, "ok", f"plugin {plugin.title} loaded"))
                    self.providers.append(found)
                    _check(found)
        self._check_conflicts(pins)

    def _check_conflicts(self, pins: Mapping[tuple[str, str], str]) -> None:
        groups: dict[tuple[str, str], list[FoundProvider]] = {}
        for found in self.providers:
            groups.setdefault((found.capability, found.name), []).append(found)
        for key, group in groups.items():
            if len(group) < 2:
                continue
            names = " and ".join(found.plugin.distribution for found in group)
            pinned = pins.get(key)
            for found in group:
                if pinned is None or pinned not in (found.plugin.distribution, found.plugin.name):
                    message = f"{names} both offer {key[0]} provider {key[1]}"
                    remedy = f'uninstall one, or pin it: [infra.pin] "{key[0]}.{key[1]}" = "{group[0].plugin.distribution}"'
                    found.judge(False, "conflict", ProviderState.CONFLICTED, message, remedy)


def describe(error: BaseException) -> str:
    """An exception of a plugin in one line."""
    text = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _implementations(module: object) -> Iterator[tuple[str, Mapping[str, object]]]:
    for name in dir(module):
        options = getattr(getattr(module, name, None), "infra_impl", None)
        if isinstance(options, dict):
            yield name, options  # type: ignore[misc]


def _check(found: FoundProvider) -> None:
    descriptor, plugin = found.descriptor, found.plugin
    api = descriptor.driver_api
    if not OLDEST_DRIVER_API <= api <= DRIVER_API:
        found.judge(
            False,
            "driver_api",
            ProviderState.INCOMPATIBLE,
            f"it speaks driver API {api}, this kernel {OLDEST_DRIVER_API} to {DRIVER_API}",
            f"upgrade {'infra-kernel' if api > DRIVER_API else plugin.distribution}",
        )
        return
    if descriptor.open is None and descriptor.open_async is None:
        found.judge(False, "driver_api", ProviderState.INCOMPATIBLE, "it declares neither open nor open_async", "report it to its author")
        return
    found.judge(True, "driver_api", ProviderState.AVAILABLE, f"driver API {api} is supported")
    missing = [name for name in descriptor.modules if not _exists(name)]
    if missing:
        found.judge(
            False,
            "modules",
            ProviderState.MISSING_DEPENDENCY,
            f"module {', '.join(missing)} is not installed",
            f"pip install {plugin.distribution} (it depends on it)",
        )
    elif descriptor.modules:
        found.judge(True, "modules", ProviderState.AVAILABLE, f"module {', '.join(descriptor.modules)} found")


def _exists(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _listed(point: Point, distribution: str, names: Sequence[str]) -> bool:
    def plain(name: str) -> str:
        return name.lower().replace("-", "_")

    return any(plain(name) in (plain(point.name), plain(distribution)) for name in names)


def discover(
    *,
    allow: Sequence[str] | None = None,
    deny: Sequence[str] = (),
    modules: Sequence[ModuleType | object] = (),
    pins: Mapping[tuple[str, str], str] | None = None,
) -> Catalog:
    """Find all plugins and providers. Imports plugin modules, which hold descriptors only, and nothing else.

    Args:
        allow: Entry-point or distribution names that may be loaded; None for all. Read before anything is loaded: any installed package
            can add an entry point, so this is a security boundary.
        deny: Names that may not.
        modules: Plugin modules or objects given in code, beside the installed ones.
        pins: Which distribution serves a (capability, provider) that two offer.
    """
    catalog = Catalog()
    taken: set[str] = set()
    for point in sorted(find_points(GROUP), key=lambda point: (point.name, point.distribution)):
        name, distribution, version = point.name, point.distribution, point.version
        label = name if name not in taken else f"{name} ({distribution})"
        taken.add(label)
        plugin = Plugin(label, distribution, version, point.module)
        if _listed(point, distribution, deny) or (allow is not None and not _listed(point, distribution, allow)):
            plugin.fail(ProviderState.DISABLED, "policy", "the allow and deny lists exclude it", "change plugins_allow or plugins_deny")
            catalog.plugins.append(plugin)
            continue
        try:
            module = point.load()
        except (Exception, SystemExit) as error:
            plugin.fail(
                ProviderState.LOAD_FAILED,
                "load",
                f"importing {point.value} raised {describe(error)}",
                f"repair or uninstall {distribution}",
            )
            catalog.plugins.append(plugin)
            continue
        catalog.add(plugin, module)
    for module in modules:
        name = getattr(module, "__name__", type(module).__name__)
        catalog.add(Plugin(name, name, ""), module)
    catalog.add_capabilities()
    catalog.check_hook_names()
    catalog.add_providers(pins or {})
    return catalog
