"""Whether a plugin loads the way a host loads it: found through its entry point, its hooks called, its references resolved."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from infra.kernel.opening import load
from infra.plugin import Provider

GROUP = "infra.plugins"


def modules_of(plugin: str | None) -> list[str]:
    """The modules of the plugins to look at: the given one, or all that are installed."""
    return [plugin] if plugin else [point.module for point in entry_points(group=GROUP)]


def offered(module: str, capability: str) -> list[Provider]:
    """The providers of a plugin, from its hook.

    Raises:
        LookupError: It has the function, but the kernel would never call it.
    """
    hook = getattr(import_module(module), f"infra_{capability}", None)
    if hook is None:
        return []
    if getattr(hook, "infra_impl", None) is None:
        raise LookupError(f"{module}.infra_{capability} lacks @hookimpl of infra.plugin: no host would ever call it")
    return list(hook())


def host_modules(plugin: str | None) -> list[ModuleType]:
    """What a host passes as ``modules``: nothing for an installed plugin."""
    return [] if plugin is None or plugin in modules_of(None) else [import_module(plugin)]


def check_references(provider: Provider) -> None:
    """Fail where a reference of the descriptor names nothing."""
    for name in ("settings", "open", "open_async"):
        reference = getattr(provider, name)
        try:
            if reference is not None:
                load(reference)
        except (ImportError, AttributeError, ValueError) as error:
            raise AssertionError(f"provider {provider.name}: {name}={reference!r} names nothing: {error}") from error


@cache
def check_program(capability: str, provider: str, plugin: str | None) -> None:
    """Fail where ``infra explain`` does not find the provider, in a process of its own that knows the plugin by its entry point only.

    A module that no installed distribution names gets an entry point for the occasion.
    """
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "infra.toml").write_text(f'[{capability}.main]\nprovider = "{provider}"\n')
        if host_modules(plugin):
            info = folder / "infra_conformance-0.dist-info"
            info.mkdir()
            (info / "METADATA").write_text("Metadata-Version: 2.1\nName: infra-conformance\nVersion: 0\n")
            (info / "entry_points.txt").write_text(f"[{GROUP}]\nconformance = {plugin}\n")
        command = [sys.executable, "-m", "infra.cli", "explain", f"{capability}.main"]
        environ = {name: value for name, value in os.environ.items() if not name.upper().startswith("INFRA")}
        environ["PYTHONPATH"] = os.pathsep.join([made, *filter(None, map(os.path.abspath, sys.path))])
        done = subprocess.run(command, cwd=made, env=environ, capture_output=True, text=True, check=False)  # noqa: S603
    said = done.stdout + done.stderr
    assert f"provider {provider}: named by" in said, f"`infra explain {capability}.main` does not find the provider:\n{said}"
    assert "\N{BALLOT X} plugin" not in said, f"the plugin does not load:\n{said}"
