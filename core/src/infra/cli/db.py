"""``infra db``: migrations and the state of databases, one of them or all."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from infra.cli.complete import resources_of
from infra.cli.output import count, mark, paragraph, table
from infra.cli.session import OK, PROBLEM, Session, common
from infra.errors import ConfigurationError

if TYPE_CHECKING:
    from infra.database import Database
    from infra.database.migrations import Check, Current, Source

T = TypeVar("T")
FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


def _where(function: FunctionT) -> FunctionT:
    """Give a command the options that say which databases it is for."""
    names = resources_of("database")
    function = click.option("--all", "every", is_flag=True, help="Every configured database.")(function)
    return click.option(
        "--database", "names", multiple=True, default=["main"], show_default="main", shell_complete=names, help="Which; several are fine."
    )(function)


def _migrations(function: FunctionT) -> FunctionT:
    """The same, and where the migrations are."""
    directory = click.Path(path_type=Path)
    function = click.option("--directory", type=directory, help="The folder of migrations.  [default: migrations]")(function)
    return _where(function)


_drop = click.option("--allow-drop", is_flag=True, help="Also what can lose rows, columns or values.")


@click.group()
def db() -> None:
    """Migrations and the state of databases."""


def _each(session: Session, names: tuple[str, ...], every: bool, work: Callable[[Database], T]) -> dict[str, T]:
    """`work` for each of the databases, opened for it; by full name."""
    from infra import Infra

    configured = [name for name in session.kernel.explicit_resources() if name.startswith("database.")]
    if every and not configured:
        raise ConfigurationError("no database is configured", remedy="set DATABASE_URL, or add [database.main] to infra.toml")
    wanted = configured if every else [session.resource("database", name) for name in names]
    found: dict[str, T] = {}
    services = Infra(kernel=session.kernel)
    try:
        for name in wanted:
            found[name] = work(services.open(name))
    finally:
        services.close()
    return found


def _source(session: Session, directory: Path | None) -> Source:
    """Where the host's migrations and models are; its modules can be imported from the project folder."""
    from infra.database.migrations import Source

    if str(session.root) not in sys.path:
        sys.path.insert(0, str(session.root))
    kernel = session.kernel
    models = [reference for _, found in kernel.catalog.collect("infra_database_models", kind=str) for reference in found]
    packages = kernel.own.modules
    return Source(directory=directory or session.root / "migrations", models=models, packages=packages)


@db.command()
@click.option("-m", "--message", required=True, help="What the revision does; it becomes part of its name.")
@click.option("--empty", is_flag=True, help="Write an empty one, instead of the differences between models and schema.")
@_migrations
@common
@click.pass_obj
def revision(session: Session, message: str, empty: bool, names: tuple[str, ...], every: bool, directory: Path | None) -> int:
    """Write the next revision, from the differences between the models and the schema. Read it before you apply it."""
    from infra.database import migrations

    source = _source(session, directory)
    written = _each(session, names, every, lambda one: migrations.revision(one, message, not empty, source=source))
    if session.json:
        session.answer(written)
        return OK
    for name, path in written.items():
        click.echo(f"{name}: {f'wrote {path}' if path else 'models and schema agree, nothing to write'}")
    return OK


@db.command()
@click.argument("target", default="head")
@_drop
@_migrations
@common
@click.pass_obj
def upgrade(session: Session, target: str, allow_drop: bool, names: tuple[str, ...], every: bool, directory: Path | None) -> int:
    """Apply the revisions up to TARGET, the newest when not given. Of several who do this at once, one applies them, the others wait."""
    from infra.database import migrations

    source = _source(session, directory)
    _say_applied(session, "applied", _each(session, names, every, lambda one: migrations.upgrade(one, target, allow_drop, source=source)))
    return OK


@db.command()
@click.argument("target", default="-1")
@_drop
@_migrations
@common
@click.pass_obj
def downgrade(session: Session, target: str, allow_drop: bool, names: tuple[str, ...], every: bool, directory: Path | None) -> int:
    """Take revisions back, the newest first, down to TARGET: the last one when not given, "base" for all."""
    from infra.database import migrations

    source = _source(session, directory)
    _say_applied(
        session, "taken back", _each(session, names, every, lambda one: migrations.downgrade(one, target, allow_drop, source=source))
    )
    return OK


