"""From layers to resources: which there are, which provider serves each, and which values it gets. Imports no pydantic."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from infra.errors import nearest
from infra.kernel.capabilities import KNOWN_PROVIDERS
from infra.kernel.discovery import Catalog, FoundProvider, Outcome
from infra.kernel.kernel_settings import KERNEL_KEYS, truth
from infra.kernel.layers import Key, Layer, Origin, Value
from infra.kernel.problems import Problem
from infra.plugin import Capability

DEFAULTS: Final = "defaults"
_NAME = re.compile(r"[a-z](?:_?[a-z0-9])*")
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*):")


@dataclass(slots=True, eq=False)
class Part:
    """What one layer says of one resource: its explicit values, and below them the soft ones, which a provider may lack."""

    layer: str
    values: dict[Key, Value] = field(default_factory=dict[Key, Value])
    soft: dict[Key, Value] = field(default_factory=dict[Key, Value])


@dataclass(slots=True, eq=False)
class ResourceConfig:
    """A resource as configured, before validation.

    Args:
        provider: The provider that serves it; None when `problems` says why there is none.
        parts: What each layer says, the highest first.
        defaults: The same of ``[<capability>.defaults]``, below all parts.
        implicit: True for a ``main`` that nobody configured, served by the embedded default.
    """

    capability: str
    name: str
    provider: FoundProvider | None = None
    parts: list[Part] = field(default_factory=list[Part])
    defaults: list[Part] = field(default_factory=list[Part])
    implicit: bool = False
    outcomes: list[Outcome] = field(default_factory=list[Outcome])
    problems: list[Problem] = field(default_factory=list[Problem])

    @property
    def full_name(self) -> str:
        """Capability and name: ``database.garmin``."""
        return f"{self.capability}.{self.name}"

    def place(self) -> Origin | None:
        """Where it is configured: its table in a file, or the variable that comes first."""
        for part in self.parts:
            for value in part.values.values():
                where = value.origin.where
                return Origin(value.origin.layer, where[: where.index("]") + 1]) if "]" in where else value.origin
        return None

    def problem(self, message: str, origin: Origin | None = None, remedy: str | None = None) -> None:
        """Record why it cannot be used."""
        self.problems.append(Problem(self.full_name, message, origin or self.place(), remedy))

    def chosen(self, provider: FoundProvider, because: str) -> None:
        """Record the provider and the reason."""
        self.provider = provider
        self.outcomes.append(Outcome("resolve", True, "ok", f"provider {provider.name}: {because}"))


@dataclass(slots=True, eq=False)
class Configuration:
    """Everything the layers say."""

    layers: list[Layer]
    resources: dict[str, ResourceConfig] = field(default_factory=dict[str, ResourceConfig])
    problems: list[Problem] = field(default_factory=list[Problem])
    warnings: list[Problem] = field(default_factory=list[Problem])

    def feature_flags(self) -> dict[str, Value]:
        """``[features]`` and ``FEATURE_FLAG_*``, the highest layer first."""
        merged: dict[str, Value] = {}
        for layer in self.layers:
            for key, value in layer.under(("features",)).items():
                merged.setdefault(".".join(key), value)
        return merged


def scheme_of(content: object) -> str | None:
    """The scheme of a URL, lower-cased; None when there is none."""
    match = _SCHEME.match(str(content))
    return match[1].lower() if match else None


def package_for_scheme(capability: str, scheme: str) -> str | None:
    """The distribution of this project that serves URLs of `scheme`; None when none does."""
    base = scheme.partition("+")[0]
    return next((known[2] for known in KNOWN_PROVIDERS if known[0] == capability and base in known[3]), None)


def configure(
    layers: list[Layer], catalog: Catalog, sections: Collection[str], environment: str, problems: Sequence[Problem] = ()
) -> Configuration:
    """Find all resources and choose their providers; what is wrong is recorded, not raised.

    Args:
        layers: The highest first.
        catalog: What is installed.
        sections: The names of the host's own tables.
        environment: All but ``development`` and ``test`` forbid the silent embedded default.
        problems: What was found wrong before.
    """
    configuration = Configuration(layers, problems=list(problems))
    production = environment not in ("development", "test")
    for layer in layers:
        _report_unread(layer, catalog, configuration)
    for capability in catalog.capabilities.values():
        for layer in layers:
            _take_capability_names(layer, capability, catalog, configuration)
    _check_tables(configuration, catalog, sections)
    for capability in catalog.capabilities.values():
        names = {key[1]: None for layer in layers for key in layer.values if key[0] == capability.name and len(key) > 1}
        if any(_selected(layer, found) for found in catalog.of(capability.name) for layer in layers):
            names["main"] = None
        for name in [*names, *(["main"] if "main" not in names else [])]:
            if name == DEFAULTS:
                continue
            config = ResourceConfig(capability.name, name, implicit=name not in names)
            if _collect_parts(config, layers, configuration):
                _Resolution(config, capability, catalog, layers, environment if production else None).run()
                if not (config.implicit and config.provider is None):
                    configuration.resources[config.full_name] = config
    return configuration


def _report_unread(layer: Layer, catalog: Catalog, configuration: Configuration) -> None:
    """What a layer holds and could not be read; of names that it has twice, those that mean something here."""
    configuration.problems += [Problem("settings", message, None, remedy) for message, remedy in layer.unread]
    known = {"LOG_LEVEL", "DEBUG"}
    for capability in catalog.capabilities.values():
        for one in (capability, *(found.descriptor for found in catalog.of(capability.name))):
            known |= {name for names in (*one.selects.values(), *one.fills.values()) for name in names}
    for name, message, remedy in layer.doubtful:
        if name in known or name.startswith(("INFRA_", "FEATURE_FLAG_")) or name.endswith("_DB_URL"):
            configuration.problems.append(Problem("settings", message, None, remedy))


def take_kernel_names(layer: Layer) -> None:
    """Put in the well-known names of the kernel, below the layer's own."""
    for variable, key in (("LOG_LEVEL", "log_level"), ("DEBUG", "debug")):
        if variable in layer.variables:
            layer.values.setdefault(("infra", key), layer.variables[variable])
    for variable, value in layer.variables.items():
        if variable.startswith("FEATURE_FLAG_"):
            layer.values.setdefault(("features", variable.removeprefix("FEATURE_FLAG_").lower()), value)


