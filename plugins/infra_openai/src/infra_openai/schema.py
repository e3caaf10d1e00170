"""JSON schemas in the form that strict structured output takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast


def strict_schema(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """`schema` with every property required and no other allowed; None when it cannot be said so, as with free keys.

    A property that had a default must then be given by the model; the default itself is left out.
    """
    try:
        made = _strict(dict(schema), schema)
    except _FreeKeysError:
        return None
    return made if made.get("type") == "object" and "anyOf" not in made else None


class _FreeKeysError(Exception):
    """An object whose keys are not known."""


def _strict(schema: dict[str, Any], root: Mapping[str, Any]) -> dict[str, Any]:
    if "$ref" in schema and len(schema) > 1:  # a reference stands alone: put in what it refers to
        target = _resolved(schema["$ref"], root)
        return _strict({**target, **{name: value for name, value in schema.items() if name != "$ref"}}, root)
    made: dict[str, Any] = {}
    for name, value in schema.items():
        if name in ("properties", "$defs", "definitions"):
            made[name] = {key: _strict(dict(each), root) for key, each in value.items()}
        elif name in ("anyOf", "oneOf", "allOf"):
            made["anyOf" if name == "oneOf" else name] = [_strict(dict(each), root) for each in value]
        elif name == "items" and isinstance(value, Mapping):
            made[name] = _strict(dict(cast("Mapping[str, Any]", value)), root)
        elif name not in ("default", "discriminator", "additionalProperties", "required"):
            made[name] = value
    if schema.get("type") == "object" or "properties" in schema:
        if schema.get("additionalProperties") or "properties" not in schema:
            raise _FreeKeysError
        made["type"] = "object"
        made["additionalProperties"] = False
        made["required"] = list(schema["properties"])
    if "allOf" in made and len(made["allOf"]) == 1:
        made = {**made.pop("allOf")[0], **made}
    return made


def _resolved(reference: str, root: Mapping[str, Any]) -> dict[str, Any]:
    found: Any = root
    for step in reference.removeprefix("#/").split("/"):
        found = found.get(step, {})
    return dict(found)
