"""``infra health``: a sign of life from every configured resource."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from infra.cli.complete import resources
from infra.cli.output import duration, paint, table
from infra.cli.session import OK, PROBLEM, Session, common
from infra.errors import InfraError
from infra.kernel.health import HealthCheck, HealthReport, failed_check, summarize
from infra.kernel.opening import no_answer
from infra.resource.model import Health, Status

if TYPE_CHECKING:
    from infra import AsyncInfra


@click.command()
@click.argument("name", metavar="[RESOURCE]", required=False, shell_complete=resources)
@click.option("--timeout", type=click.FloatRange(min=0.1), default=5.0, show_default=True, help="Seconds for each check.")
@common
@click.pass_obj
def health(session: Session, name: str | None, timeout: float) -> int:
    """Ask every configured resource, or one, for a sign of life.

    Opens them for that; asks nothing that costs money. Exit code 1 when something required is down.
    """
    kernel = session.kernel
    names = [name if "." in name else f"{name}.main"] if name else kernel.explicit_resources()
    for wanted in names:
        kernel.resource(wanted)
    report = session.run(lambda services: probe(services, names, timeout, extra=name is None))
    if session.json:
        session.answer(report)
    elif not report.checks:
        click.echo("Nothing is configured: `infra providers` lists what is installed, `infra config template PROVIDER` shows how to.")
    else:
        show(report)
    return OK if report.status in (Status.UP, Status.DEGRADED) else PROBLEM


def show(report: HealthReport) -> None:
    """Print a report: a line for each check, then the whole."""
    rows = [
        [check, str(found.status), duration(found.duration), "; ".join(text for text in (found.message, found.remedy) if text)]
        for check, found in report.checks.items()
    ]
    table(["RESOURCE", "STATUS", "TOOK", "MESSAGE"], rows)
    click.echo(f"\n{paint(str(report.status))}{'' if report.ready else ', not ready'}")


async def probe(services: AsyncInfra, names: list[str], timeout: float, extra: bool = False) -> HealthReport:
    """The health of `names`, each opened for it; what does not open is down. With `extra`, plugins' own checks too."""
    kernel = services.kernel
    checks = dict(zip(names, await asyncio.gather(*(_one(services, name, timeout) for name in names)), strict=True))
    required = {name for name in names if (settings := kernel.validated(name).settings) is None or settings.required}
    if extra:
        for _, found in kernel.catalog.collect("infra_health_checks", kind=HealthCheck):
            for check in found:
                checks[check.name] = await _extra(check.check, check.timeout)
                if check.required:
                    required.add(check.name)
    return summarize(checks, required, serving=True)


async def _one(services: AsyncInfra, name: str, timeout: float) -> Health:
    loop = asyncio.get_running_loop()
    started = loop.time()
    try:
        async with asyncio.timeout(timeout):
            resource = await services.open(name)
            found: Health = await resource.health(timeout)
            return found
    except InfraError as error:
        return _down(services, error, loop.time() - started)
    except TimeoutError:
        return _down(services, no_answer(services.kernel, name, timeout), loop.time() - started)


def _down(services: AsyncInfra, error: InfraError, took: float) -> Health:
    redact = services.kernel.redactor
    return Health(Status.DOWN, took, str(error.code), redact(error.message), remedy=error.remedy and redact(error.remedy))


async def _extra(check: object, timeout: float) -> Health:
    from infra.runtime.aio import call, within

    loop = asyncio.get_running_loop()
    started = loop.time()
    try:
        found = await within(timeout, call, check)  # type: ignore[arg-type]
    except TimeoutError:
        return Health(Status.DOWN, loop.time() - started, "TIMEOUT", f"the check took longer than {timeout:g} s")
    except (Exception, SystemExit) as error:
        return failed_check(error)
    return found if isinstance(found, Health) else failed_check(found)
