"""``infra explain``: every decision about a resource, and every setting with its origin."""

from __future__ import annotations

import click

from infra.cli.complete import resources
from infra.cli.output import mark, paint, paragraph, table
from infra.cli.session import CONFIGURATION, OK, Session, common
from infra.kernel.explain import Explanation
from infra.kernel.explain import explain as explain_resource


@click.command()
@click.argument("names", metavar="[RESOURCE]...", nargs=-1, shell_complete=resources)
@common
@click.pass_obj
def explain(session: Session, names: tuple[str, ...]) -> int:
    """Why a resource is, or is not, active, and where each setting comes from.

    RESOURCE is a full name such as database.garmin; without a name all are explained. Nothing is opened.
    """
    kernel = session.kernel
    wanted = [name if "." in name else f"{name}.main" for name in names] or list(kernel.configuration.resources)
    found = [explain_resource(kernel, name) for name in wanted]
    if session.json:
        session.answer(found[0] if len(names) == 1 else found)
    else:
        for number, explanation in enumerate(found):
            if number:
                click.echo()
            _print(explanation)
        if not found:
            click.echo("No resource is configured and no embedded provider is installed: `infra doctor` says what to do.")
    return CONFIGURATION if any(explanation.problems for explanation in found) else OK


def _print(explanation: Explanation) -> None:
    click.echo(f"{click.style(explanation.resource, bold=True)}  {paint(explanation.state)}")
    said: set[str] = set()
    for outcome in explanation.outcomes:
        remedy = f"; {outcome.remedy}" if outcome.remedy else ""
        said.add(outcome.message)
        paragraph(f"  {mark(outcome.ok)} ", outcome.message + remedy, 4)
    for problem in explanation.problems:
        if problem.removeprefix(f"{explanation.resource}: ") not in said:
            paragraph(f"  {mark(False)} ", problem, 4)
    if explanation.values:
        table(
            ["SETTING", "VALUE", "ORIGIN"], [[value.name, value.value, f"({value.origin})"] for value in explanation.values], indent="    "
        )
