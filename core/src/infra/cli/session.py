"""One run of the program: its options, its kernel, and how it answers."""

from __future__ import annotations

import gc
import os
import re
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from infra.errors import InfraError

if TYPE_CHECKING:
    from infra import AsyncInfra
    from infra.kernel.core import Kernel

T = TypeVar("T")
FunctionT = TypeVar("FunctionT", bound="Callable[..., Any]")

OK: Final = 0
PROBLEM: Final = 1
USAGE: Final = 2
CONFIGURATION: Final = 3
INTERRUPTED: Final = 130

_SECRET_WORDS: Final = ("pass", "secret", "token", "key", "credential")
_CREDENTIALS: Final = r"(?<=://)(?!user:password@)[^/@\s:]*:[^/@\s]*(?=@)"  # the remedies show how to write a URL


class Session:
    """What every command is given.

    Attributes:
        json: Whether to answer in JSON.
        debug: Whether to show tracebacks.
        resume: What to say when Ctrl-C ends the command.
    """

    def __init__(self) -> None:
        self.root = Path.cwd()
        self.json = False
        self.debug = False
        self.resume: str | None = None
        self._settings: Mapping[str, Any] | None = None
        self._kernel: Kernel | None = None

    def use_root(self, root: Path) -> None:
        """Work on another project folder.

        Raises:
            click.UsageError: There is no such folder.
        """
        if not root.is_dir():
            raise click.BadParameter(f"there is no folder {root}", param_hint="--root")
        self.root, self._kernel = root, None

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Give the kernel settings above every other layer; before its first use."""
        self._settings, self._kernel = settings, None

    @property
    def kernel(self) -> Kernel:
        """The kernel of the project folder; made on first use, opens nothing.

        Raises:
            ConfigurationError: A file of the configuration cannot be read.
        """
        if self._kernel is None:
            from infra.kernel.core import Kernel

            self._kernel = Kernel(self._settings, root=self.root)
            if self._kernel.own.sections and str(self.root) not in sys.path:
                sys.path.insert(0, str(self.root))  # the host's modules, as for `infra worker`
            gc.enable()
        return self._kernel

    def run(self, work: Callable[[AsyncInfra], Awaitable[T]]) -> T:
        """Do `work` with a door to the kernel that has opened nothing yet, and close what it opened."""
        import asyncio

        from infra import AsyncInfra

        async def within_door() -> T:
            if not self.debug:  # after Ctrl-C a loop may find callbacks without use, and show their tracebacks
                asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
            services = AsyncInfra(kernel=self.kernel)
            try:
                return await work(services)
            finally:
                await services.close()

        return asyncio.run(within_door())

    def use(self, full_name: str, work: Callable[[Any], Awaitable[T]]) -> T:
        """Do `work` with one resource, opened for it. Tells the person when it lives in this process only, and so is empty."""

        async def opened(services: AsyncInfra) -> T:
            resource = await services.open(full_name)
            if "shared" not in resource.features and not full_name.startswith("llm.") and not self.json:
                self.note(f"{full_name}: provider {resource.provider} keeps its data in each process; this one sees only its own")
            return await work(resource)

        return self.run(opened)

    def resource(self, capability: str, name: str) -> str:
        """The full name of a resource given as ``main`` or ``cache.main``."""
        return name if name.startswith(f"{capability}.") else f"{capability}.{name}"

    # Answers

    def answer(self, data: object) -> None:
        """Print the answer of a command with ``--json``."""
        click.echo(to_json(data))

    def note(self, text: str) -> None:
        """Tell the person at the terminal something that is not the answer."""
        click.secho(text, err=True, dim=True)

    def confirm(self, question: str, yes: bool) -> None:
        """Ask before what cannot be undone.

        Raises:
            click.UsageError: Nobody is there to answer, and --yes was not given.
            click.Abort: The answer was no.
        """
        if yes:
            return
        if not sys.stdin.isatty():
            raise click.UsageError("nobody is there to confirm it: add --yes")
        click.confirm(question, abort=True, err=True)

    def fail(self, message: str, command: str | None = None) -> None:
        """Say in one line why nothing came of it."""
        if self.json or "--json" in sys.argv:
            self.answer({"error": {"message": message}})
            return
        hint = f"\n  `{command} --help` shows how to use it" if command else ""
        click.echo(f"{click.style('infra:', fg='red')} {message}{hint}", err=True)

    def report(self, error: Exception) -> None:
        """Say in one line what went wrong; with --debug, where."""
        if self.debug:
            import traceback

            click.echo(self.redact("".join(traceback.format_exception(error))), err=True, nl=False)
        if isinstance(error, InfraError):
            if self.json:
                self.answer({"error": _redacted(error.to_dict(public=False), self.redact)})
            else:
                click.echo(f"{click.style('infra:', fg='red')} {self.redact(str(error))}", err=True)
            return
        text = " ".join(str(error).split())
        remedy = "" if self.debug else "; run it again with --debug for the traceback"
        self.fail(self.redact(f"unexpected {type(error).__name__}: {text or 'no message'}{remedy}"))

    def is_secret(self, name: str) -> bool:
        """Whether a setting's or variable's name says that its value is a secret."""
        return any(word in name.lower() for word in _SECRET_WORDS)

    def redact(self, text: str) -> str:
        """`text` without any secret that the configuration holds, validated or not."""
        if self._kernel is not None:
            redactor = self._kernel.redactor
            for layer in self._kernel.configuration.layers:
                for key, value in layer.values.items():
                    if self.is_secret(key[-1]) and not str(value.content).startswith(("env:", "file:")):
                        redactor.learn(str(value.content))
            text = redactor(text)
        for name, content in os.environ.items():
            if len(content) >= 8 and self.is_secret(name) and not Path(content).is_absolute():
                text = text.replace(content, "********")
        return re.sub(_CREDENTIALS, "********", text)

    def close(self) -> None:
        """Forget the kernel."""
        self._kernel = None


def common(function: FunctionT) -> FunctionT:
    """Give a command ``--json``, and let ``--root`` and ``--debug`` stand behind it too."""

    def set_json(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
        if value:
            ctx.ensure_object(Session).json = True

    def set_debug(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
        if value:
            ctx.ensure_object(Session).debug = True

    def set_root(ctx: click.Context, _parameter: click.Parameter, value: Path | None) -> None:
        if value is not None:
            ctx.ensure_object(Session).use_root(value)

    path = click.Path(path_type=Path)
    function = click.option("--root", type=path, callback=set_root, expose_value=False, is_eager=True, hidden=True)(function)
    function = click.option("--debug", is_flag=True, callback=set_debug, expose_value=False, is_eager=True, hidden=True)(function)
    return click.option("--json", is_flag=True, callback=set_json, expose_value=False, is_eager=True, help="Answer in JSON.")(function)


def to_json(data: object) -> str:
    """`data` as JSON text; dataclasses by their fields, anything else that JSON lacks as text."""
    import dataclasses
    import json

    def plain(value: object) -> object:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        if isinstance(value, set | frozenset | tuple):
            return sorted(value, key=str)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        return str(value)

    return json.dumps(data, default=plain, indent=2, ensure_ascii=False)


def _redacted(value: Any, redact: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: _redacted(item, redact) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType]
    return value
