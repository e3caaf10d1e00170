"""What can be set: settings classes as commented TOML and as JSON schema."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast, get_args, get_origin

from infra.errors import ConfigurationError
from infra.kernel.discovery import FoundProvider
from infra.kernel.opening import load
from infra.kernel.shapes import describe
from infra.kernel.validation import mentions_secret

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from infra.kernel.core import Kernel
    from infra.kernel.settings import ProviderSettings

_WIDTH = 110


def settings_class(found: FoundProvider) -> type[ProviderSettings]:
    """The settings class of a provider.

    Raises:
        ConfigurationError: It cannot be imported.
    """
    try:
        return load(found.descriptor.settings)
    except (Exception, SystemExit) as error:
        raise ConfigurationError(
            f"the settings of provider {found.name} cannot be imported: {describe(error)}",
            provider=found.name,
            remedy=found.reason or f"repair or upgrade {found.plugin.distribution}",
        ) from error


def template_of(found: FoundProvider, name: str) -> str:
    """A section of infra.toml in which every setting is a comment, with its default and its meaning."""
    model = settings_class(found)
    lines = [
        f"# {found.name}: {found.descriptor.summary} ({found.plugin.title})",
        f"[{found.capability}.{name}]",
        f"provider = {json.dumps(found.name)}",
    ]
    if found.descriptor.schemes:
        schemes = " or ".join(f"{scheme}://" for scheme in found.descriptor.schemes)
        lines += ["", *_comment(f"In one line instead of single settings; begins with {schemes}"), '# url = ""']
    for field, info in sorted(model.model_fields.items(), key=lambda item: item[0] in model.portable_fields):
        if field in ("provider", "url"):
            continue
        secret = mentions_secret(info.annotation)
        facts = [_kind(info.annotation), *(["a secret: a value, env:NAME or file:path"] if secret else [])]
        if info.is_required():
            facts.append("required")
        lines += ["", *_comment(f"{info.description or field.replace('_', ' ')} ({'; '.join(facts)})")]
        lines.append(("" if info.is_required() else "# ") + f"{field} = {_toml(_default(info), info.annotation)}")
    return "\n".join(lines) + "\n"


def schema_of(found: FoundProvider) -> dict[str, Any]:
    """JSON schema of one provider's settings."""
    schema = settings_class(found).model_json_schema()
    schema["title"] = f"{found.capability}.{found.name}"
    return schema


def whole_schema(kernel: Kernel) -> dict[str, Any]:
    """JSON schema of infra.toml with what is installed: for editors that complete and check TOML."""
    from infra.kernel.kernel_settings import KERNEL_KEYS

    definitions: dict[str, Any] = {}
    properties: dict[str, Any] = {
        "infra": {"type": "object", "properties": {key: {} for key in sorted(KERNEL_KEYS)}, "additionalProperties": False},
        "features": {"type": "object"},
    }
    for capability in kernel.catalog.capabilities:
        names: list[str] = []
        for found in kernel.catalog.of(capability):
            if not found.available:
                continue
            try:
                schema = schema_of(found)
            except ConfigurationError:
                continue  # its plugin is broken; `infra providers` says so
            schema["properties"] = {"url": {"type": "string", "description": "A URL that stands for single settings."}} | schema[
                "properties"
            ]
            definitions |= schema.pop("$defs", {})
            names.append(schema["title"])
            definitions[schema["title"]] = schema
        places = [{"$ref": f"#/$defs/{name}"} for name in names]
        properties[capability] = {
            "type": "object",
            "properties": {"defaults": {"type": "object", "description": f"Holds for every {capability}."}},
            "additionalProperties": {"anyOf": places} if places else True,
        }
    for name, section in kernel.declared_sections().items():
        properties[name] = section.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "infra.toml",
        "type": "object",
        "properties": properties,
        "$defs": definitions,
    }


def _comment(text: str) -> list[str]:
    lines = ["#"]
    for word in " ".join(text.split()).split(" "):
        if len(lines[-1]) + 1 + len(word) > _WIDTH:
            lines.append("#")
        lines[-1] += f" {word}"
    return lines


def _default(info: FieldInfo) -> object:
    if info.is_required():
        return None
    try:
        return info.get_default(call_default_factory=True)
    except TypeError:
        return None  # a factory that depends on other fields


def _toml(value: object, annotation: Any) -> str:
    """A TOML literal; for None an empty one of a fitting type."""
    if value is None:
        kinds = [member for member in (annotation, *get_args(annotation)) if isinstance(member, type)]
        numbers = any(kind in (int, float) for kind in kinds)
        return "0" if numbers and str not in kinds else "false" if bool in kinds else '""'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"{value:g}" if isinstance(value, float) else str(value)
    if isinstance(value, list | tuple | set | frozenset):
        return "[" + ", ".join(_toml(item, str) for item in cast("Iterable[object]", value)) + "]"
    if isinstance(value, dict):
        items = (f"{json.dumps(str(key))} = {_toml(item, str)}" for key, item in cast("dict[object, object]", value).items())
        return "{ " + ", ".join(items) + " }" if value else "{}"
    return json.dumps(str(value), ensure_ascii=False)


def _kind(annotation: Any) -> str:
    """A type in words."""
    origin, members = get_origin(annotation), [member for member in get_args(annotation) if member is not type(None)]
    if origin is None:
        name = getattr(annotation, "__name__", str(annotation))
        return {"str": "text", "int": "whole number", "float": "number", "bool": "true or false", "Secret": "text", "Path": "path"}.get(
            name, name
        )
    if str(origin) == "typing.Literal":
        return " or ".join(json.dumps(member) for member in members)
    if origin in (list, tuple, set, frozenset):
        return f"list of {_kind(members[0])}" if members else "list"
    if origin is dict:
        return "table"
    if hasattr(annotation, "__metadata__"):
        return _kind(members[0])
    return " or ".join(dict.fromkeys(_kind(member) for member in members))
