"""The smallest object that fits a JSON schema, filled from values of the same names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

_DEPTH = 12


def fill(schema: Mapping[str, Any], values: Mapping[str, Any]) -> Any:
    """A value that fits `schema`: given values where name and type agree, else defaults, else the least that is allowed.

    Schemas that pydantic writes are covered: objects, arrays, enums, constants, ``$ref``, ``anyOf``, ``allOf`` and the usual bounds; a
    ``pattern`` is not.
    """
    return _value(schema, schema, values, None, 0)


def _value(schema: Mapping[str, Any], root: Mapping[str, Any], values: Mapping[str, Any], name: str | None, depth: int) -> Any:
    schema = _resolved(schema, root)
    if name is not None and name in values and (found := _fitting(values[name], schema, root)) is not None:
        return found
    if "default" in schema:
        return schema["default"]
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    options = schema.get("anyOf") or schema.get("oneOf")
    if options:
        resolved = [_resolved(option, root) for option in options]
        simple = next((option for option in resolved if option.get("type") == "null"), resolved[0])
        for option in resolved:
            if name is not None and name in values and (found := _fitting(values[name], option, root)) is not None:
                return found
        return _value(simple, root, values, name, depth)
    kinds = schema.get("type")
    kind = cast("str | None", ("null" if "null" in kinds else kinds[0]) if isinstance(kinds, list) else kinds)
    if kind == "object" or "properties" in schema:
        inner = values[name] if name is not None and isinstance(values.get(name), Mapping) else values
        required = set(schema.get("required", ()))
        known = cast("Mapping[str, Any]", inner)
        return {
            key: _value(each, root, known, key, depth + 1)
            for key, each in schema.get("properties", {}).items()
            if depth < _DEPTH and (key in required or key in known)
        }
    if kind == "array":
        return [_value(schema.get("items", {}), root, values, None, depth + 1) for _ in range(schema.get("minItems", 0))]
    return _least(kind, schema)


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in schema or len(schema.get("allOf", ())) == 1:
        if "allOf" in schema:
            schema = {**schema["allOf"][0], **{key: value for key, value in schema.items() if key != "allOf"}}
            continue
        target: Any = root
        for step in schema["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        schema = {**target, **{key: value for key, value in schema.items() if key != "$ref"}}
    return schema


def _fitting(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    """`value` when it fits `schema`, None when it does not."""
    if schema.get("enum"):
        return value if value in schema["enum"] else None
    kind = schema.get("type")
    if kind == "string" and isinstance(value, str):
        longest = schema.get("maxLength")
        return value[:longest] if len(value) >= schema.get("minLength", 0) else None
    if kind == "boolean" and isinstance(value, bool):
        return value
    if kind in ("integer", "number") and isinstance(value, int | float) and not isinstance(value, bool):
        if kind == "integer" and not float(value).is_integer():
            return None
        inside = schema.get("minimum", value) <= value <= schema.get("maximum", value)
        inside = inside and schema.get("exclusiveMinimum", value - 1) < value < schema.get("exclusiveMaximum", value + 1)
        return (int(value) if kind == "integer" else value) if inside else None
    if kind in ("integer", "number") and isinstance(value, str):
        try:
            return _fitting(float(value), schema, root)
        except ValueError:
            return None
    if kind == "array" and isinstance(value, list | tuple):
        each = _resolved(schema.get("items", {}), root)
        listed = cast("list[Any]", list(value))  # pyright: ignore[reportUnknownArgumentType]
        items = [_fitting(one, each, root) for one in listed] if each else listed
        return None if any(item is None for item in items) or len(items) < schema.get("minItems", 0) else items
    return None


def _least(kind: object, schema: Mapping[str, Any]) -> Any:
    if kind == "string":
        given = {
            "date-time": "1970-01-01T00:00:00Z",
            "date": "1970-01-01",
            "time": "00:00:00Z",
            "uuid": "00000000-0000-0000-0000-000000000000",
            "email": "nobody@example.invalid",
            "uri": "https://example.invalid/",
            "duration": "PT0S",
        }.get(str(schema.get("format")))
        return given or "-" * schema.get("minLength", 0)
    if kind in ("integer", "number"):
        step = 1 if kind == "integer" else 0.5
        least = schema.get("minimum", schema["exclusiveMinimum"] + step if "exclusiveMinimum" in schema else None)
        most = schema.get("maximum", schema["exclusiveMaximum"] - step if "exclusiveMaximum" in schema else None)
        value = 0 if (least is None or least <= 0) and (most is None or most >= 0) else least if least is not None else most
        return int(cast("float", value)) if kind == "integer" else value
    if kind == "boolean":
        return False
    return None if kind == "null" else {}
