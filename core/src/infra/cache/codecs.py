"""From values to bytes and back: tagged JSON, never pickle.

The first byte says what follows: a digit or ``-`` an integer in decimal (which the server can add to), ``b`` bytes, ``s`` text in UTF-8,
``j`` plain JSON, ``t`` JSON in which ``{"$": tag, "v": ...}`` stands for a value of a registered type. No type is ever looked up by a name
from the payload, only by a tag that this process registered.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import math
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final, TypeVar, cast
from uuid import UUID

from infra.cache.errors import CacheValueError

try:
    import orjson
except ImportError:  # the extra `orjson` is not installed
    orjson = None

T = TypeVar("T")

_INTEGERS: Final = range(-(2**63), 2**63)
_SCALARS: Final = frozenset({str, bool, type(None)})
_BYTES, _TEXT, _JSON, _TAGGED = b"bsjt"
#: What stored bytes begin with; the rest is the value.
BYTES: Final = b"b"


class UndecodableError(ValueError):
    """Bytes that are not a value of these codecs."""


class Codecs:
    """The types that one cache resource can store, beyond those of JSON.

    Bytes, datetime, date, time, timedelta, Decimal, UUID, tuple, set, frozenset, mappings with any keys and integers of any size are
    known from the start. Everything comes back as the type that it was.
    """

    def __init__(self) -> None:
        self._by_type: dict[type, tuple[str, Callable[[Any], object]]] = {}
        self._by_tag: dict[str, Callable[[Any], Any]] = {}
        self.register(bytes, tag="bytes", encode=lambda value: base64.b64encode(value).decode(), decode=base64.b64decode)
        self.register(int, tag="int", encode=str, decode=int)
        self.register(float, tag="float", encode=repr, decode=float)
        self.register(datetime, tag="datetime", encode=datetime.isoformat, decode=datetime.fromisoformat)
        self.register(date, tag="date", encode=date.isoformat, decode=date.fromisoformat)
        self.register(time, tag="time", encode=time.isoformat, decode=time.fromisoformat)
        self.register(timedelta, tag="timedelta", encode=_timedelta_parts, decode=lambda parts: timedelta(*parts))
        self.register(Decimal, tag="decimal", encode=str, decode=Decimal)
        self.register(UUID, tag="uuid", encode=str, decode=UUID)
        self.register(tuple, tag="tuple", encode=list, decode=tuple)
        self.register(set, tag="set", encode=list, decode=set)
        self.register(frozenset, tag="frozenset", encode=list, decode=frozenset)
        self.register(dict, tag="dict", encode=lambda value: [list(pair) for pair in value.items()], decode=dict)

    def register(
        self,
        kind: type[T],
        *,
        tag: str | None = None,
        encode: Callable[[T], object] | None = None,
        decode: Callable[[Any], T] | None = None,
    ) -> type[T]:
        """Make values of exactly the type `kind` storable; usable as a decorator of a class.

        Pydantic models, dataclasses and enumerations need no functions. Every process that reads must register the same.

        Args:
            kind: The type.
            tag: Its name in stored entries; the class's qualified name when not given. Change it when the stored form changes.
            encode: Gives what JSON or the other registered types can hold.
            decode: The reverse; whatever it raises turns the entry into a miss.

        Raises:
            CacheValueError: No way to encode the type is known, or the tag belongs to another type.
        """
        tag = tag or f"{kind.__module__}.{kind.__qualname__}"
        if encode is None or decode is None:
            encode, decode = _standard(kind)
        known = self._by_type.get(kind)
        if tag in self._by_tag and (known is None or known[0] != tag):
            raise CacheValueError(f"the tag {tag} belongs to another type", remedy="choose another tag")
        self._by_type[kind] = (tag, encode)
        self._by_tag[tag] = decode
        return kind

    def encode(self, value: object) -> bytes:
        """The stored form of `value`.

        Raises:
            CacheValueError: It holds a value of a type that is not registered, or itself.
        """
        kind = type(value)
        if kind is bytes:
            return BYTES + cast(bytes, value)
        if kind is str:
            return b"s" + cast(str, value).encode("utf-8", "surrogatepass")
        if kind is int and value in _INTEGERS:
            return b"%d" % cast(int, value)
        try:
            if is_plain(value):
                return b"j" + dump_json(value)
            return b"t" + dump_json(self._tagged(value))
        except RecursionError:
            raise CacheValueError("the value is nested too deeply, or holds itself", remedy="store a flatter value") from None
        except (ValueError, TypeError) as error:  # such as an integer of more digits than Python makes texts of
            raise CacheValueError(f"a {kind.__name__} cannot be stored: {error}", remedy="store it in another form") from error

    def decode(self, raw: bytes) -> Any:
        """The value that `encode` made into `raw`.

        Raises:
            UndecodableError: `raw` is damaged, foreign, or of a type that is not registered here.
        """
        first = raw[0] if raw else 0
        if first == _BYTES:
            return raw[1:]
        try:
            if first == _TEXT:
                return raw[1:].decode("utf-8", "surrogatepass")
            if first == _JSON:
                return load_json(raw[1:])
            if first == _TAGGED:
                return self._untagged(load_json(raw[1:]))
            if len(raw) <= 20 and (raw.isdigit() or (first == 0x2D and raw[1:].isdigit())):
                return int(raw)
        except Exception as error:
            raise UndecodableError(f"not decodable: {type(error).__name__}") from error
        raise UndecodableError("of no known form")

    def _tagged(self, value: object) -> object:
        kind = type(value)
        if is_scalar(value):
            return value
        if kind is list:
            return [self._tagged(item) for item in cast("list[object]", value)]
        if kind is dict and "$" not in cast("dict[object, object]", value):
            mapping = cast("dict[object, object]", value)
            if all(type(key) is str for key in mapping):
                return {key: self._tagged(item) for key, item in mapping.items()}
        known = self._by_type.get(kind)
        if known is None:
            raise CacheValueError(
                f"a value of type {kind.__module__}.{kind.__qualname__} cannot be stored",
                remedy=f"register it: cache.codecs.register({kind.__name__})",
            )
        tag, encode = known
        return {"$": tag, "v": self._tagged(encode(value))}

    def _untagged(self, value: object) -> Any:
        if type(value) is list:
            return [self._untagged(item) for item in cast("list[object]", value)]
        if type(value) is dict:
            mapping = cast("dict[str, object]", value)
            if "$" in mapping:
                return self._by_tag[cast(str, mapping["$"])](self._untagged(mapping["v"]))
            return {key: self._untagged(item) for key, item in mapping.items()}
        return value


def is_scalar(value: object) -> bool:
    """Whether it is a null, boolean, text or number that JSON carries without loss in every implementation."""
    kind = type(value)
    return kind in _SCALARS or (kind is int and value in _INTEGERS) or (kind is float and math.isfinite(cast(float, value)))


def is_plain(value: object) -> bool:
    """Whether JSON carries `value` as it is."""
    kind = type(value)
    if kind is list:
        return all(map(is_plain, cast("list[object]", value)))
    if kind is dict:
        mapping = cast("dict[object, object]", value)
        return "$" not in mapping and all(type(key) is str for key in mapping) and all(map(is_plain, mapping.values()))
    return is_scalar(value)


def dump_json(value: object) -> bytes:
    """Compact JSON; orjson where it is installed."""
    if orjson is not None:
        try:
            return orjson.dumps(value)
        except TypeError:  # lone surrogates and deep nesting, which the standard library can write
            pass
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def load_json(raw: bytes) -> Any:
    """The value of a JSON text; `ValueError` when it is none."""
    if orjson is not None:
        try:
            return orjson.loads(raw)
        except orjson.JSONDecodeError:
            pass
    return json.loads(raw)


def _timedelta_parts(value: timedelta) -> list[int]:
    return [value.days, value.seconds, value.microseconds]


def _standard(kind: type[Any]) -> tuple[Callable[[Any], object], Callable[[Any], Any]]:
    if hasattr(kind, "model_validate_json"):  # pydantic, without importing it
        return (lambda model: model.model_dump_json()), kind.model_validate_json
    if dataclasses.is_dataclass(kind):
        names = [field.name for field in dataclasses.fields(kind) if field.init]
        return (lambda value: {name: getattr(value, name) for name in names}), (lambda fields: kind(**fields))
    if issubclass(kind, Enum):
        return (lambda member: member.value), kind
    raise CacheValueError(f"no way is known to store a {kind.__qualname__}", remedy="register it with encode and decode")
