"""Prompts: named, versioned texts with variables, in code or as files of a package.

A file stands in the package's ``prompts/`` folder as ``<name>.v<version>.md`` (``.txt`` too). It may begin with TOML between two lines of
``+++``: ``variables`` (list), ``sensitive`` (true or false), and the options ``task``, ``model``, ``temperature``, ``top_p``,
``max_output_tokens``, ``seed``, ``stop``, ``cache``, ``reasoning``. Its text is one user message, or several where a line holds only
``[system]``, ``[user]`` or ``[assistant]``.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import TYPE_CHECKING, Any, cast

from infra.errors import ConfigurationError, nearest
from infra.llm.errors import InvalidRequestError
from infra.llm.model import Message, Options, Role, Text
from infra.llm.templates import plain, render, variables_of

if TYPE_CHECKING:
    from pydantic import BaseModel

_FILE = re.compile(r"(?P<name>[A-Za-z0-9][\w-]*)\.v(?P<version>\d+(?:\.\d+)*)\.(?:md|txt)")
_HEADER = re.compile(r"\A\+\+\+[ \t]*\n(?P<header>.*?)^\+\+\+[ \t]*\n", re.DOTALL | re.MULTILINE)
_ROLE = re.compile(r"^\[(system|user|assistant)\][ \t]*\n", re.MULTILINE)
_OPTIONS = frozenset({"task", "model", "temperature", "top_p", "max_output_tokens", "seed", "stop", "cache", "reasoning"})
_FIELDS = _OPTIONS | {"variables", "sensitive"}


@dataclass(frozen=True, slots=True)
class Prompt:
    """A named text with variables. Give `template` or `messages`.

    Args:
        name: Names it in logs; it is also the task, unless `options` names one.
        version: Which edition of it.
        template: The text of one user message, with ``{{ name }}`` for variables.
        messages: A conversation whose texts are templates.
        variables: The names it takes; those of its templates when not given. All must be in the context; others there are not looked at.
        output: The form of the answer: a pydantic model class or a JSON schema.
        sensitive: True keeps prompt and answer out of caches and logs.
        options: How to answer, below what a call says.
    """

    name: str
    version: str = "1"
    template: str | None = None
    messages: Sequence[Message] | None = None
    variables: tuple[str, ...] = ()
    output: type[BaseModel] | Mapping[str, Any] | None = None
    sensitive: bool = False
    options: Options | None = None

    def __post_init__(self) -> None:
        if (self.template is None) == (self.messages is None):
            raise InvalidRequestError(f"prompt {self.name} needs either a template or messages")
        texts = [self.template] if self.template is not None else [message.text for message in self.messages or ()]
        used = tuple(dict.fromkeys(name for text in texts for name in variables_of(text)))
        if self.variables and (undeclared := [name for name in used if name not in self.variables]):
            raise InvalidRequestError(f"prompt {self.name} uses {', '.join(undeclared)}, not among its variables")
        object.__setattr__(self, "variables", tuple(self.variables) or used)

    def render(self, context: Mapping[str, Any]) -> tuple[Message, ...]:
        """Its messages with the values of `context`.

        Raises:
            InvalidRequestError: A variable is missing, None or not JSON.
        """
        try:
            if self.template is not None:
                return (Message(Role.USER, render(self.template, context)),)
            return tuple(
                Message(
                    message.role,
                    tuple(Text(render(part.text, context)) if isinstance(part, Text) else part for part in message.parts),
                    message.name,
                )
                for message in self.messages or ()
            )
        except InvalidRequestError as error:
            raise InvalidRequestError(f"prompt {self.name} (version {self.version}): {error.message}", remedy=error.remedy) from None

    def values(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """The values of its variables, in JSON's terms.

        Raises:
            InvalidRequestError: One is missing.
        """
        missing = [name for name in self.variables if name not in context]
        if missing:
            hints = [f"{name} (did you mean {like}?)" if (like := nearest(name, set(context))) else name for name in missing]
            raise InvalidRequestError(
                f"prompt {self.name} (version {self.version}) lacks {', '.join(hints)}", remedy="give them in the prompt's context"
            )
        return {name: plain(name, context[name]) for name in self.variables}

    def asked(self, options: Options | None) -> Options:
        """The options of a call, over those of the prompt."""
        own = replace(self.options or Options(), output=self.output, sensitive=self.sensitive or None)
        if own.task is None:
            own = replace(own, task=self.name)
        asked = (options or Options()).over(own)
        # A prompt that is sensitive stays so, whatever a call says.
        return replace(asked, sensitive=True) if self.sensitive and not asked.sensitive else asked


class PromptLibrary(Mapping[str, Prompt]):
    """The prompts of a package's ``prompts/`` folder, read once; indexed by name, which gives the newest version.

    Args:
        package: The package's import name.

    Raises:
        ConfigurationError: There is no such folder, or a file in it is not valid.
    """

    def __init__(self, package: str) -> None:
        self.package = package
        self._versions: dict[str, dict[str, Prompt]] = {}
        try:
            entries = sorted((files(package) / "prompts").iterdir(), key=lambda entry: entry.name)
        except (ModuleNotFoundError, FileNotFoundError, NotADirectoryError) as error:
            raise ConfigurationError(
                f"package {package} has no folder prompts", remedy="make it, with files such as summary.v1.md"
            ) from error
        for entry in entries:
            if match := _FILE.fullmatch(entry.name):
                prompt = parse(match["name"], match["version"], entry.read_text(encoding="utf-8"), f"{package}/prompts/{entry.name}")
                if match["version"] in self._versions.setdefault(prompt.name, {}):
                    raise ConfigurationError(f"{package}/prompts has version {prompt.version} of {prompt.name} twice", remedy="remove one")
                self._versions[prompt.name][prompt.version] = prompt

    def get_version(self, name: str, version: str | None = None) -> Prompt:
        """A prompt by name and version; the newest version when none is given.

        Raises:
            ConfigurationError: There is none; the message names the nearest.
        """
        versions = self._versions.get(name)
        if versions is None:
            like = nearest(name, set(self._versions))
            remedy = f"did you mean {like}?" if like else f"it has: {', '.join(sorted(self._versions)) or 'none'}"
            raise ConfigurationError(f"{self.package}/prompts has no prompt {name}", remedy=remedy)
        if version is None:
            return versions[max(versions, key=lambda each: tuple(map(int, each.split("."))))]
        if version not in versions:
            raise ConfigurationError(f"prompt {name} has no version {version}", remedy=f"it has: {', '.join(sorted(versions))}")
        return versions[version]

    def __getitem__(self, name: str) -> Prompt:
        if name not in self._versions:
            raise KeyError(name)
        return self.get_version(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._versions)

    def __len__(self) -> int:
        return len(self._versions)


def load_prompt(package: str, name: str, version: str | None = None) -> Prompt:
    """One prompt of a package's ``prompts/`` folder; its newest version when none is given.

    Raises:
        ConfigurationError: There is none, or a file is not valid.
    """
    return PromptLibrary(package).get_version(name, version)


def parse(name: str, version: str, text: str, place: str) -> Prompt:
    """The prompt that a file holds.

    Raises:
        ConfigurationError: Header or template are not valid; the message names `place`.
    """
    header: dict[str, Any] = {}
    if match := _HEADER.match(text):
        try:
            header = tomllib.loads(match["header"])
        except tomllib.TOMLDecodeError as error:
            raise ConfigurationError(f"{place}: its header is not TOML: {error}") from None
        text = text[match.end() :]
    for unknown in header.keys() - _FIELDS:
        like = nearest(unknown, _FIELDS)
        raise ConfigurationError(f"{place}: {unknown} is not a field", remedy=f"did you mean {like}?" if like else None)
    said = {option: header[option] for option in _OPTIONS if option in header}
    fields: dict[str, Any] = {
        "variables": tuple(cast("list[str]", header.get("variables", ()))),
        "sensitive": bool(header.get("sensitive", False)),
        "options": Options(**said) if said else None,
    }
    pieces = _ROLE.split(text)
    if len(pieces) > 1:
        if pieces[0].strip():
            raise ConfigurationError(f"{place}: text stands before the first role", remedy="begin with [system] or [user]")
        fields["messages"] = tuple(Message(role, words.strip()) for role, words in zip(pieces[1::2], pieces[2::2], strict=True))
    else:
        fields["template"] = text.strip()
    try:
        return Prompt(name, version, **fields)
    except InvalidRequestError as error:
        raise ConfigurationError(f"{place}: {error.message}", remedy=error.remedy) from None
