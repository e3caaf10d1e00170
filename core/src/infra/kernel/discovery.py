"""Finding plugins and their providers without importing an SDK, and recording why each is or is not available."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Final

from pluggy import HookImpl, PluginManager, PluginValidationError

from infra.errors import nearest
from infra.kernel import hookspecs
from infra.kernel.capabilities import CAPABILITIES
from infra.kernel.entry_points import Point, find_points
from infra.kernel.shapes import ShapeError, checked_provider, describe, items_of, wrong_capability, wrong_item
from infra.plugin import DRIVER_API, OLDEST_DRIVER_API, Capability, Provider

GROUP: Final = "infra.plugins"
_AUTHOR: Final = "report it to its author"
#: What passes a plugin's isolation: the person at the keyboard.
_PASSES: Final = (KeyboardInterrupt,)


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

    def note(self, code: str, message: str, remedy: str | None = _AUTHOR, stage: str = "collect") -> None:
        """Record what is wrong with it, once; the rest of it goes on."""
        outcome = Outcome(stage, False, code, message, remedy)
        if outcome not in self.outcomes:
            self.outcomes.append(outcome)

    @property
    def reason(self) -> str:
        """What is wrong with it, in one line; empty when nothing is."""
        return "; ".join(outcome.message for outcome in self.outcomes if not outcome.ok)

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
        self._modules: dict[str, object] = {}

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

    def implementations(self, hook: str) -> Iterator[tuple[Plugin, HookImpl]]:
        """The plugins that implement `hook`, in pluggy's order: ``tryfirst`` first, ``trylast`` last, else that of discovery."""
        caller = getattr(self._manager.hook, hook, None)
        if caller is not None:
            for implementation in reversed(caller.get_hookimpls()):
                yield self._by_name[implementation.plugin_name], implementation

    def _call(self, hook: str, arguments: Sequence[object]) -> Iterator[tuple[Plugin, Callable[[], Any]]]:
        """The calls of each implementation by itself. Arguments go by name, as in pluggy; an implementation takes those that it names."""
        spec: Any = getattr(getattr(self._manager.hook, hook, None), "spec", None)
        named = dict(zip(spec.argnames, arguments, strict=False)) if spec is not None else {}
        for plugin, found in list(self.implementations(hook)):
            yield plugin, partial(found.function, *(named[name] for name in found.argnames if name in named))

    def collect(self, hook: str, *arguments: object, kind: type | None = None) -> list[tuple[Plugin, list[Any]]]:
        """Every implementation's items. What raises, or is no `kind`, is recorded with its plugin and left out."""
        results: list[tuple[Plugin, list[Any]]] = []
        for plugin, call in self._call(hook, arguments):
            try:
                items = items_of(hook, call())
                wrong = [wrong_item(hook, item, kind) for item in items]
            except _PASSES:
                raise
            except ShapeError as error:
                plugin.note("incompatible", str(error), f"return a list of {kind.__name__ if kind else 'item'}s")
            except BaseException as error:
                plugin.note("hook_failed", f"{hook} raised {describe(error)}")
            else:
                for said in filter(None, wrong):
                    plugin.note("incompatible", said)
                results.append((plugin, [item for item, said in zip(items, wrong, strict=True) if said is None]))
        return results

    def first(self, hook: str, *arguments: object, kind: type | None = None) -> Any:
        """The first result that is not None; implementations that raise, or give no `kind`, are recorded and passed over."""
        for plugin, call in self._call(hook, arguments):
            try:
                result = call()
            except _PASSES:
                raise
            except BaseException as error:  # its text may hold what the arguments do: a secret
                plugin.note("hook_failed", f"{hook} raised {type(error).__name__}")
                continue
            if result is None:
                continue
            if kind is not None and not isinstance(result, kind):
                plugin.note("incompatible", f"{hook} returned {type(result).__name__}, not {kind.__name__}")
                continue
            return result
        return None

    def troubles(self, word: str | None = None) -> tuple[str, str] | None:
        """Why plugins bring nothing, or not all: what and what to do; None when none is in trouble.

        Args:
            word: What is missed. Plugins whose name has it in it are told alone.
        """
        found = [plugin for plugin in self.plugins if plugin.reason and plugin.state is not ProviderState.DISABLED]
        found += [plugin for plugin in self.plugins if plugin.state is ProviderState.DISABLED]
        named = [
            plugin for plugin in found if word is not None and word in (plugin.name, *plugin.distribution.replace("_", "-").split("-"))
        ]
        told = named or [plugin for plugin in found if plugin.state is not ProviderState.DISABLED]
        if not told:
            return None
        message = "; ".join(f"plugin {plugin.title}: {plugin.reason}" for plugin in told[:3])
        remedy = next((outcome.remedy for outcome in told[0].outcomes if not outcome.ok and outcome.remedy), "run `infra doctor`")
        return message, remedy

    def add(self, plugin: Plugin, module: object) -> None:
        """Check a loaded plugin module and register its hooks."""
        self.plugins.append(plugin)
        try:
            found = list(_implementations(module))
            wrappers = [name for name, options in found if options.get("wrapper") or options.get("hookwrapper")]
            if isinstance(module, type):
                plugin.fail(ProviderState.INCOMPATIBLE, "register", f"it is the class {module.__name__}", "name its module, or an instance")
            elif wrappers:
                text = f"{', '.join(wrappers)} is a wrapper"
                plugin.fail(ProviderState.INCOMPATIBLE, "register", text, "make it a plain hook: wrappers are refused")
            else:
                self._manager.register(module, plugin.name)
                self._by_name[plugin.name] = plugin
                self._modules[plugin.name] = module
        except _PASSES:
            raise
        except (PluginValidationError, ValueError) as error:
            plugin.fail(ProviderState.INCOMPATIBLE, "register", describe(error), "match the hook's parameters")
        except BaseException as error:
            plugin.fail(ProviderState.LOAD_FAILED, "register", f"looking for its hooks raised {describe(error)}", _AUTHOR)

    def add_capabilities(self) -> None:
        """The first round: capabilities of plugins, and the specifications of their hooks."""
        for plugin, found in self.collect("infra_capabilities", kind=Capability):
            for capability in found:
                wrong = wrong_capability(capability)
                if wrong is not None:
                    plugin.note("incompatible", wrong)
                elif capability.name in self.capabilities:
                    plugin.note("conflicted", f"capability {capability.name} exists already", "choose another name")
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
            except _PASSES:
                raise
            except BaseException as error:
                plugin.fail(ProviderState.LOAD_FAILED, "load", f"{capability.hookspecs} raised {describe(error)}", None)
                return
            self.capabilities[capability.name] = capability
            return

    def check_hook_names(self) -> None:
        """Report implementations of hooks that nobody specified, with the nearest name, and hooks that are not marked as such."""
        known = {name for name in dir(self._manager.hook) if getattr(getattr(self._manager.hook, name), "spec", None) is not None}
        for name, module in self._modules.items():
            plugin = self._by_name[name]
            marked = {hook for hook, _ in _implementations(module)}
            for hook in sorted(marked - known):
                near = nearest(hook, known)
                plugin.note("unknown_hook", f"{hook} is not a hook", f"did you mean {near}?" if near else None, "register")
            for hook in sorted(known & set(dir(module)) - marked):
                if callable(getattr(module, hook, None)):
                    plugin.note("unmarked_hook", f"{hook} is not marked as a hook", "put @hookimpl above it", "register")
            if not marked and plugin.module and not plugin.reason:
                plugin.note("no_hooks", f"{plugin.module} has no hooks", "mark its functions @hookimpl", "register")

    def add_providers(self, pins: Mapping[tuple[str, str], str]) -> None:
        """The second round: descriptors of all capabilities, each checked without importing anything.

        Args:
            pins: ``{(capability, provider): distribution}`` from the settings, for names that two distributions offer.
        """
        for capability in self.capabilities:
            for plugin, descriptors in self.collect(f"infra_{capability}", kind=Provider):
                for declared in descriptors:
                    try:
                        descriptor, wrong = checked_provider(declared)
                    except ShapeError as error:
                        plugin.note("incompatible", f"infra_{capability}: {error}")
                        continue
                    found = FoundProvider(capability, descriptor, plugin)
                    found.outcomes.append(Outcome("load", True, "ok", f"plugin {plugin.title} loaded"))
                    self.providers.append(found)
                    if wrong:
                        found.judge(False, "declare", ProviderState.INCOMPATIBLE, "; ".join(wrong), _AUTHOR)
                    else:
                        _check(found)
        self._check_conflicts(pins)

    def _check_conflicts(self, pins: Mapping[tuple[str, str], str]) -> None:
        groups: dict[tuple[str, str], list[FoundProvider]] = {}
        for found in self.providers:
            groups.setdefault((found.capability, found.name), []).append(found)
        for key, group in groups.items():
            if len(group) < 2:
                continue
            pinned = pins.get(key)
            chosen = [found for found in group if pinned in (found.plugin.distribution, found.plugin.name)]
            distributions = list(dict.fromkeys(found.plugin.distribution for found in group))
            for found in group:
                if pinned is not None and chosen == [found]:
                    continue
                if len(distributions) == 1 or (pinned is not None and found in chosen):
                    message = f"{found.plugin.distribution} offers {key[0]} provider {key[1]} more than once"
                    remedy = _AUTHOR
                else:
                    message = f"{' and '.join(distributions)} both offer {key[0]} provider {key[1]}"
                    remedy = f'uninstall one, or pin it: [infra.pin] "{key[0]}.{key[1]}" = "{group[0].plugin.distribution}"'
                found.judge(False, "conflict", ProviderState.CONFLICTED, message, remedy)


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
    missing = [name for name in descriptor.modules if not exists(name)]
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


