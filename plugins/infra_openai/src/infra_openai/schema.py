"""JSON schemas in the form that strict structured output takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

#: What strict mode takes of a schema; whatever else one holds makes it not strict, so that no server refuses it.
_TAKEN: Final = frozenset(
    {
        "$defs",
        "$ref",
        "additionalProperties",
        "anyOf",
        "const",
        "description",
        "enum",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "format",
        "items",
        "maxItems",
        "maximum",
        "minItems",
        "minimum",
        "multipleOf",
        "pattern",
        "properties",
        "required",
        "title",
        "type",
    }
)
#: What says nothing about the answer's form, or says it another way; it is left out or put otherwise.
_REWRITTEN: Final = frozenset(
    {"allOf", "default", "definitions", "discriminator", "examples", "oneOf", "deprecated", "readOnly", "writeOnly"}
)
_TYPES: Final = frozenset({"string", "number", "integer", "boolean", "object", "array", "null"})
_FORMATS: Final = frozenset({"date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uuid"})
_SAYING: Final = frozenset({"type", "anyOf", "enum", "const", "$ref"})  # without one of these anything fits
_DEPTH: Final = 10  # of objects within objects, at most, that strict mode takes
_PROPERTIES: Final = 5000


def strict_schema(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """`schema` with every property required and no other allowed; None when strict mode does not take it.

    A property that had a default must then be given by the model; the default itself is left out.
    """
    reading = _Reading(schema)
    try:
        made = reading.strict(schema)
    except (_NotStrictError, RecursionError, AttributeError, TypeError):  # or it is no schema at all; the server will say so
        return None
    return made if made.get("type") == "object" and "anyOf" not in made and reading.properties <= _PROPERTIES else None


class _NotStrictError(Exception):
    """A schema holds what strict mode does not take."""


class _Reading:
    """One schema on its way."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._within: list[str] = []  # the references that are being put in
        self.properties = 0

    def strict(self, schema: Any, depth: int = 0) -> dict[str, Any]:
        """One part of the schema."""
        if not isinstance(schema, Mapping):
            raise _NotStrictError
        given = cast("Mapping[str, Any]", schema)
        if "$ref" in given:
            return self._reference(given, depth)
        if (joined := _unwrapped(given)) is not None:
            return self.strict(joined, depth)
        if given.keys() - _TAKEN - _REWRITTEN or ("anyOf" in given and "oneOf" in given) or depth > _DEPTH:
            raise _NotStrictError
        made: dict[str, Any] = {}
        for name, value in given.items():
            if name in ("$defs", "definitions"):
                made[name] = {key: self.strict(each) for key, each in value.items()}
            elif name == "properties":
                self.properties += len(value)
                made[name] = {key: self.strict(each, depth + 1) for key, each in value.items()}
            elif name in ("anyOf", "oneOf"):
                made["anyOf"] = [self.strict(each, depth) for each in value]
            elif name == "items":
                made[name] = self.strict(value, depth)
            elif name in _TAKEN and name not in ("additionalProperties", "required"):
                made[name] = value
        self._check(given, made)
        return made

    def _check(self, given: Mapping[str, Any], made: dict[str, Any]) -> None:
        types = given.get("type")
        named: list[Any] = cast("list[Any]", types) if isinstance(types, list) else [types] if types is not None else []
        if not _SAYING & made.keys() and "properties" not in made and not (made.keys() <= {"$defs", "definitions"} and made):
            raise _NotStrictError  # anything fits
        if "(?" in str(given.get("pattern", "")):  # looking ahead or back is not taken
            raise _NotStrictError
        if any(kind not in _TYPES for kind in named) or given.get("format", "date") not in _FORMATS:
            raise _NotStrictError
        if "array" in named and "items" not in made:
            raise _NotStrictError
        if "object" in named or "properties" in given:
            if given.get("additionalProperties") or "properties" not in given:
                raise _NotStrictError  # its keys are not known
            made.setdefault("type", "object")
            made["additionalProperties"] = False
            made["required"] = list(given["properties"])

    def _reference(self, given: Mapping[str, Any], depth: int) -> dict[str, Any]:
        """A reference stands alone: what it refers to is put in where more is said, unless it leads back to itself."""
        reference = given["$ref"]
        more = {name: value for name, value in given.items() if name not in ("$ref", "default", "title", "$defs", "definitions")}
        target = self._resolved(reference)
        beside = {name: value for name, value in given.items() if name in ("$defs", "definitions")}
        if not beside and (not more or (reference in self._within and more.keys() <= {"description"})):
            return {"$ref": reference}  # a description alone may be lost
        if reference in self._within:
            raise _NotStrictError
        self._within.append(reference)
        try:
            return self.strict({**target, **more, **beside}, depth)
        finally:
            self._within.pop()

    def _resolved(self, reference: Any) -> Mapping[str, Any]:
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise _NotStrictError
        found: Any = self._root
        for step in reference.removeprefix("#").split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, Mapping) or step not in found:
                raise _NotStrictError
            found = cast("Mapping[str, Any]", found)[step]
        if not isinstance(found, Mapping):
            raise _NotStrictError
        return cast("Mapping[str, Any]", found)


def _unwrapped(given: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """A schema whose only `allOf` is put in its place; None when it has no `allOf`.

    Raises:
        _NotStrictError: It joins several.
    """
    if "allOf" not in given:
        return None
    parts = given["allOf"]
    if not isinstance(parts, list) or len(cast("list[Any]", parts)) != 1 or not isinstance(parts[0], Mapping):
        raise _NotStrictError
    return {**cast("Mapping[str, Any]", parts[0]), **{name: value for name, value in given.items() if name != "allOf"}}
