"""The root command: loads each command on use, and turns every error into one line and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from infra.cli.session import CONFIGURATION, INTERRUPTED, OK, PROBLEM, USAGE, Session
from infra.errors import ConfigurationError, ErrorCode, InfraError, nearest

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

#: Command -> the module that holds it under the same name, and its help. A help text here spares importing the module to list it.
COMMANDS: Final = {
    "providers": ("providers", "What is installed, and which resources use it."),
    "explain": ("explain", "Why a resource is, or is not, active, and where each setting comes from."),
    "config": ("config", "Show, check and write settings."),
    "health": ("health", "Ask every configured resource for a sign of life."),
    "doctor": ("doctor", "Look for everything that is wrong, and say what to do."),
    "demo": ("demo", "The main job: summarise documents, on embedded providers unless configured."),
    "db": ("db", "Migrations and the state of databases."),
    "outbox": ("outbox", "Publish what committed transactions left in the outbox."),
    "worker": ("worker", "Consume a queue with a handler of yours."),
    "queue": ("queue", "Look into queues and their dead letters."),
    "storage": ("storage", "List, copy, delete and sign objects."),
    "cache": ("cache", "Read, write and clear a cache."),
    "llm": ("llm", "Ask language models."),
}

#: Modules that commands need beyond the base install, and the extra that brings them.
_EXTRAS: Final = {"sqlalchemy": "database", "alembic": "database", "rich": "rich"}

EPILOG: Final = """
Every command takes --json. Exit codes: 0 fine, 1 a problem was found, 2 wrong usage, 3 wrong configuration, 130 Ctrl-C.

Completion: eval "$(_INFRA_COMPLETE=bash_source infra)" (or zsh_source, fish_source).
"""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are run; plugins add further ones by the hook ``infra_commands``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names: the program's own in their order, then those of plugins."""
        return [*COMMANDS, *_plugin_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now."""
        if cmd_name in COMMANDS:
            return getattr(import_module(f"infra.cli.{COMMANDS[cmd_name][0]}"), cmd_name)
        found = _plugin_commands(ctx).get(cmd_name)
        return None if found is None else _load(cmd_name, *found)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """The command to run, or a usage error that names the nearest one."""
        name = args[0]
        if not name.startswith("-") and not ctx.resilient_parsing and self.get_command(ctx, name) is None:
            near = nearest(name, self.list_commands(ctx))
            raise click.UsageError(f"there is no command {name}" + (f"; did you mean {near}?" if near else ""), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])
        added = _plugin_commands(ctx)
        if added:
            with formatter.section("Commands of plugins"):
                formatter.write_dl([(name, f"from {title}") for name, (_, title) in added.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete command names without importing the commands."""
        from click.shell_completion import CompletionItem

        found = [CompletionItem(name, help=summary) for name, (_, summary) in COMMANDS.items() if name.startswith(incomplete)]
        found += [CompletionItem(name, help=title) for name, (_, title) in _plugin_commands(ctx).items() if name.startswith(incomplete)]
        return found + click.Command.shell_complete(self, ctx, incomplete)


def _plugin_commands(ctx: click.Context) -> dict[str, tuple[str, str]]:
    """Commands of plugins: name -> reference and the plugin's title. A reference is ``module:attribute`` or ``name=module:attribute``."""
    found: dict[str, tuple[str, str]] = {}
    try:
        collected = ctx.ensure_object(Session).kernel.catalog.collect("infra_commands", kind=str)
    except InfraError:
        return found  # a broken configuration must not hide the commands that help with it
    for plugin, references in collected:
        for reference in references:
            name, _, target = reference.rpartition("=")
            name = name or target.rpartition(":")[2].replace("_", "-")
            if name not in COMMANDS:
                found.setdefault(name, (target, plugin.title))
    return found


def _load(name: str, reference: str, title: str) -> click.Command:
    module, _, attribute = reference.partition(":")
    try:
        command = getattr(import_module(module), attribute)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise InfraError(
            f"the command {name} of {title} could not be loaded: {type(error).__name__}: {error}",
            remedy="run `infra doctor`, or tell its author",
        ) from error
    if not isinstance(command, click.Command):
        raise InfraError(f"{reference} of {title} is no click command", remedy="tell its author")
    return command


@click.group(cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.option("--root", type=click.Path(path_type=Path), metavar="DIR", help="The project folder, instead of the working directory.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error, secrets masked.")
@click.version_option(None, "--version", message="infra %(version)s", package_name="infra-kernel")
@click.pass_context
def program(ctx: click.Context, root: Path | None, debug: bool) -> None:
    """The infrastructure layer of this project: its providers, resources, settings and health."""
    session = ctx.ensure_object(Session)
    if root is not None:
        session.use_root(root)
    session.debug = session.debug or debug


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code."""
    session = Session()
    color = False if os.environ.get("NO_COLOR") else None
    try:
        code = program.main(arguments, prog_name="infra", standalone_mode=False, obj=session, color=color)
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return USAGE
    except click.UsageError as error:
        session.fail(error.format_message(), error.ctx.command_path if error.ctx is not None else "infra")
        return USAGE
    except click.ClickException as error:
        session.fail(error.format_message())
        return PROBLEM
    except click.Abort:
        session.fail(session.resume or "stopped")
        return INTERRUPTED
    except InfraError as error:
        session.report(error)
        if session.resume and not session.json:
            session.note(session.resume)
        return CONFIGURATION if error.code is ErrorCode.CONFIGURATION else PROBLEM
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            session.report(error)
            return PROBLEM
        remedy = f'pip install "infra-kernel[{extra}]"'
        session.report(ConfigurationError(f"module {error.name} is not installed, which this command needs", remedy=remedy))
        return CONFIGURATION
    except Exception as error:
        session.report(error)
        return PROBLEM
    finally:
        session.close()
    return code if isinstance(code, int) else OK
