"""``infra doctor``: everything that is wrong, and what to do about it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import click

from infra.cli.health import probe
from infra.cli.output import count, mark, paragraph
from infra.cli.session import OK, PROBLEM, Session, common
from infra.errors import ConfigurationError, InfraError
from infra.kernel.discovery import Catalog, Plugin, ProviderState, discover
from infra.kernel.health import HealthReport
from infra.resource.model import Status

if TYPE_CHECKING:
    from infra import AsyncInfra

_SLOW: Final = 0.05  # seconds that importing a plugin may take: every command of every host pays them
_HEAVY: Final = ("pydantic", "sqlalchemy")
#: Imports a plugin in a fresh interpreter, where what it needs of the kernel is loaded; prints seconds and the modules that came along.
_MEASURE: Final = """
import json, sys, time
import infra.plugin, importlib, typing, dataclasses, collections.abc
before = set(sys.modules)
started = time.perf_counter()
importlib.import_module(sys.argv[1])
took = time.perf_counter() - started
print(json.dumps([took, sorted({name.partition(".")[0] for name in set(sys.modules) - before})]))
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of a check.

    Args:
        area: ``plugins``, ``providers``, ``configuration`` or ``resources``.
        level: ``ok``, ``warning`` or ``error``.
        subject: What was looked at.
        message: What was found.
        remedy: What to do.
    """

    area: str
    level: str
    subject: str
    message: str
    remedy: str | None = None


@click.command()
@click.option("--timeout", type=click.FloatRange(min=0.1), default=5.0, show_default=True, help="Seconds for the probe of each resource.")
@click.option("--processes", type=click.IntRange(min=1), default=1, show_default=True, help="Processes of the host, on all machines.")
@common
@click.pass_obj
def doctor(session: Session, timeout: float, processes: int) -> int:
    """Look for everything that is wrong, and say what to do.

    Checks the plugins (conflicts, missing dependencies, what importing each costs), the configuration, every configured resource by a
    live probe, and whether database servers take the connections of all processes. Exit code 1 when something is wrong; warnings alone
    give 0.
    """
    findings = list(_findings(session, timeout, processes))
    if session.json:
        session.answer({"findings": findings, "errors": sum(found.level == "error" for found in findings)})
    else:
        _print(findings)
    return PROBLEM if any(found.level == "error" for found in findings) else OK


def _findings(session: Session, timeout: float, processes: int) -> Iterator[Finding]:
    try:
        catalog = session.kernel.catalog
    except ConfigurationError as error:
        yield Finding("configuration", "error", "settings", error.message, error.remedy)
        yield from _plugins(discover())
        return
    yield from _plugins(catalog)
    yield from _providers(catalog)
    yield from _configuration(session)
    yield from _resources(session, timeout, processes)


def _plugins(catalog: Catalog) -> Iterator[Finding]:
    if not catalog.plugins:
        yield Finding("plugins", "warning", "plugins", "none is installed", "pip install infra-local for providers that need no server")
    for plugin in catalog.plugins:
        for outcome in plugin.outcomes:
            if not outcome.ok:
                level = "warning" if outcome.code == str(ProviderState.DISABLED) else "error"
                yield Finding("plugins", level, plugin.title, outcome.message, outcome.remedy)
        if plugin.state is ProviderState.AVAILABLE and plugin.module:
            yield from _requirements(plugin)
            yield _import(catalog, plugin)


def _import(catalog: Catalog, plugin: Plugin) -> Finding:
    """What importing a plugin costs; every command of every host pays it."""
    command = [sys.executable, "-c", _MEASURE, plugin.module]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)  # noqa: S603
    except (subprocess.SubprocessError, OSError) as error:
        return Finding("plugins", "error", plugin.title, f"importing it alone failed: {type(error).__name__}", "report it to its author")
    took, brought = cast("tuple[float, list[str]]", json.loads(done.stdout.splitlines()[-1]))
    sdks = {module for found in catalog.providers if found.plugin is plugin for module in found.descriptor.modules}
    heavy = sorted(set(brought) & {*sdks, *_HEAVY})
    if heavy:
        message = f"its import pulls in {', '.join(heavy)} ({took * 1000:.0f} ms)"
        return Finding("plugins", "warning", plugin.title, message, "its author should import them in the driver only")
    if took > _SLOW:
        return Finding("plugins", "warning", plugin.title, f"its import takes {took * 1000:.0f} ms", "tell its author; every start pays it")
    return Finding("plugins", "ok", plugin.title, f"imports in {took * 1000:.1f} ms")


def _requirements(plugin: Plugin) -> Iterator[Finding]:
    """Requirements of a distribution that what is installed does not meet."""
    from importlib_metadata import PackageNotFoundError, requires, version

    try:
        from packaging.requirements import Requirement
    except ImportError:
        return  # without it versions cannot be compared; `pip check` can
    try:
        wanted = requires(plugin.distribution) or []
    except PackageNotFoundError:
        return  # given in code
    for text in wanted:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        remedy = f'pip install "{requirement.name}{requirement.specifier}"'
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            yield Finding("plugins", "error", plugin.title, f"it requires {requirement.name}, which is not installed", remedy)
            continue
        if not requirement.specifier.contains(found, prereleases=True):
            message = f"it requires {requirement.name}{requirement.specifier}, and {found} is installed"
            yield Finding("plugins", "error", plugin.title, message, remedy)


def _providers(catalog: Catalog) -> Iterator[Finding]:
    for found in catalog.providers:
        failed = next((outcome for outcome in found.outcomes if not outcome.ok), None)
        if failed is not None:
            level = "warning" if found.state is ProviderState.MISSING_DEPENDENCY else "error"
            yield Finding("providers", level, f"{found.capability}.{found.name} ({found.plugin.title})", failed.message, failed.remedy)
    available = sum(found.available for found in catalog.providers)
    yield Finding("providers", "ok", count(available, "provider"), "available")


def _configuration(session: Session) -> Iterator[Finding]:
    kernel = session.kernel
    problems = kernel.problems()
    for problem in problems:
        source = f" ({problem.origin})" if problem.origin else ""
        yield Finding("configuration", "error", problem.subject, session.redact(problem.message + source), problem.remedy)
    for warning in kernel.configuration.warnings:
        source = f" ({warning.origin})" if warning.origin else ""
        yield Finding("configuration", "warning", warning.subject, session.redact(warning.message + source), warning.remedy)
    if not problems:
        number = len(kernel.explicit_resources())
        yield Finding("configuration", "ok", kernel.environment, f"{count(number, 'configured resource')}, all settings valid")


def _resources(session: Session, timeout: float, processes: int) -> Iterator[Finding]:
    kernel = session.kernel
    names = [name for name in kernel.explicit_resources() if kernel.validated(name).settings is not None]
    if not names:
        return

    async def look(services: AsyncInfra) -> tuple[HealthReport, dict[str, int]]:
        report = await probe(services, names, timeout, extra=True)
        up = [name for name in names if name.startswith("database.") and report.checks[name].status is Status.UP]
        return report, {name: limit for name in up if (limit := await _limit(services, name, timeout))}

    report, limits = session.run(look)
    for name, health in report.checks.items():
        took = f"{health.status} after {health.duration * 1000:.1f} ms"
        if health.status is Status.UP:
            yield Finding("resources", "ok", name, took)
        else:
            message = health.message or "it did not answer"
            level = "error" if health.status is Status.DOWN else "warning"
            yield Finding("resources", level, name, f"{took}: {message}", health.remedy)
    yield from _connections(session, limits, processes)


async def _limit(services: AsyncInfra, name: str, timeout: float) -> int | None:
    """The most connections that a database's server takes; None when it does not say."""
    try:
        async with asyncio.timeout(timeout):
            stats = await services.database(name.partition(".")[2]).stats()
    except (InfraError, TimeoutError):
        return None
    limit = stats.server.get("max_connections")
    return limit if isinstance(limit, int) else None