def _say_applied(session: Session, verb: str, done: dict[str, tuple[str, ...]]) -> None:
    if session.json:
        session.answer({name: list(revisions) for name, revisions in done.items()})
        return
    for name, revisions in done.items():
        click.echo(f"{name}: {count(len(revisions), 'revision')} {verb}{': ' if revisions else ''}{', '.join(revisions)}")


@db.command()
@_migrations
@common
@click.pass_obj
def current(session: Session, names: tuple[str, ...], every: bool, directory: Path | None) -> int:
    """Which revision each database has, and how many wait to be applied."""
    from infra.database import migrations

    source = _source(session, directory)
    found: dict[str, Current] = _each(session, names, every, lambda one: migrations.current(one, source=source))
    if session.json:
        session.answer({name: _listed(one) for name, one in found.items()})
        return OK
    rows = [
        [name, ", ".join(one.revisions) or "none", ", ".join(one.heads) or "none", ", ".join(one.pending) or "-"]
        for name, one in found.items()
    ]
    table(["DATABASE", "REVISION", "NEWEST", "TO APPLY"], rows)
    return OK


def _listed(one: Current) -> dict[str, list[str]]:
    return {"revisions": list(one.revisions), "heads": list(one.heads), "pending": list(one.pending)}


@db.command()
@_migrations
@common
@click.pass_obj
def check(session: Session, names: tuple[str, ...], every: bool, directory: Path | None) -> int:
    """Whether models, migrations and schema fit each other. Changes nothing; exit code 1 when they do not."""
    from infra.database import migrations

    source = _source(session, directory)
    found: dict[str, Check] = _each(session, names, every, lambda one: migrations.check(one, source=source))
    fine = all(one.ok for one in found.values())
    if session.json:
        problems = {
            name: [{"finding": problem.finding, "message": problem.message, "remedy": problem.remedy} for problem in one.problems]
            for name, one in found.items()
        }
        session.answer({"ok": fine, "problems": problems, "not_compared": {name: list(one.not_compared) for name, one in found.items()}})
        return OK if fine else PROBLEM
    for name, one in found.items():
        click.echo(f"{mark(one.ok)} {name}{': models, migrations and schema fit each other' if one.ok else ''}")
        for problem in one.problems:
            paragraph("    ", f"{problem.message}; {problem.remedy}", 6)
        if one.not_compared:
            paragraph("    ", f"not compared: {'; '.join(one.not_compared)}", 6)
    return OK if fine else PROBLEM


@db.command()
@_where
@common
@click.pass_obj
def stats(session: Session, names: tuple[str, ...], every: bool) -> int:
    """The server, its version, and the connections of this process and of the server."""
    found = _each(session, names, every, lambda one: {"info": one.info(), "stats": one.stats()})
    if session.json:
        session.answer(found)
        return OK
    for number, (name, facts) in enumerate(found.items()):
        if number:
            click.echo()
        click.secho(name, bold=True)
        table(["FACT", "VALUE"], [[key, value] for key, value in _facts(facts)], indent="  ")
    return OK


def _facts(facts: dict[str, Any]) -> list[tuple[str, str]]:
    import dataclasses

    found: list[tuple[str, str]] = []
    for part in facts.values():
        for field in dataclasses.fields(part):
            value = getattr(part, field.name)
            if dataclasses.is_dataclass(value) and not isinstance(value, type):
                value = ", ".join(f"{inner.name} {getattr(value, inner.name)}" for inner in dataclasses.fields(value))
            elif isinstance(value, frozenset):
                value = ", ".join(sorted(map(str, value)))  # pyright: ignore[reportUnknownArgumentType]
            elif isinstance(value, dict):
                value = ", ".join(f"{key} {item}" for key, item in value.items())  # pyright: ignore[reportUnknownVariableType]
            if value not in (None, ""):
                found.append((field.name.replace("_", " "), str(value)))  # pyright: ignore[reportUnknownArgumentType]
    return found
