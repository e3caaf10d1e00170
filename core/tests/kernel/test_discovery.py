"""What discovery finds, and how a broken plugin costs only itself."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from infra.errors import ConfigurationError
from infra.kernel.capabilities import CAPABILITIES, KNOWN_PROVIDERS
from infra.kernel.discovery import ProviderState, discover
from infra.plugin import Provider, hookimpl

SDKS = ("pydantic", "sqlalchemy", "alembic", "boto3", "redis", "pika", "openai", "psycopg", "pymysql", "aiosqlite", "sqlite3", "click")


def provider(name: str = "x", **fields: Any) -> Provider:
    return Provider(**{"name": name, "summary": "", "settings": "a:B", "open": "a:b", **fields})


def state_of(catalog: Any, name: str) -> Any:
    return next(found for found in catalog.providers if found.name == name)


def test_each_provider_has_a_state_and_a_reason(sample: Any) -> None:
    catalog = discover(allow=[], modules=[sample])
    states = {found.name: found.state for found in catalog.of("clock")}
    assert states == {
        "system": ProviderState.AVAILABLE,
        "ntp": ProviderState.AVAILABLE,
        "atomic": ProviderState.MISSING_DEPENDENCY,
        "future": ProviderState.INCOMPATIBLE,
        "tasks_only": ProviderState.AVAILABLE,
    }
    assert "module no_such_module_anywhere is not installed; pip install" in state_of(catalog, "atomic").reason
    assert "driver API 99, this kernel 1 to 1; upgrade infra-kernel" in state_of(catalog, "future").reason


@pytest.mark.parametrize("error", [RuntimeError("boom"), SystemExit(3), ImportError("gone")])
def test_a_hook_that_raises_costs_only_its_own_result(sample: Any, error: BaseException) -> None:
    class Bad:
        @hookimpl
        def infra_cache(self) -> Any:
            raise error

    class Good:
        @hookimpl
        def infra_cache(self) -> Any:
            return [provider("fine")]

    catalog = discover(allow=[], modules=[Bad(), sample, Good()])
    assert [found.name for found in catalog.of("cache")] == ["fine"]
    bad = next(plugin for plugin in catalog.plugins if plugin.name == "Bad")
    assert "infra_cache raised" in bad.outcomes[0].message


def test_wrong_results_parameters_wrappers_and_names_are_reported() -> None:
    class Wrong:
        @hookimpl
        def infra_cache(self) -> Any:
            return ["redis"]

    class Parameters:
        @hookimpl
        def infra_cache(self, oops: int) -> Any:
            return []

    class Wrapper:
        @hookimpl(wrapper=True)
        def infra_cache(self) -> Any:
            return (yield)

    class Misspelt:
        @hookimpl
        def infra_cach(self) -> Any:
            return []

    catalog = discover(allow=[], modules=[Wrong(), Parameters(), Wrapper(), Misspelt()])
    said = {plugin.name: " ".join(f"{one.message} {one.remedy}" for one in plugin.outcomes) for plugin in catalog.plugins}
    assert "returned str" in said["Wrong"]
    assert "oops" in said["Parameters"]
    assert "wrapper" in said["Wrapper"]
    assert "infra_cach is not a hook did you mean infra_cache?" in said["Misspelt"]
    assert catalog.of("cache") == []


def test_two_distributions_with_one_name_both_lose_unless_one_is_pinned() -> None:
    class First:
        @hookimpl
        def infra_cache(self) -> Any:
            return [provider("twin")]

    class Second:
        @hookimpl
        def infra_cache(self) -> Any:
            return [provider("twin")]

    catalog = discover(allow=[], modules=[First(), Second()])
    assert {found.state for found in catalog.of("cache")} == {ProviderState.CONFLICTED}
    assert "First and Second both offer cache provider twin" in catalog.of("cache")[0].reason
    pinned = discover(allow=[], modules=[First(), Second()], pins={("cache", "twin"): "Second"})
    found = pinned.find("cache", "twin")
    assert found is not None
    assert (found.plugin.name, found.state) == ("Second", ProviderState.AVAILABLE)


def test_a_conflicted_provider_is_never_chosen(kernel: Any, sample: Any) -> None:
    class Rival:
        @hookimpl
        def infra_clock(self) -> Any:
            return [provider("system", embedded=True)]

    made = kernel(modules=[sample, Rival()], toml='[clock.main]\nprovider = "system"')
    with pytest.raises(ConfigurationError, match="provider system is conflicted: sample_plugin and Rival both offer"):
        made.settings("clock.main")


def test_allow_and_deny_lists_are_obeyed_before_anything_is_loaded() -> None:
    code = (
        "from infra.kernel.discovery import discover; import sys;"
        "c = discover(deny=['infra-local']);"
        "print([p.state for p in c.plugins if p.distribution == 'infra-local'], 'infra_local' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[<ProviderState.DISABLED:", "'disabled'>]", "False"]


def test_discovery_of_everything_installed_imports_no_sdk() -> None:
    code = (
        f"import sys; sdks = {SDKS!r};"
        "from infra.kernel.core import Kernel; k = Kernel(environ={});"
        "print([n for n in sdks if n in sys.modules], len(k.catalog.providers) > 4)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] True"


def test_importing_infra_imports_neither_pydantic_nor_click() -> None:
    code = "import sys, infra; print([n for n in ('pydantic', 'click', 'pluggy', 'asyncio', 'typing') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}"], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_each_plugins_module_imports_none_of_its_providers_modules() -> None:
    for plugin in discover().plugins:
        if plugin.state is not ProviderState.AVAILABLE:
            continue
        code = (
            "import sys; from importlib_metadata import entry_points\n"
            f"point = next(p for p in entry_points(group='infra.plugins') if p.dist.name == {plugin.distribution!r})\n"
            "module = point.load()\n"
            "hooks = [getattr(module, n) for n in dir(module) if hasattr(getattr(module, n), 'infra_impl')]\n"
            "needed = {m for h in hooks for p in (h() if h.__name__ in "
            f"{tuple('infra_' + known.name for known in CAPABILITIES)!r} else ()) for m in p.modules}}\n"
            "print(sorted(n for n in needed | {'pydantic'} if n in sys.modules))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]", plugin.distribution


def test_the_known_providers_agree_with_the_installed_plugins() -> None:
    known = {(capability, name): (package, schemes) for capability, name, package, schemes in KNOWN_PROVIDERS}
    for found in discover().providers:
        if found.plugin.distribution.startswith("infra-") and (found.capability, found.name) in known:
            package, schemes = known[found.capability, found.name]
            assert package == found.plugin.distribution
            assert set(schemes) <= set(found.descriptor.schemes)