def _take_capability_names(layer: Layer, capability: Capability, catalog: Catalog, configuration: Configuration) -> None:
    """Well-known names of a capability stand just below the layer's own names; two that differ are an error."""
    taken: dict[Key, Value] = {}

    def take(key: Key, value: Value) -> None:
        other = taken.setdefault(key, value)
        if other is not value and other.content != value.content and key not in layer.values:
            configuration.problems.append(
                Problem(
                    f"{key[0]}.{key[1]}", f"{other.origin} and {value.origin} both configure it, and differ", remedy="remove one of them"
                )
            )

    for name, variables in capability.selects.items():
        for variable in variables:
            if layer.variables.get(variable):
                take((capability.name, "main", name), layer.variables[variable])
    for name, pattern in capability.selects_named.items():
        shape = re.compile(re.escape(pattern).replace(re.escape("{NAME}"), "([A-Z][A-Z0-9_]*)"))
        for variable, value in layer.variables.items():
            match = shape.fullmatch(variable)
            if not match or not value.content:
                continue
            scheme = scheme_of(value.content)
            resource = match[1].lower()
            if scheme is None or not _NAME.fullmatch(resource) or catalog.by_scheme(capability.name, scheme) is None:
                package = package_for_scheme(capability.name, scheme or "")
                message = f"{value.origin} looks like a {capability.name}, but no installed plugin serves its scheme: ignored"
                configuration.warnings.append(Problem("settings", message, None, f"pip install {package}" if package else None))
            else:
                take((capability.name, resource, name), value)
    for key, value in taken.items():
        layer.values.setdefault(key, value)


def _check_tables(configuration: Configuration, catalog: Catalog, sections: Collection[str]) -> None:
    known = {*catalog.capabilities, "infra", "features", *sections}
    for layer in configuration.layers:
        for key, value in layer.values.items():
            if key[0] == "infra":
                continue
            if len(key) == 1 and key[0] in known and value.content != {}:
                message = f"{key[0]} is a table, not {_kind(value.content)}"
                remedy = f"write [{key[0]}.main] and below it url = ..." if key[0] in catalog.capabilities else f"write [{key[0]}]"
                configuration.problems.append(Problem("settings", message, value.origin, remedy))
            elif key[0] == "features":
                if truth(value.content) is None:
                    message = f"the feature flag {'.'.join(key[1:])} is neither true nor false"
                    configuration.problems.append(Problem("settings", message, value.origin, "write true or false"))
            elif key[0] not in known:
                near = nearest(key[0], known)
                remedy = f"did you mean {near}?" if near else "declare it: Infra(sections=[...]) or sections in [infra]"
                table = "[tool.infra.infra]" if layer.name == "pyproject.toml" else "[infra]"
                if key[0] in KERNEL_KEYS:
                    remedy = f"did you mean {key[0]} in {table}?"
                elif key[:2] == ("tool", "infra"):
                    remedy = f"write [{'.'.join(key[2:-1]) or 'infra'}]: `tool.infra` is for pyproject.toml"
                configuration.problems.append(Problem("settings", f"{key[0]} is no capability and no section", value.origin, remedy))


