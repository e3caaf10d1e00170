"""Completion of names in the shell. An error completes to nothing: the command itself will say what is wrong."""

from __future__ import annotations

from collections.abc import Callable

import click

from infra.cli.session import Session


def resources(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Full names of resources."""
    return [name for name in _resources(ctx) if name.startswith(incomplete)]


def resources_of(capability: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Names of the resources of a capability."""

    def names(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
        short = [name.partition(".")[2] for name in _resources(ctx) if name.startswith(f"{capability}.")]
        return [name for name in short if name.startswith(incomplete)]

    return names


def providers(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Providers, by name and as ``capability.name``."""
    try:
        found = ctx.ensure_object(Session).kernel.catalog.providers
    except Exception:
        return []
    names = {name for provider in found for name in (provider.name, f"{provider.capability}.{provider.name}")}
    return sorted(name for name in names if name.startswith(incomplete))


def _resources(ctx: click.Context) -> list[str]:
    try:
        return list(ctx.ensure_object(Session).kernel.configuration.resources)
    except Exception:
        return []
