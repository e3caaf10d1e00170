"""Whatever a plugin returns, raises or declares costs that plugin alone, and the cause is told."""

from __future__ import annotations

import asyncio
import itertools
import sys
import types
from typing import Any

import pytest
from pluggy import HookimplMarker

from infra import AsyncInfra, Infra
from infra.errors import InfraError
from infra.kernel.discovery import Catalog, Plugin, ProviderState, discover
from infra.kernel.explain import explain
from infra.kernel.health import HealthCheck
from infra.plugin import Capability, Provider, hookimpl
from infra.resource import Health, Status


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Root(BaseException):
    pass


def module(name: str = "broken", /, **functions: Any) -> types.ModuleType:
    made = types.ModuleType(name)
    for hook, function in functions.items():
        made.__dict__[hook] = hookimpl(function)
    return made


def arguments(project: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {**project, **more}


def provider(name: Any = "odd", **fields: Any) -> Provider:
    return Provider(**arguments({"name": name, "summary": "", "settings": "a:B", "open": "a:b"}, **fields))


def raising(error: BaseException) -> Any:
    def hook() -> Any:
        raise error

    return hook


def midway() -> Any:
    yield provider("first")
    raise RuntimeError("midway")


def said_of(catalog: Catalog, name: str = "broken") -> str:
    return next(plugin.reason for plugin in catalog.plugins if plugin.name == name)


@pytest.mark.parametrize(
    ("hook", "said"),
    [
        (lambda: 5, "infra_cache returned int, not a list"),
        (lambda: "redis", "infra_cache returned str, not a list"),
        (lambda: {"redis": provider()}, "infra_cache returned dict, not a list"),
        (lambda: provider(), "infra_cache returned Provider, not a list"),
        (lambda: ["redis"], "infra_cache returned str, not Provider objects"),
        (lambda: [None], "infra_cache returned None, not Provider objects"),
        (lambda: (provider(str(n)) for n in itertools.count()), "infra_cache returned more than 1,000 items"),
        (midway, "infra_cache raised RuntimeError: midway"),
        (lambda: [provider(None)], "a Provider's name is None"),
        (lambda: [provider("two words")], "a Provider's name is 'two words'"),
        (lambda: [Provider(**arguments({}))], "infra_cache raised TypeError"),
        (raising(SystemExit(3)), "infra_cache raised SystemExit: 3"),
        (raising(asyncio.CancelledError()), "infra_cache raised CancelledError"),
        (raising(GeneratorExit()), "infra_cache raised GeneratorExit"),
        (raising(Root("deep")), "infra_cache raised Root: deep"),
        (raising(Unspeakable()), "infra_cache raised Unspeakable"),
    ],
)
def test_a_wrong_result_costs_its_plugin_alone(sample: Any, hook: Any, said: str) -> None:
    catalog = discover(allow=[], modules=[module(infra_cache=hook), sample, module("good", infra_cache=lambda: [provider("fine")])])
    assert [found.name for found in catalog.of("cache")] == ["fine"]
    assert catalog.of("clock")
    assert said in said_of(catalog)


def test_nothing_and_a_generator_are_fine() -> None:
    catalog = discover(allow=[], modules=[module(infra_cache=lambda: None, infra_queue=lambda: (provider(n) for n in ("a", "b")))])
    assert [found.name for found in catalog.providers] == ["a", "b"]
    assert said_of(catalog) == ""


def test_ctrl_c_is_not_a_plugins_failure() -> None:
    with pytest.raises(KeyboardInterrupt):
        discover(allow=[], modules=[module(infra_cache=raising(KeyboardInterrupt()))])


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"settings": "nocolon"}, "settings is 'nocolon', not \"module:attribute\""),
        ({"settings": None}, "settings is None"),
        ({"open": print}, "open is builtin_function_or_method"),
        ({"open_async": "a:b:c"}, "open_async is 'a:b:c'"),
        ({"modules": "redis"}, "modules is 'redis', not a tuple"),
        ({"modules": None}, "modules is None, not a tuple"),
        ({"schemes": "redis"}, "schemes is 'redis', not a tuple"),
        ({"schemes": ("Redis",)}, "schemes is tuple, not a tuple of schemes in lower case"),
        ({"driver_api": "1"}, "driver_api is '1', not a whole number"),
        ({"driver_api": True}, "driver_api is True"),
        ({"selects": {"url": "X_URL"}}, "selects is dict, not a mapping such as"),
        ({"selects": ["X_URL"]}, "selects is list"),
        ({"fills": {1: ("A",)}}, "fills is dict"),
        ({"embedded": "yes"}, "embedded is 'yes', not True or False"),
        ({"summary": None, "status": 3}, "summary is None, not text; status is 3, not text"),
        ({"docs": 5, "telemetry_system": b"x"}, "telemetry_system is bytes, not text; docs is 5"),
    ],
)
def test_a_wrong_field_makes_the_provider_incompatible_and_says_which(kernel: Any, fields: dict[str, Any], said: str) -> None:
    made = kernel(modules=[module(infra_cache=lambda: [provider(**fields), provider("fine")])], toml='[cache.main]\nprovider = "odd"')
    states = {found.name: found for found in made.catalog.of("cache")}
    assert states["odd"].state is ProviderState.INCOMPATIBLE
    assert said in states["odd"].reason
    assert states["fine"].available
    assert said in "".join(explain(made, "cache.main").problems)


