"""``infra config``: what is set and where, whether it is right, and what can be set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from infra.cli.complete import providers as provider_names
from infra.cli.complete import resources
from infra.cli.output import count, mark, paragraph, table
from infra.cli.session import CONFIGURATION, OK, Session, common
from infra.cli.template import schema_of, template_of, whole_schema
from infra.errors import ConfigurationError, nearest
from infra.kernel.capabilities import KNOWN_PROVIDERS

if TYPE_CHECKING:
    from infra.kernel.discovery import FoundProvider


@click.group()
def config() -> None:
    """Show, check and write settings."""


@config.command()
@click.argument("name", metavar="[RESOURCE]", required=False, shell_complete=resources)
@click.option("--defaults", is_flag=True, help="Also the settings that nothing sets, with their defaults.")
@common
@click.pass_obj
def show(session: Session, name: str | None, defaults: bool) -> int:
    """Every setting with its value and origin; secrets are masked."""
    from infra.kernel.explain import shown

    kernel = session.kernel
    names = [name if "." in name else f"{name}.main"] if name else list(kernel.configuration.resources)
    values = {wanted: shown(kernel, wanted, with_defaults=defaults) for wanted in names}
    if name is None:
        values = {"infra": _kernel_values(session)} | values
    if session.json:
        session.answer(values)
        return OK
    for number, (wanted, found) in enumerate(values.items()):
        if number:
            click.echo()
        used = kernel.configuration.resources.get(wanted)
        provider = f"  provider {used.provider.name}" if used is not None and used.provider is not None else ""
        click.echo(click.style(f"[{wanted}]", bold=True) + click.style(provider, dim=True))
        if found:
            table(["SETTING", "VALUE", "ORIGIN"], [[value.name, value.value, value.origin] for value in found], indent="  ")
        else:
            click.echo("  nothing is set: every setting has its default (--defaults shows them)")
    return OK


def _kernel_values(session: Session) -> list[Any]:
    """What is set of ``[infra]``, of the feature flags and of the host's sections."""
    from infra.kernel.explain import ShownValue
    from infra.kernel.secrets import MASK

    kernel = session.kernel
    found: dict[str, ShownValue] = {}
    for layer in kernel.configuration.layers:
        for key, value in layer.values.items():
            section = key[0] in kernel.sections
            if key[0] not in ("infra", "features") and not section:
                continue
            name = ".".join(key[1:] if key[0] == "infra" else key)
            secret = session.is_secret(key[-1])
            found.setdefault(name, ShownValue(name, MASK if secret else session.redact(str(value.content)), str(value.origin), secret))
    return list(found.values())


@config.command()
@common
@click.pass_obj
def check(session: Session) -> int:
    """Whether every setting of every resource is right. Opens nothing."""
    kernel = session.kernel
    status = kernel.validate_environment()
    if session.json:
        session.answer(status)
        return OK if status.is_valid else CONFIGURATION
    for error in status.errors:
        paragraph(f"{mark(False)} ", error, 2)
    for warning in status.warnings:
        paragraph(click.style("! ", fg="yellow"), warning, 2)
    if status.is_valid:
        click.echo(f"{mark(True)} {count(len(kernel.explicit_resources()), 'configured resource')}, all valid")
        return OK
    click.echo(f"\n{count(len(status.errors), 'problem')}; nothing was opened")
    return CONFIGURATION


@config.command()
@click.argument("provider", required=False, shell_complete=provider_names)
@common
@click.pass_obj
def schema(session: Session, provider: str | None) -> int:
    """JSON schema of a provider's settings, or of all of infra.toml.

    PROVIDER is a name such as postgres, or cache.redis where several capabilities have one of that name.
    """
    if provider is None:
        session.answer(whole_schema(session.kernel))
        return OK
    found = _find(session, provider)
    schemas = {f"{one.capability}.{one.name}": schema_of(one) for one in found}
    session.answer(next(iter(schemas.values())) if len(schemas) == 1 else schemas)
    return OK


@config.command()
@click.argument("provider", shell_complete=provider_names)
@click.option("--name", default="main", show_default=True, help="The resource's name.")
@common
@click.pass_obj
def template(session: Session, provider: str, name: str) -> int:
    """A commented section for infra.toml with every setting, its default and its meaning.

    PROVIDER is a name such as postgres, or cache.redis where several capabilities have one of that name.
    """
    texts = {f"{found.capability}.{found.name}": template_of(found, name) for found in _find(session, provider)}
    if session.json:
        session.answer({"templates": texts})
    else:
        click.echo("\n".join(texts.values()), nl=False)
    return OK


def _find(session: Session, wanted: str) -> list[FoundProvider]:
    """The providers of that name, which can be qualified by the capability."""
    capability, _, name = wanted.rpartition(".")
    catalog = session.kernel.catalog
    found = [one for one in catalog.providers if one.name == name and capability in ("", one.capability)]
    if found:
        return [one for one in found if one.available] or found
    package = next((known[2] for known in KNOWN_PROVIDERS if known[1] == name and capability in ("", known[0])), None)
    near = nearest(name, {one.name for one in catalog.providers})
    remedy = f"did you mean {near}?" if near else "`infra providers` lists what is installed"
    raise ConfigurationError(f"no installed plugin has a provider {wanted}", remedy=f"pip install {package}" if package else remedy)
