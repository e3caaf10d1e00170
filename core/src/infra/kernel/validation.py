"""From configured values to typed settings. The first module of the kernel that imports pydantic."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast, get_args

from pydantic import ValidationError

from infra.errors import nearest
from infra.kernel.configuration import Part, ResourceConfig
from infra.kernel.layers import Key, Origin, Value, nest
from infra.kernel.problems import Problem
from infra.kernel.secrets import Redactor, Resolver, Secret, SecretUnavailableError
from infra.kernel.settings import LayeredSettings, ProviderSettings

SettingsT = TypeVar("SettingsT", bound=LayeredSettings)


@dataclass(frozen=True, slots=True)
class Validated(Generic[SettingsT]):
    """Settings with the origin of each value.

    Args:
        settings: The model; None when there are problems.
        values: The configured values that were used, by key; a field without one has its default.
        skipped: Soft values and defaults that the class does not have.
        problems: All that is wrong.
    """

    settings: SettingsT | None
    values: dict[Key, Value]
    skipped: dict[Key, Value] = field(default_factory=dict[Key, Value])
    problems: list[Problem] = field(default_factory=list[Problem])


def mentions_secret(annotation: Any) -> bool:
    """Whether a field's type is, or holds, a Secret."""
    return annotation is Secret or any(mentions_secret(argument) for argument in get_args(annotation))


