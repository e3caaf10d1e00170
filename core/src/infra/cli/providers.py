"""``infra providers``: what is installed, in which state, and which resources use it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from infra.cli.output import count, mark, paragraph, table
from infra.cli.session import OK, PROBLEM, Session, common
from infra.errors import InfraError
from infra.kernel.capabilities import KNOWN_PROVIDERS
from infra.kernel.discovery import ProviderState

if TYPE_CHECKING:
    from infra import AsyncInfra
    from infra.kernel.core import Kernel


@click.command()
@click.option("--all", "show_all", is_flag=True, help="Also plugins that are disabled, and known providers that are not installed.")
@click.option("--check", is_flag=True, help="Validate and open every configured resource.")
@common
@click.pass_obj
def providers(session: Session, show_all: bool, check: bool) -> int:
    """What is installed, in which state, and which resources use it.

    Imports no SDK and opens nothing, unless --check is given.
    """
    kernel = session.kernel
    failures, states = session.run(lambda services: _open_all(services, kernel)) if check else ({}, kernel.states)
    rows = [*_provider_rows(kernel, states), *_plugin_rows(kernel, show_all), *(_missing_rows(kernel) if show_all else [])]
    notes = [
        {"plugin": plugin.title, "message": outcome.message, "remedy": outcome.remedy}
        for plugin in kernel.catalog.plugins
        if plugin.state is ProviderState.AVAILABLE
        for outcome in plugin.outcomes
        if not outcome.ok
    ]
    if session.json:
        session.answer({"providers": rows, "notes": notes, "failures": failures})
    else:
        _print(rows, notes, failures, hidden=0 if show_all else len(kernel.catalog.plugins))
    return PROBLEM if failures else OK


def _provider_rows(kernel: Kernel, states: Mapping[str, str]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for found in kernel.catalog.providers:
        users = {
            name: "default" if config.implicit and states[name] == "configured" else str(states[name])
            for name, config in kernel.configuration.resources.items()
            if config.provider is found
        }
        rows.append(
            {
                "capability": found.capability,
                "provider": found.name,
                "distribution": found.plugin.distribution,
                "version": found.plugin.version,
                "state": str(found.state),
                "reason": found.reason,
                "summary": found.descriptor.summary,
                "resources": users,
            }
        )
    return rows


def _plugin_rows(kernel: Kernel, show_all: bool) -> list[dict[str, Any]]:
    """Plugins that are out altogether: nobody knows which providers they would have brought."""
    rows: list[dict[str, Any]] = []
    for plugin in kernel.catalog.plugins:
        if plugin.state is ProviderState.AVAILABLE or (plugin.state is ProviderState.DISABLED and not show_all):
            continue
        failed = next(outcome for outcome in reversed(plugin.outcomes) if not outcome.ok)
        reason = failed.message + (f"; {failed.remedy}" if failed.remedy else "")
        rows.append(_row("-", "-", plugin.distribution, plugin.version, str(plugin.state), reason))
    return rows


def _missing_rows(kernel: Kernel) -> list[dict[str, Any]]:
    here = {(found.capability, found.name) for found in kernel.catalog.providers}
    out = {plugin.distribution for plugin in kernel.catalog.plugins if plugin.state is not ProviderState.AVAILABLE}
    return [
        _row(capability, name, package, "", "not_installed", f"pip install {package}")
        for capability, name, package, _ in KNOWN_PROVIDERS
        if (capability, name) not in here and package not in out
    ]


def _row(capability: str, provider: str, distribution: str, version: str, state: str, reason: str) -> dict[str, Any]:
    return {
        "capability": capability,
        "provider": provider,
        "distribution": distribution,
        "version": version,
        "state": state,
        "reason": reason,
        "summary": "",
        "resources": {},
    }


def _print(rows: list[dict[str, Any]], notes: list[dict[str, Any]], failures: dict[str, str], hidden: int) -> None:
    if not rows and hidden:
        click.echo(f"No plugin is active: {count(hidden, 'plugin')} disabled, which `infra providers --all` lists.")
        return
    if not rows:
        click.echo("No plugin is installed: `pip install infra-local` brings providers that need no server.")
        return
    lines: list[list[str]] = []
    for row in rows:
        users = ", ".join(f"{name.partition('.')[2]} ({state})" for name, state in row["resources"].items())
        why = row["reason"] or row["summary"]
        lines.append([row["capability"], row["provider"], row["distribution"], row["version"], row["state"], users or "-", why])
    table(["CAPABILITY", "PROVIDER", "DISTRIBUTION", "VERSION", "STATE", "RESOURCES", "WHAT OR WHY"], lines)
    for note in notes:
        remedy = f"; {note['remedy']}" if note["remedy"] else ""
        paragraph(f"{mark(False)} ", f"{note['plugin']}: {note['message']}{remedy}", 2)
    for message in failures.values():
        paragraph(f"{mark(False)} ", message, 2)


async def _open_all(services: AsyncInfra, kernel: Kernel) -> tuple[dict[str, str], dict[str, str]]:
    """Open every configured resource: the failures by resource, those of the configuration itself under ``settings``; and the states."""
    failures: dict[str, str] = {}
    for problem in kernel.configuration.problems:
        failures.setdefault(problem.subject, str(problem))
    for name in kernel.explicit_resources():
        try:
            await services.open(name)
        except InfraError as error:
            failures[name] = kernel.redactor(str(error))
    return failures, {name: str(state) for name, state in kernel.states.items()}