def test_one_plugin_that_offers_a_name_twice_is_told_so_and_cannot_be_pinned() -> None:
    twice = module(infra_cache=lambda: [provider(), provider()])
    for pins in ({}, {("cache", "odd"): "broken"}):
        catalog = discover(allow=[], modules=[twice], pins=pins)
        assert {found.state for found in catalog.of("cache")} == {ProviderState.CONFLICTED}
        assert "broken offers cache provider odd more than once" in catalog.of("cache")[0].reason


def test_hooks_get_their_arguments_by_name_in_pluggys_order() -> None:
    seen: list[str] = []
    marker = HookimplMarker("infra")

    def made(name: str, **options: Any) -> types.ModuleType:
        def infra_resolve_secret(reference: str) -> None:
            seen.append(f"{name} {reference}")

        found = types.ModuleType(name)
        found.__dict__["infra_resolve_secret"] = marker(infra_resolve_secret, **options)
        return found

    class Swapped:
        @hookimpl
        def infra_analyze_failure(self, resource: str, error: BaseException) -> None:
            seen.append(f"{resource} {error!r}")

    class Fewer:
        @hookimpl
        def infra_analyze_failure(self, resource: str) -> None:
            seen.append(resource)

    catalog = discover(allow=[], modules=[made("last", trylast=True), made("a"), Swapped(), made("b"), Fewer(), made("c", tryfirst=True)])
    assert catalog.first("infra_resolve_secret", "vault:x") is None
    assert seen == ["c vault:x", "a vault:x", "b vault:x", "last vault:x"]
    seen.clear()
    catalog.first("infra_analyze_failure", ValueError(1), "cache.main")
    assert seen == ["cache.main ValueError(1)", "cache.main"]


def scheme(reference: str) -> str:
    return reference.partition(":")[0]


def test_a_first_result_of_another_type_is_passed_over_and_told() -> None:
    modules = [module(infra_resolve_secret=lambda: 5), module("good", infra_resolve_secret=scheme)]
    catalog = discover(allow=[], modules=modules)
    assert catalog.first("infra_resolve_secret", "vault:x", kind=str) == "vault"
    assert said_of(catalog) == "infra_resolve_secret returned int, not str"


class HasHook:
    @hookimpl
    def infra_cache(self) -> Any:
        return []


class Touchy:
    @property
    def infra_cache(self) -> Any:
        raise Root("touched")


@pytest.mark.parametrize(
    ("plugin", "said"),
    [
        (HasHook, "it is the class HasHook"),
        (5, "x has no hooks"),
        (types.SimpleNamespace(infra_cache=list), "infra_cache is not marked as a hook"),
        (Touchy(), "looking for its hooks raised Root: touched"),
    ],
)
def test_what_an_entry_point_names_is_checked(plugin: Any, said: str) -> None:
    catalog = Catalog()
    made = Plugin("x", "x", "1", "x")
    catalog.add(made, plugin)
    catalog.check_hook_names()
    assert said in made.reason


def test_two_modules_of_one_name_are_two_plugins() -> None:
    catalog = discover(allow=[], modules=[module(infra_cache=lambda: [provider("a")]), module(infra_cache=lambda: 5)])
    found = [plugin for plugin in catalog.plugins if not plugin.module]
    assert [(plugin.name, plugin.reason[:11]) for plugin in found] == [("broken", ""), ("broken (2)", "infra_cache")]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": "Two Words"}, "a Capability's name is 'Two Words'"),
        ({"portable": 5}, "capability odd: portable is 5"),
        ({"selects_named": {"url": "X"}}, "selects_named is dict"),
        ({"hookspecs": "no_such_module_at_all"}, "no_such_module_at_all raised ModuleNotFoundError"),
    ],
)
def test_a_wrong_capability_is_left_out(fields: dict[str, Any], said: str) -> None:
    sound = {"name": "odd", "portable": "a:B", "portable_async": "a:C", "settings": "a:S"}
    catalog = discover(allow=[], modules=[module(infra_capabilities=lambda: [Capability(**arguments(sound, **fields))])])
    assert "odd" not in catalog.capabilities
    assert said in said_of(catalog)