def _connections(session: Session, limits: dict[str, int], processes: int) -> Iterator[Finding]:
    """Whether each server takes what the pools of all processes may open together."""
    servers: dict[str, dict[str, int]] = {}
    for name in limits:
        settings: Any = session.kernel.validated(name).settings
        servers.setdefault(settings.place() or name, {})[name] = settings.pool_size + settings.max_overflow
    for place, pools in servers.items():
        most, limit = sum(pools.values()), min(limits[name] for name in pools)
        message = (
            f"{processes:,} process{'es' if processes > 1 else ''} with up to {most:,} connections each; {place} takes {limit:,} in all"
        )
        if processes * most <= limit:
            yield Finding("resources", "ok", ", ".join(pools), message)
        else:
            remedy = "lower `pool_size` and `max_overflow`, run fewer processes, or raise the server's max_connections"
            yield Finding("resources", "warning", ", ".join(pools), message, remedy)


def _print(findings: list[Finding]) -> None:
    areas: dict[str, list[Finding]] = {}
    for found in findings:
        areas.setdefault(found.area, []).append(found)
    for area, group in areas.items():
        click.secho(area, bold=True)
        for found in group:
            sign: Any = click.style("!", fg="yellow") if found.level == "warning" else mark(found.level == "ok")
            paragraph(f"  {sign} ", f"{found.subject}: {found.message}", 4)
            if found.remedy:
                paragraph("    → ", found.remedy, 6)
    errors = sum(found.level == "error" for found in findings)
    warnings = sum(found.level == "warning" for found in findings)
    click.echo()
    verdict = f"{count(errors, 'problem')}" if errors else "nothing is wrong"
    click.echo(f"{mark(not errors)} {verdict}" + (f", {count(warnings, 'warning')}" if warnings else ""))
