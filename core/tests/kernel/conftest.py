"""A kernel with a sample plugin, in an empty project folder and an empty environment."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.kernel.core import Kernel

PLUGINS = Path(__file__).parent / "plugins"


@pytest.fixture(autouse=True)
def _plugins_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PLUGINS))


@pytest.fixture
def sample() -> Any:
    return importlib.import_module("sample_plugin")


@pytest.fixture
def project(tmp_path: Path, sample: Any) -> Iterator[dict[str, Any]]:
    """The arguments of a kernel, or of a door, that sees nothing but the sample plugin and this folder."""
    yield {"root": tmp_path, "environ": {}, "plugins": [], "modules": [sample]}
    assert "no_such_module_anywhere" not in sys.modules


@pytest.fixture
def kernel(project: dict[str, Any]) -> Callable[..., Kernel]:
    """``kernel(toml="...", environ={...}, dotenv="...", settings={...})``."""

    def make(toml: str = "", dotenv: str = "", environ: dict[str, str] | None = None, settings: Any = None, **more: Any) -> Kernel:
        if toml:
            (project["root"] / "infra.toml").write_text(toml)
        if dotenv:
            (project["root"] / ".env").write_text(dotenv)
        return Kernel(settings, **{**project, "environ": environ or {}, **more})

    return make
