"""Broken plugins, installed for real: every command still works, and says what is wrong and what to do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

BUILD = '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
GOOD = """
from infra.plugin import Provider, hookimpl

@hookimpl
def infra_cache():
    return [Provider(name={name!r}, summary="x", settings="infra_local.cache.settings:MemoryCacheSettings",
                     open="infra_local.cache.memory:open_driver", {fields})]
"""
PLUGINS = {
    "broken-import": "raise RuntimeError('the import went wrong')",
    "broken-exit": "raise SystemExit(7)",
    "broken-api": GOOD.format(name="newest", fields="driver_api=99"),
    "broken-dependency": GOOD.format(name="needy", fields="modules=('a_module_nobody_has',)"),
    "broken-rival": GOOD.format(name="memory", fields=""),
    "broken-hook": GOOD.format(name="fine", fields="") + "\n@hookimpl\ndef infra_cahce():\n    return []\n",
}


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that has everything of this one, and six broken plugins."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    interpreter = folder / "venv" / "bin" / "python"
    packages = next((folder / "venv" / "lib").glob("python*")) / "site-packages"
    outer = sysconfig.get_paths()["purelib"]
    (packages / "outer.pth").write_text(f"import site; site.addsitedir({outer!r})\n")
    sources = []
    for name, code in PLUGINS.items():
        module = name.replace("-", "_")
        source = folder / name
        source.mkdir()
        (source / "pyproject.toml").write_text(
            f'{BUILD}[project]\nname = "{name}"\nversion = "1.2.3"\n[project.entry-points."infra.plugins"]\n{module} = "{module}"\n'
        )
        (source / f"{module}.py").write_text(code)
        sources.append(str(source))
    pip = [sys.executable, "-m", "pip", "--python", str(interpreter), "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, *sources], check=True, capture_output=True)
    return interpreter


@pytest.fixture
def infra(python: Path, tmp_path: Path) -> Any:
    """``infra("providers", "--json")`` runs the program in an empty folder of that environment."""

    def run(*arguments: str, status: int | None = 0, **environ: str) -> str:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("INFRA_")}
        done = subprocess.run(
            [str(python), "-c", "from infra.cli import main; main()", *arguments],
            cwd=tmp_path,
            env={**clean, **environ},
            capture_output=True,
            text=True,
            timeout=150,
        )
        assert status is None or done.returncode == status, done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


def test_providers_lists_every_broken_plugin_with_reason_and_remedy(infra: Any) -> None:
    said = infra("providers", "--all")
    for expected in (
        "broken-import",
        "RuntimeError: the import went wrong",
        "SystemExit: 7",
        "driver API 99",
        "upgrade infra-kernel",
        "a_module_nobody_has is not installed",
        "broken-rival and infra-local both offer cache provider memory",
        "infra_cahce is not a hook",
        "did you mean infra_cache?",
    ):
        assert expected in " ".join(said.split()), said


def test_the_healthy_ones_are_available_beside_them(infra: Any) -> None:
    listed = json.loads(infra("providers", "--all", "--json"))
    text = json.dumps(listed)
    assert '"load_failed"' in text
    assert '"conflicted"' in text
    assert '"missing_dependency"' in text
    assert '"incompatible"' in text
    assert '"available"' in text


def test_a_cache_still_works_by_another_provider(infra: Any) -> None:
    environ = {"INFRA_CACHE__MAIN__PROVIDER": "sqlite"}
    infra("cache", "set", "greeting", "hello", **environ)
    assert "hello" in infra("cache", "get", "greeting", **environ)


def test_the_conflicted_provider_is_refused_with_the_remedy_and_works_when_pinned(infra: Any, tmp_path: Path) -> None:
    said = infra("cache", "get", "x", status=None, INFRA_CACHE__MAIN__PROVIDER="memory")
    assert "both offer cache provider memory" in said
    assert "infra.pin" in said
    (tmp_path / "infra.toml").write_text('[infra.pin]\n"cache.memory" = "infra-local"\n[cache.main]\nprovider = "memory"\n')
    infra("cache", "set", "x", "1")


@pytest.mark.parametrize("command", [["config", "show"], ["config", "check"], ["health"], ["explain", "database.main"], ["llm", "models"]])
def test_other_commands_work(infra: Any, command: list[str]) -> None:
    infra(*command)


def test_doctor_says_what_to_do(infra: Any) -> None:
    said = " ".join(infra("doctor", status=None).split())
    for expected in ("broken-import", "broken-exit", "a_module_nobody_has", "both offer cache provider memory"):
        assert expected in said


def test_a_denied_plugin_is_not_even_imported(infra: Any) -> None:
    said = infra("providers", "--all", INFRA_PLUGINS_DENY="broken-import,broken-exit")
    assert "the import went wrong" not in said
    assert "disabled" in said