class Validator:
    """Validates the resources and sections of one kernel, and binds their secrets to it."""

    def __init__(self, redactor: Redactor, resolver: Resolver | None) -> None:
        self._redactor = redactor
        self._resolver = resolver

    def resource(self, config: ResourceConfig, model: type[ProviderSettings]) -> Validated[ProviderSettings]:
        """The settings of a resource."""
        merged: dict[Key, Value] = {}
        skipped: dict[Key, Value] = {}
        problems: list[Problem] = []
        for part in config.parts:
            self._merge(config.full_name, model, part, merged, skipped, problems)
        for part in config.defaults:
            for key, value in part.values.items():
                _put(merged if key[0] in model.model_fields else skipped, key, value)
        return self._build(config.full_name, model, merged, skipped, problems)

    def section(self, model: type[SettingsT], name: str, parts: Iterable[dict[Key, Value]]) -> Validated[SettingsT]:
        """A host's own section."""
        merged: dict[Key, Value] = {}
        for values in parts:
            for key, value in values.items():
                _put(merged, key, value)
        return self._build(name, model, merged, {}, [])

    def _merge(
        self,
        subject: str,
        model: type[ProviderSettings],
        part: Part,
        merged: dict[Key, Value],
        skipped: dict[Key, Value],
        problems: list[Problem],
    ) -> None:
        """One layer: its explicit values, then what its URL says, then the soft ones."""
        explicit = dict(part.values)
        expanded: dict[Key, Value] = {}
        url = explicit.get(("url",))
        if url is not None and "url" not in model.model_fields:
            del explicit[("url",)]
            try:
                fields = model.expand_url(_resolved(url))
            except (ValueError, SecretUnavailableError) as error:
                reason = str(error) if isinstance(error, SecretUnavailableError) else "it cannot be read as a URL"
                problems.append(Problem(subject, f"url: {reason}", url.origin, "write it as scheme://user:password@host:port/name"))
                fields = {}
            except (Exception, SystemExit) as error:
                message = f"url: {model.__name__}.expand_url raised {type(error).__name__}"
                problems.append(Problem(subject, message, url.origin, f"report it to the author of {model.__module__}"))
                fields = {}
            expanded = {(name,): Value(content, url.origin) for name, content in fields.items()}
        for key, value in (*explicit.items(), *expanded.items()):
            _put(merged, key, value)
        for key, value in part.soft.items():
            _put(merged if key[0] in model.model_fields else skipped, key, value)

    def _build(
        self, subject: str, model: type[SettingsT], merged: dict[Key, Value], skipped: dict[Key, Value], problems: list[Problem]
    ) -> Validated[SettingsT]:
        secret_fields = {name for name, info in model.model_fields.items() if mentions_secret(info.annotation)}
        for key, value in merged.items():
            if key[0] not in model.model_fields or key[0] in secret_fields:
                self._learn(value.content)
        data = nest({key: _content(value, key[0] in secret_fields) for key, value in merged.items()})
        try:
            settings = model(**data)
        except ValidationError as error:
            problems.extend(self._explain(subject, model, merged, error))
            return Validated(None, merged, skipped, problems)
        except ValueError:  # json.loads of a collection
            problems.append(Problem(subject, "a list or table is not valid JSON", None, "write JSON, or items separated by commas"))
            return Validated(None, merged, skipped, problems)
        except (Exception, SystemExit) as error:  # a validator of the class; its text may hold a value
            message = f"its settings class {model.__name__} raised {type(error).__name__}"
            problems.append(Problem(subject, message, None, f"report it to the author of {model.__module__}"))
            return Validated(None, merged, skipped, problems)
        for name in secret_fields:
            problems.extend(self._bind(subject, name, getattr(settings, name), merged))
        return Validated(None if problems else settings, merged, skipped, problems)

    def _explain(self, subject: str, model: type[LayeredSettings], merged: dict[Key, Value], error: ValidationError) -> list[Problem]:
        found: list[Problem] = []
        for item in error.errors(include_url=False, include_context=False, include_input=False):
            path = tuple(str(part) for part in item["loc"])
            origin = _origin(merged, path)
            name = ".".join(path)
            if item["type"] == "extra_forbidden":
                near = nearest(path[-1], set(model.model_fields))
                remedy = f"did you mean {near}?" if near else f"known: {', '.join(sorted(model.model_fields))}"
                found.append(Problem(subject, f"{name} is not a setting", origin, remedy))
            elif item["type"] == "missing":
                table, _, rest = subject.partition(".")
                variable = "__".join(["INFRA", *(part.upper() for part in (table, rest, *path) if part)]).replace("INFRA__", "INFRA_", 1)
                found.append(Problem(subject, f"{name} is not set", None, f"set {variable}, or {name} in [{subject}]"))
            else:
                message = self._redactor(item["msg"].removeprefix("Value error, "))
                for value in merged.values():
                    text = str(value.content)
                    if len(text) >= 8 and text in message:
                        message = message.replace(text, "********")
                found.append(Problem(subject, f"{name}: {message[:1].lower()}{message[1:]}" if name else message, origin))
        return found

    def _learn(self, content: object) -> None:
        if isinstance(content, str):
            if not content.startswith(("env:", "file:")):
                self._redactor.learn(content.removeprefix("literal:"))
        elif isinstance(content, list | tuple):
            for item in cast("Iterable[object]", content):
                self._learn(item)
        elif content is not None and not isinstance(content, bool):
            self._redactor.learn(str(content))

    def _bind(self, subject: str, name: str, value: object, merged: dict[Key, Value]) -> list[Problem]:
        if isinstance(value, Secret):
            value.bind(self._resolver, self._redactor)
            try:
                value.reveal()
            except SecretUnavailableError as error:
                return [Problem(subject, f"{name}: {error}", _origin(merged, (name,)), "create it, or correct the reference")]
            return []
        inner: Iterable[object] = ()
        if isinstance(value, dict):
            inner = cast("dict[str, object]", value).values()
        elif isinstance(value, list | tuple | set | frozenset):
            inner = cast("Iterable[object]", value)
        return [problem for item in inner for problem in self._bind(subject, name, item, merged)]


def _put(merged: dict[Key, Value], key: Key, value: Value) -> None:
    """Add a value of a lower layer, unless a higher one has it, the whole of which it is a part, or a part of it."""
    if any(key[:size] in merged for size in range(1, len(key) + 1)):
        return
    if any(known[: len(key)] == key for known in merged) and not isinstance(value.content, dict):
        return
    merged[key] = value


def _content(value: Value, secret: bool) -> object:
    return f"file:{value.file}" if secret and value.file is not None else value.content


def _resolved(url: Value) -> str:
    """A URL's text; one that is a reference itself is read."""
    text = str(url.content)
    return Secret(text).reveal() if text.startswith(("env:", "file:")) and "://" not in text else text


def _origin(merged: dict[Key, Value], path: Key) -> Origin | None:
    for size in range(len(path), 0, -1):
        if path[:size] in merged:
            return merged[path[:size]].origin
    return next((value.origin for key, value in merged.items() if key[: len(path)] == path), None)


__all__ = ["Validated", "Validator", "mentions_secret"]