def _kind(content: object) -> str:
    kinds: list[tuple[type, str]] = [(str, "text"), (list, "a list"), (bool, "true or false")]
    return next((name for kind, name in kinds if isinstance(content, kind)), "a number")


def _collect_parts(config: ResourceConfig, layers: list[Layer], configuration: Configuration) -> bool:
    """Fill `parts` and `defaults`; False when the name itself is wrong."""
    for layer in layers:
        value = layer.values.get((config.capability, config.name))
        if value is not None and value.content != {}:
            message = f"{config.name} stands directly under {config.capability}, without the name of a resource"
            remedy = f"put it into [{config.capability}.main], or set INFRA_{config.capability.upper()}__MAIN__{config.name.upper()}"
            configuration.problems.append(Problem(config.capability, message, value.origin, remedy))
            return False
        config.parts.append(Part(layer.name, layer.under((config.capability, config.name))))
        config.defaults.append(Part(layer.name, layer.under((config.capability, DEFAULTS))))
    if not _NAME.fullmatch(config.name):
        configuration.problems.append(
            Problem(
                config.full_name, "is not a valid resource name", config.place(), "use lower-case letters, digits and single underscores"
            )
        )
        return False
    return True


def _selected(layer: Layer, found: FoundProvider) -> dict[str, Value]:
    """The well-known names of this layer that select `found` for the resource ``main``: by field."""
    return {
        name: layer.variables[variable]
        for name, variables in found.descriptor.selects.items()
        for variable in reversed(variables)
        if layer.variables.get(variable) and layer.variables[variable].content
    }


