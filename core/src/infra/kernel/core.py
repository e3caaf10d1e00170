"""One kernel: what was found, what was configured, and what both doors share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from infra.errors import ConfigurationError, nearest
from infra.kernel.capabilities import KNOWN_PROVIDERS
from infra.kernel.configuration import Configuration, ResourceConfig, configure, take_kernel_names
from infra.kernel.discovery import Catalog, ProviderState, discover, exists
from infra.kernel.kernel_settings import read_kernel_settings, truth
from infra.kernel.layers import Layer, arguments_layer, lookup, read_layers
from infra.kernel.problems import Problem, failure
from infra.kernel.secrets import Redactor
from infra.kernel.shapes import describe
from infra.plugin import Capability, SharedStores

if TYPE_CHECKING:
    from infra.kernel.context import Diagnosis, OpenContext
    from infra.kernel.problems import EnvironmentStatus
    from infra.kernel.settings import ProviderSettings, Section
    from infra.kernel.validation import Validated, Validator

SectionT = TypeVar("SectionT", bound="Section")


class ResourceState(StrEnum):
    """How far a resource has come."""

    CONFIGURED = "configured"
    INVALID = "invalid"
    READY = "ready"
    OPEN = "open"
    OPEN_FAILED = "open_failed"
    CLOSED = "closed"


class Kernel:
    """Discovery and configuration, done once; no I/O but reading configuration, and no SDK.

    Args:
        settings: Values above every other layer, as nested mappings: ``{"cache": {"main": {"provider": "memory"}}}``.
        plugins: Names of plugins that may be loaded; None for what the allow and deny lists say.
        modules: Plugin modules or objects given in code, beside the installed ones.
        sections: The host's own settings sections.
        root: The project folder, which holds infra.toml and .env; the working directory when not given.
        environ: Instead of the process's environment.
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
    ) -> None:
        self.root = Path.cwd() if root is None else root
        layers = read_layers(settings or {}, self.root, environ)
        for layer in layers:
            take_kernel_names(layer)
        own, _ = read_kernel_settings(layers)
        pins = {cast("tuple[str, str]", tuple(name.split(".", 1))): distribution for name, distribution in own.pin.items()}
        names = plugins if plugins is not None else own.plugins_allow
        self.catalog: Catalog = discover(allow=names, deny=own.plugins_deny, modules=modules, pins=pins)
        self.environment = own.environment
        layers = self._with_plugin_sources(layers)
        self.own, problems = read_kernel_settings(layers, self.catalog.capabilities)
        self.environment = self.own.environment
        self._own_problems = list(problems)
        problems += self._unknown_plugins(layers)
        self.sections: dict[str, type[Section]] = {section.section_name: section for section in sections}
        self._failed_sections: dict[str, Problem] = {}
        self._declared_sections = self.own.sections
        section_names = {*self.sections, *(reference.rpartition("=")[0] or reference for reference in self._declared_sections)}
        self.configuration: Configuration = configure(layers, self.catalog, section_names, self.environment, problems)
        self.states: dict[str, ResourceState] = dict.fromkeys(self.configuration.resources, ResourceState.CONFIGURED)
        self.redactor = Redactor()
        self.stores = SharedStores()
        self._validated: dict[str, Validated[Any]] = {}
        self._validator: Validator | None = None

    @property
    def is_production(self) -> bool:
        """Whether ``environment`` is ``production``."""
        return self.environment == "production"

    @property
    def is_development(self) -> bool:
        """Whether ``environment`` is ``development``, which is the default."""
        return self.environment == "development"

    @property
    def strict(self) -> bool:
        """Whether start-up fails on any problem, of plugins and optional resources too."""
        return self.own.strict

    @property
    def debug(self) -> bool:
        """Whether the host runs with DEBUG."""
        return self.own.debug

    @property
    def data_dir(self) -> Path:
        """The folder of embedded providers."""
        return self.root / self.own.data_dir

    def feature(self, name: str, default: bool = False) -> bool:
        """A feature flag: ``[features]`` or ``FEATURE_FLAG_<NAME>``."""
        value = self.configuration.feature_flags().get(name.lower())
        return default if value is None else bool(truth(value.content))

    def capability(self, name: str) -> Capability:
        """A capability's descriptor.

        Raises:
            ConfigurationError: There is none of that name.
        """
        if name not in self.catalog.capabilities:
            near = nearest(name, set(self.catalog.capabilities))
            raise ConfigurationError(f"{name} is no capability", remedy=f"did you mean {near}?" if near else None)
        return self.catalog.capabilities[name]

    def resource(self, full_name: str) -> ResourceConfig:
        """A configured resource.

        Raises:
            ConfigurationError: It is not configured; with the way to do so.
        """
        config = self.configuration.resources.get(full_name)
        if config is not None:
            return config
        refused = [problem for problem in self.configuration.problems if problem.subject == full_name]
        if refused:
            raise failure(refused)
        capability, _, name = full_name.partition(".")
        self.capability(capability)
        near = nearest(name, {one.name for one in self.configuration.resources.values() if one.capability == capability})
        hint = f"; did you mean {capability}.{near}?" if near else ""
        package = None
        if not self.catalog.of(capability):
            package = next((known[2] for known in KNOWN_PROVIDERS if known[0] == capability), "a plugin")
        trouble = self.catalog.troubles(package.removeprefix("infra-")) if package is not None else None
        if trouble is not None:
            raise ConfigurationError(f"no installed plugin serves {capability}: {trouble[0]}", resource=full_name, remedy=trouble[1])
        if package is not None:
            raise ConfigurationError(
                f"no installed plugin serves {capability}", resource=full_name, remedy=f"pip install {package}, or another plugin for it"
            )
        found = self.catalog.of(capability)
        ways = [f"INFRA_{capability.upper()}__{name.upper()}__URL"]
        if name == "main":
            selectors = [self.catalog.capabilities[capability].selects, *(one.descriptor.selects for one in found)]
            ways = [*dict.fromkeys(names[0] for one in selectors for names in one.values()), *ways]
        schemes = " or ".join(f"{scheme}://" for one in found for scheme in one.descriptor.schemes[:1])
        raise ConfigurationError(
            "it is not configured",
            resource=full_name,
            remedy=f"add [{full_name}] to infra.toml, or set {' or '.join(ways)} ({schemes or 'any URL'}){hint}",
        )

    def validated(self, full_name: str) -> Validated[ProviderSettings]:
        """The settings of a resource with their origins and problems; validated once."""
        known = self._validated.get(full_name)
        if known is not None:
            return known
        from infra.kernel.opening import load_settings
        from infra.kernel.validation import Validated

        config = self.resource(full_name)
        if config.problems or config.provider is None:
            result: Validated[ProviderSettings] = Validated(None, {}, problems=config.problems)
        else:
            missing = self._missing_extra(config)
            if missing is not None:
                result = Validated(None, {}, problems=[missing])
            else:
                try:
                    model = load_settings(config.provider)
                except ConfigurationError as error:
                    result = Validated(None, {}, problems=[Problem(full_name, error.message, None, error.remedy)])
                else:
                    result = self.validator.resource(config, model)
        self._validated[full_name] = result
        if self.states.get(full_name) in (ResourceState.CONFIGURED, None):
            self.states[full_name] = ResourceState.INVALID if result.problems else ResourceState.READY
        return result

    def settings(self, full_name: str) -> ProviderSettings:
        """The valid settings of a resource.

        Raises:
            ConfigurationError: They are not valid; every problem a line.
        """
        if self._own_problems:
            raise failure(self._own_problems)
        validated = self.validated(full_name)
        if validated.settings is None:
            raise failure(validated.problems, resource=full_name)
        return validated.settings

    def section(self, model: type[SectionT]) -> SectionT:
        """A host's own section, cached.

        Raises:
            ConfigurationError: Its values are not valid.
        """
        name = model.section_name
        validated = self._validated.get(f"[{name}]")
        if validated is None or not isinstance(validated.settings, model):
            parts = [layer.under((name,)) for layer in self.configuration.layers]
            validated = self.validator.section(model, name, parts)
            self._validated[f"[{name}]"] = validated
        if validated.settings is None:
            raise failure(validated.problems, resource=name)
        return cast(SectionT, validated.settings)

    @property
    def validator(self) -> Validator:
        """Validates settings; imports pydantic on first use."""
        if self._validator is None:
            from infra.kernel.validation import Validator

            resolves = any(True for _ in self.catalog.implementations("infra_resolve_secret"))
            self._validator = Validator(self.redactor, self._resolve_secret if resolves else None)
        return self._validator

    def explicit_resources(self) -> list[str]:
        """The resources that something configures, implicit ones left out."""
        return [name for name, config in self.configuration.resources.items() if not config.implicit]

    def problems(self) -> list[Problem]:
        """All errors of all resources, sections and the settings themselves."""
        found = list(self.configuration.problems)
        for name in self.explicit_resources():
            found += self.validated(name).problems
        for section in self.declared_sections().values():
            try:
                self.section(section)
            except ConfigurationError:
                found += self._validated[f"[{section.section_name}]"].problems
        found += self._failed_sections.values()
        found += self._useless_defaults()
        return list(dict.fromkeys(found))

    def declared_sections(self) -> dict[str, type[Section]]:
        """The host's sections, those of ``[infra] sections = ["api=app.settings:ApiSettings"]`` imported."""
        from infra.kernel.opening import load

        for reference in self._declared_sections:
            name, _, target = reference.rpartition("=")
            if name in self.sections or name in self._failed_sections:
                continue
            try:
                self.sections[name] = load(target)
            except (Exception, SystemExit) as error:
                value = lookup(self.configuration.layers, ("infra", "sections"))
                message = f"sections: importing {target} raised {describe(error)}"
                remedy = "correct it; modules are looked for in the project folder too"
                self._failed_sections[name] = Problem("settings", message, value.origin if value else None, remedy)
        return self.sections

    def _unknown_plugins(self, layers: list[Layer]) -> list[Problem]:
        """Names in the allow and deny lists and pins that no installed plugin has."""
        problems: list[Problem] = []
        known = {name for plugin in self.catalog.plugins for name in (plugin.name, plugin.distribution)}
        ours = {known[2] for known in KNOWN_PROVIDERS}
        plain = {name.lower().replace("-", "_") for name in known | ours}
        for setting, listed in (("plugins_allow", self.own.plugins_allow or []), ("plugins_deny", self.own.plugins_deny)):
            for name in listed:
                if name.lower().replace("-", "_") not in plain:
                    value, near = lookup(layers, ("infra", setting)), nearest(name, known)
                    remedy = f"did you mean {near}?" if near else "`infra providers --all` lists what is installed"
                    problems.append(Problem("settings", f"{setting} names {name}, which is not installed", value and value.origin, remedy))
        for pinned, distribution in self.own.pin.items():
            capability, _, name = pinned.partition(".")
            offers = [found.plugin.distribution for found in self.catalog.of(capability) if found.name == name]
            names = {*offers, *(found.plugin.name for found in self.catalog.of(capability) if found.name == name)}
            if distribution not in names:
                remedy = (
                    f"it is offered by {' and '.join(dict.fromkeys(offers))}" if offers else "`infra providers` lists what is installed"
                )
                origin = next((layer.values[key].origin for layer in layers for key in layer.values if key[:2] == ("infra", "pin")), None)
                problems.append(Problem("settings", f"pin: {distribution} offers no provider {pinned}", origin, remedy))
        return problems

    def validate_environment(self) -> EnvironmentStatus:
        """Whether the whole configuration is valid; opens nothing."""
        from infra.kernel.problems import EnvironmentStatus

        errors = [str(problem) for problem in self.problems()]
        warnings = [str(problem) for problem in self.configuration.warnings]
        warnings += [
            f"plugin {plugin.title}: {outcome.message}"
            for plugin in self.catalog.plugins
            if plugin.state is not ProviderState.DISABLED
            for outcome in plugin.outcomes
            if not outcome.ok
        ]
        return EnvironmentStatus(not errors, errors, warnings)

    def context(self, config: ResourceConfig, services: Any, stores: SharedStores | None = None) -> OpenContext:
        """What a driver and its portable object may know; with `stores`, apart from the kernel's own memory stores."""
        import logging

        from infra.kernel.context import OpenContext
        from infra.kernel.origins import name_origins

        known = self.configuration.resources.get(config.full_name) is config
        return OpenContext(
            capability=config.capability,
            name=config.name,
            provider=config.provider.name if config.provider else "",
            environment=self.environment,
            data_dir=self.data_dir,
            stores=stores or self.stores,
            redact=self.redactor,
            **({"origins": partial(name_origins, self, config)} if known else {}),
            logger=logging.getLogger(f"infra.{config.full_name}"),
            services=services,
        )

    def temporary(self, full_name: str, settings: Mapping[str, Any]) -> tuple[ResourceConfig, ProviderSettings]:
        """A resource from settings given in code alone, for overrides.

        Raises:
            ConfigurationError: The settings are not valid.
        """
        from infra.kernel.opening import load_settings

        capability, _, name = full_name.partition(".")
        configuration = configure([arguments_layer({capability: {name: dict(settings)}})], self.catalog, (), self.environment)
        config = configuration.resources[full_name]
        if config.problems or config.provider is None:
            raise failure(config.problems)
        validated = self.validator.resource(config, load_settings(config.provider))
        if validated.settings is None:
            raise failure(validated.problems)
        return config, validated.settings

    def diagnose(self, error: BaseException, resource: str) -> Diagnosis | None:
        """What a plugin knows about a failure."""
        from infra.kernel.context import Diagnosis

        return cast("Diagnosis | None", self.catalog.first("infra_analyze_failure", error, resource, kind=Diagnosis))

    def _resolve_secret(self, reference: str) -> str | None:
        return cast("str | None", self.catalog.first("infra_resolve_secret", reference, kind=str))

    def _with_plugin_sources(self, layers: list[Any]) -> list[Any]:
        from infra.kernel.layers import Layer, Origin, Value, flatten

        found: list[Layer] = []
        for plugin, sources in self.catalog.collect("infra_config_sources", {"root": self.root, "environment": self.environment}):
            for source in sources:
                try:
                    leaves = {key: Value(content, Origin(source.name, ".".join(key))) for key, content in flatten(source.read())}
                except KeyboardInterrupt:
                    raise
                except BaseException as error:  # its text may hold a value
                    plugin.note("hook_failed", f"its settings source {source.name} raised {type(error).__name__}")
                    continue
                found.append(Layer(source.name, leaves))
        if not found:
            return layers
        place = next((index for index, layer in enumerate(layers) if layer.name.endswith(".toml")), len(layers))
        return [*layers[:place], *found, *layers[place:]]

    def _missing_extra(self, config: ResourceConfig) -> Problem | None:
        capability = self.catalog.capabilities[config.capability]
        missing = [module for module in capability.modules if not exists(module)]
        if not missing:
            return None
        return Problem(
            config.full_name, f"module {', '.join(missing)} is not installed", None, f'pip install "infra-kernel[{capability.extra}]"'
        )

    def _useless_defaults(self) -> list[Problem]:
        """Defaults of a capability that no provider in use knows."""
        found: list[Problem] = []
        for capability in self.catalog.capabilities:
            names = [name for name in self.explicit_resources() if name.startswith(f"{capability}.")]
            settings = [self.validated(name).settings for name in names]
            if not settings or None in settings:
                continue
            known = {field for model in settings if model is not None for field in type(model).model_fields}
            for layer in self.configuration.layers:
                for key, value in layer.under((capability, "defaults")).items():
                    if key[0] not in known:
                        near = nearest(key[0], known)
                        remedy = f"did you mean {near}?" if near else None
                        found.append(Problem(f"{capability}.defaults", f"no provider in use has {key[0]}", value.origin, remedy))
        return found