def test_sources_and_checks_of_another_shape_are_left_out(project: dict[str, Any]) -> None:
    broken = module(
        infra_config_sources=lambda: [5, types.SimpleNamespace(name="bad", read=lambda: 1 / 0)],
        infra_health_checks=lambda: [5, HealthCheck("x", None), HealthCheck("late", print, timeout="1")],  # type: ignore[arg-type]
    )
    with Infra(**arguments(project, modules=[*project["modules"], broken])) as services:
        assert services.health().status is Status.UP
        said = said_of(services.kernel.catalog)
    for expected in (
        "returned int without a `name`",
        "bad raised ZeroDivisionError",
        "int, not HealthCheck",
        "check x is None",
        "late is '1'",
    ):
        assert expected in said


@pytest.mark.parametrize("answer", [5, None, RuntimeError("x")])
def test_a_check_that_answers_with_something_else_is_down_and_says_so(project: dict[str, Any], answer: Any) -> None:
    def check() -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    broken = module(infra_health_checks=lambda: [HealthCheck("odd", check), HealthCheck("fine", lambda: Health(Status.UP))])
    with Infra(**arguments(project, modules=[broken])) as services:
        report = services.health()
    assert report.checks["fine"].status is Status.UP
    assert report.checks["odd"].status is Status.DOWN
    assert "the check" in str(report.checks["odd"].message)


class _Driver:
    features = frozenset[str]()

    def classify(self, error: BaseException) -> Any:
        raise RuntimeError("classify")

    def explain(self, error: BaseException) -> Any:
        raise RuntimeError("explain")

    def unwrap(self) -> Any:
        return ()

    def ping(self, timeout: float) -> None:
        raise OSError("the cause")

    def close(self, timeout: float) -> None:
        raise SystemExit(4)


def opener(driver: Any) -> Any:
    def opens(settings: Any, context: Any) -> Any:
        return driver

    return opens


OPENERS: dict[str, Any] = {
    "none": opener(None),
    "narrow": print,
    "partial": opener(types.SimpleNamespace(features=frozenset())),
    "features": opener(type("Odd", (_Driver,), {"features": "all"})()),
    "hollow": opener(_Driver()),
    "settings": object,
}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"open": "opens_oddly:none"}, "opened None, which lacks classify, close"),
        ({"open": "opens_oddly:narrow"}, "opened None"),
        ({"open": "opens_oddly:partial"}, "lacks classify, close, ping, unwrap"),
        ({"open": "opens_oddly:features"}, "features that are str"),
        ({"open": "opens_oddly:gone"}, "importing the function opens_oddly:gone of provider odd raised AttributeError"),
        ({"open": "no_such_module_at_all:x"}, "raised ModuleNotFoundError"),
        ({"open": "opens_oddly:hollow"}, "the cause"),
        ({"settings": "opens_oddly:settings"}, "are no ProviderSettings class"),
        ({"settings": "opens_oddly:gone"}, "importing the settings opens_oddly:gone of broken raised AttributeError"),
    ],
)
@pytest.mark.parametrize("door", ["blocking", "asyncio"])
def test_a_driver_or_settings_class_that_is_none_is_told(
    project: dict[str, Any], monkeypatch: pytest.MonkeyPatch, sample: Any, fields: dict[str, Any], said: str, door: str
) -> None:
    odd = types.ModuleType("opens_oddly")
    odd.__dict__.update(OPENERS)
    monkeypatch.setitem(sys.modules, "opens_oddly", odd)
    declared: dict[str, Any] = {"name": "odd", "summary": "", "settings": "sample_plugin.settings:ClockSettings", "open": "x:y"}
    declared |= fields
    broken = module(infra_clock=lambda: [Provider(**declared)])
    given = arguments(project, settings={"clock": {"main": {"provider": "odd"}}}, modules=[sample, broken])

    async def start() -> None:
        async with AsyncInfra(**given):
            pass

    with pytest.raises(InfraError) as caught:
        if door == "blocking":
            with Infra(**given):
                pass
        else:
            asyncio.run(start())
    assert said in str(caught.value)
    assert "clock.main" in str(caught.value)


def test_looking_at_a_driver_runs_none_of_its_properties(project: dict[str, Any], monkeypatch: pytest.MonkeyPatch, sample: Any) -> None:
    asked: list[str] = []

    class Asks(_Driver):
        @property
        def features(self) -> frozenset[str]:  # type: ignore[override]
            asked.append("features")
            return frozenset()

        def ping(self, timeout: float) -> None:
            asked.append("ping")

    odd = types.ModuleType("opens_oddly")
    odd.__dict__["opens"] = opener(Asks())
    monkeypatch.setitem(sys.modules, "opens_oddly", odd)
    declared = provider(settings="sample_plugin.settings:ClockSettings", open="opens_oddly:opens")
    broken = module(infra_clock=lambda: [declared])
    with Infra(**arguments(project, settings={"clock": {"main": {"provider": "odd"}}}, modules=[sample, broken])):
        assert asked[0] == "ping"