def exists(module: str) -> bool:
    """Whether a module can be imported, as far as can be told without importing it or the packages above it."""
    top = module.partition(".")[0]
    try:
        return find_spec(top) is not None
    except (ImportError, ValueError):
        return sys.modules.get(top) is not None  # imported without a specification


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
    loaded: list[tuple[Plugin, object]] = []
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
            loaded.append((plugin, point.load()))
        except _PASSES:
            raise
        except BaseException as error:
            message = f"importing {point.value} raised {describe(error)}"
            plugin.fail(ProviderState.LOAD_FAILED, "load", message, f"repair or uninstall {distribution}")
            catalog.plugins.append(plugin)
    for module in modules:
        name = getattr(module, "__name__", type(module).__name__)
        name = name if isinstance(name, str) else type(module).__name__
        label, number = name, 2
        while label in taken:
            label, number = f"{name} ({number})", number + 1
        taken.add(label)
        loaded.append((Plugin(label, label, ""), module))
    for plugin, module in reversed(loaded):  # pluggy calls first what was registered last
        catalog.add(plugin, module)
    order = {id(plugin): number for number, (plugin, _) in enumerate(loaded)}
    catalog.plugins.sort(key=lambda plugin: order.get(id(plugin), -1))
    catalog.add_capabilities()
    catalog.check_hook_names()
    catalog.add_providers(pins or {})
    return catalog
