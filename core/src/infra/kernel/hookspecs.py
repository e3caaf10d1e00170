"""The hook specifications of the kernel, one function a hook. A plugin implements any of them, marked `infra.plugin.hookimpl`.

Hooks are synchronous and never run on a request path. Each implementation is called by itself, inside its own ``try``: a plugin that
raises costs only itself. Wrapper implementations are refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pluggy import HookspecMarker

if TYPE_CHECKING:
    from infra.kernel.health import HealthCheck
    from infra.plugin import Capability, Diagnosis, Provider

hookspec = HookspecMarker("infra")


@hookspec
def infra_database() -> Sequence[Provider]:  # type: ignore[empty-body]
    """The database providers of this plugin."""
    ...


@hookspec
def infra_llm() -> Sequence[Provider]:  # type: ignore[empty-body]
    """The LLM providers of this plugin."""
    ...


@hookspec
def infra_storage() -> Sequence[Provider]:  # type: ignore[empty-body]
    """The storage providers of this plugin."""
    ...


@hookspec
def infra_queue() -> Sequence[Provider]:  # type: ignore[empty-body]
    """The queue providers of this plugin."""
    ...


@hookspec
def infra_cache() -> Sequence[Provider]:  # type: ignore[empty-body]
    """The cache providers of this plugin."""
    ...


@hookspec
def infra_capabilities() -> Sequence[Capability]:  # type: ignore[empty-body]
    """Further capabilities. Called in a first round, so that the hooks they specify are known in the second."""
    ...


@hookspec
def infra_config_sources(context: Mapping[str, object]) -> Sequence[Any]:  # type: ignore[empty-body]
    """Further sources of settings: objects with a ``name`` and ``read() -> nested mapping``. They stand just above infra.toml.

    Args:
        context: ``root`` (the project folder) and ``environment``.
    """
    ...


@hookspec(firstresult=True)
def infra_resolve_secret(reference: str) -> str | None:
    """The secret that a reference such as ``vault:kv/app#key`` names; None when the scheme is not this plugin's."""
    ...


@hookspec
def infra_health_checks() -> Sequence[HealthCheck]:  # type: ignore[empty-body]
    """Checks beside those of the resources."""
    ...


@hookspec(firstresult=True)
def infra_analyze_failure(error: BaseException, resource: str) -> Diagnosis | None:
    """What failed, why and what to do, for an error that this plugin knows; else None."""
    ...


@hookspec
def infra_subscribe(bus: Any) -> None:
    """Register event handlers on the kernel's bus."""
    ...


@hookspec
def infra_database_models() -> Sequence[str]:  # type: ignore[empty-body]
    """``"module:attribute"`` references to SQLAlchemy metadata or modules with models, for migrations."""
    ...


@hookspec
def infra_routers() -> Sequence[str]:  # type: ignore[empty-body]
    """``"module:attribute"`` references to web routers."""
    ...


@hookspec
def infra_commands() -> Sequence[str]:  # type: ignore[empty-body]
    """``"module:attribute"`` references to click commands for the ``infra`` program."""
    ...