class _Resolution:
    """Chooses the provider of one resource: the highest layer with a selector decides."""

    def __init__(
        self, config: ResourceConfig, capability: Capability, catalog: Catalog, layers: list[Layer], strict_in: str | None
    ) -> None:
        self.config = config
        self.capability = capability
        self.catalog = catalog
        self.layers = layers
        self.strict_in = strict_in

    def run(self) -> None:
        config = self.config
        for index, part in enumerate(config.parts):
            choice = self._choose(part, self.layers[index])
            if config.problems:
                return
            if choice is None:
                continue
            provider, because = choice
            if config.provider is None:
                config.chosen(provider, because)
            elif provider is not config.provider:
                config.outcomes.append(
                    Outcome("merge", True, "skipped", f"what {part.layer} says is for provider {provider.name}: skipped")
                )
                part.values.clear()
        if config.provider is None:
            self._fall_back()
        if config.provider is not None:
            self._fill(config.provider)
            if not config.provider.available:
                config.problem(f"provider {config.provider.name} is {config.provider.state}: {config.provider.reason}")

    def _choose(self, part: Part, layer: Layer) -> tuple[FoundProvider, str] | None:
        explicit, url = part.values.get(("provider",)), part.values.get(("url",))
        by_url: FoundProvider | None = None
        if url is not None and (scheme := scheme_of(url.content)) is not None:
            by_url = self.catalog.by_scheme(self.config.capability, scheme)
            if by_url is None and explicit is None:
                self._unknown_scheme(scheme, url.origin)
                return None
        elif url is not None and explicit is None:
            self.config.problem("its url has no scheme", url.origin, f"write it as {'|'.join(self._schemes())}://...")
            return None
        if explicit is not None:
            provider = self.catalog.find(self.config.capability, str(explicit.content))
            if provider is None:
                self._unknown_provider(str(explicit.content), explicit.origin)
                return None
            if by_url is not None and by_url.name != provider.name and url is not None:
                self.config.problem(
                    f"{explicit.origin} selects {provider.name} and {url.origin} selects {by_url.name}", remedy="remove one of them"
                )
                return None
            return provider, f"named by {explicit.origin}"
        if by_url is not None and url is not None:
            return by_url, f"the scheme of {url.origin}"
        if self.config.name != "main":
            return None
        return self._choose_well_known(layer)

    def _choose_well_known(self, layer: Layer) -> tuple[FoundProvider, str] | None:
        found = [(provider, _selected(layer, provider)) for provider in self.catalog.of(self.config.capability)]
        found = [(provider, values) for provider, values in found if values]
        if len({provider.name for provider, _ in found}) > 1:
            named = " and ".join(f"{next(iter(values.values())).origin} ({provider.name})" for provider, values in found)
            self.config.problem(
                f"{named} both select a provider", remedy=f"set INFRA_{self.config.capability.upper()}__MAIN__PROVIDER to choose one"
            )
            return None
        return next(((provider, f"selected by {next(iter(values.values())).origin}") for provider, values in found), None)

    def _fall_back(self) -> None:
        config = self.config
        for part in config.defaults:
            value = part.values.get(("provider",))
            if value is not None:
                provider = self.catalog.find(config.capability, str(value.content))
                if provider is None:
                    self._unknown_provider(str(value.content), value.origin)
                else:
                    config.chosen(provider, f"named by {value.origin}")
                return
        embedded = self.catalog.embedded(config.capability)
        trouble = self.catalog.troubles("local") if embedded is None else None
        if trouble is not None:
            config.problem(f"no provider is configured and no embedded one is available: {trouble[0]}", remedy=trouble[1])
        elif embedded is None:
            config.problem(
                "no provider is configured and no embedded one is installed", remedy=f"{self._how()}, or pip install infra-local"
            )
        elif self.strict_in is not None:
            config.problem(
                f"no provider is configured, and in {self.strict_in} an embedded one must be asked for by name",
                remedy=f'{self._how()}, or say provider = "{embedded.name}" in [{config.full_name}]',
            )
        else:
            config.chosen(embedded, "the embedded default, as nothing selects another")

    def _fill(self, provider: FoundProvider) -> None:
        """Put in the well-known names of the provider and of the capability, below the layer's own."""
        config = self.config
        for part, layer in zip(config.parts, self.layers, strict=True):
            if config.name == "main":
                for name, value in _selected(layer, provider).items():
                    part.values.setdefault((name,), value)
            for names in (provider.descriptor.fills, self.capability.fills):
                for name, variables in names.items():
                    for variable in variables:
                        if variable in layer.variables:
                            part.soft.setdefault((name,), layer.variables[variable])

    def _schemes(self) -> list[str]:
        return sorted({scheme for found in self.catalog.of(self.config.capability) for scheme in found.descriptor.schemes})

    def _how(self) -> str:
        names = [name for names in self.capability.selects.values() for name in names]
        names += [
            variables[0]
            for found in self.catalog.of(self.config.capability)
            for variables in found.descriptor.selects.values()
            if variables
        ]
        place = f"INFRA_{self.config.capability.upper()}__{self.config.name.upper()}__URL"
        return f"set {' or '.join([*dict.fromkeys(names), place] if self.config.name == 'main' else [place])}"

    def _unknown_scheme(self, scheme: str, origin: Origin) -> None:
        package = package_for_scheme(self.config.capability, scheme)
        trouble = self.catalog.troubles(package.removeprefix("infra-") if package else scheme)
        if trouble is not None:
            message = f"no installed plugin serves {self.config.capability} URLs of scheme {scheme}: {trouble[0]}"
            self.config.problem(message, origin, trouble[1])
            return
        remedy = f"pip install {package}" if package else f"known schemes: {', '.join(self._schemes()) or 'none'}"
        self.config.problem(f"no installed plugin serves {self.config.capability} URLs of scheme {scheme}", origin, remedy)

    def _unknown_provider(self, name: str, origin: Origin) -> None:
        names = [found.name for found in self.catalog.of(self.config.capability)]
        package = next((known[2] for known in KNOWN_PROVIDERS if known[:2] == (self.config.capability, name)), None)
        trouble = self.catalog.troubles(package.removeprefix("infra-") if package else name)
        if trouble is not None and nearest(name, names) is None:
            self.config.problem(f"no installed plugin offers its provider: {trouble[0]}", origin, trouble[1])
            return
        near = nearest(name, names)
        remedy = f"did you mean {near}?" if near else f"installed: {', '.join(names) or 'none'}"
        remedy = f"pip install {package}" if package else remedy
        self.config.problem("its provider is not installed" if package else "its provider is unknown", origin, remedy)
