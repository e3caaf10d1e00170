"""From objects to bodies and back, by name. There is no pickle: a body from elsewhere must not run code."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Final, Protocol, cast

import pydantic
import pydantic_core

from infra.errors import ConfigurationError
from infra.queue.model import OCTETS


class Codec(Protocol):
    """Encodes published objects; its content type, in the envelope, says how to decode them."""

    @property
    def name(self) -> str:
        """The name in the settings."""
        ...

    @property
    def content_type(self) -> str:
        """The media type of its bodies."""
        ...

    def encode(self, value: object) -> bytes:
        """The body; raises any exception for a value that it cannot encode."""
        ...

    def decoder(self, model: Any) -> Callable[[bytes], Any]:
        """A function from bodies to objects of type `model` (anything when None); it raises any exception for a body that does not fit."""
        ...


class JSONCodec:
    """JSON by pydantic: models, dataclasses, dates, UUIDs and plain values."""

    name = "json"
    content_type = "application/json"

    def encode(self, value: object) -> bytes:
        """The JSON text in UTF-8."""
        if isinstance(value, pydantic.BaseModel):
            return value.__pydantic_serializer__.to_json(value)
        return pydantic_core.to_json(value)

    def decoder(self, model: Any) -> Callable[[bytes], Any]:
        """Validates against `model`, once prepared."""
        if model is None:
            return pydantic_core.from_json
        return pydantic.TypeAdapter(model).validate_json


class TextCodec:
    """Text in UTF-8."""

    name = "text"
    content_type = "text/plain; charset=utf-8"

    def encode(self, value: object) -> bytes:
        """The text's bytes."""
        if not isinstance(value, str):
            raise TypeError(f"the text codec takes str, not {type(value).__name__}")
        return value.encode()

    def decoder(self, model: Any) -> Callable[[bytes], Any]:
        """Text, or what `model` validates from it."""
        if model is None or model is str:
            return bytes.decode
        validate = pydantic.TypeAdapter[Any](model).validate_strings
        return lambda body: validate(body.decode())


class BytesCodec:
    """Bytes as they are. Published bytes always travel like this, whatever the codec."""

    name = "bytes"
    content_type = OCTETS

    def encode(self, value: object) -> bytes:
        """The bytes themselves."""
        if not isinstance(value, bytes | bytearray):
            raise TypeError(f"the bytes codec takes bytes, not {type(value).__name__}")
        return bytes(value)

    def decoder(self, model: Any) -> Callable[[bytes], Any]:
        """The body; a typed handler has to say `bytes`, or JSON is assumed: publishers of other languages often give no content type."""
        return bytes if model in (None, bytes) else JSONCodec().decoder(model)


BUILT_IN: Final[tuple[Codec, ...]] = (JSONCodec(), TextCodec(), BytesCodec())


def codec_named(name: str, resource: str) -> Codec:
    """The codec called `name`, or the one that ``module:attribute`` refers to.

    Raises:
        ConfigurationError: There is none.
    """
    for codec in BUILT_IN:
        if codec.name == name:
            return codec
    module, colon, attribute = name.partition(":")
    if colon and module != "pickle":
        try:
            found = getattr(import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise ConfigurationError(f"cannot load the codec {name}: {error}", resource=resource, remedy="correct `codec`") from error
        return cast(Codec, found() if isinstance(found, type) else found)
    raise ConfigurationError(
        f"there is no codec {name!r}",
        resource=resource,
        remedy=f"set `codec` to {', '.join(codec.name for codec in BUILT_IN)}, or to module:attribute of one of yours",
    )


class Decoders:
    """Decoders of one type for every content type, each prepared once.

    Args:
        model: What to decode to; None for whatever the body holds.
        own: The queue's codec; then come the built-in ones.
    """

    def __init__(self, model: Any, own: Codec) -> None:
        self._model = model
        self._codecs = {codec.content_type: codec for codec in (*BUILT_IN, own)}
        self._ready: dict[str, Callable[[bytes], Any]] = {}

    def __call__(self, content_type: str, body: bytes) -> Any:
        """The decoded body; raises the codec's exception, or LookupError for an unknown content type."""
        decode = self._ready.get(content_type)
        if decode is None:
            decode = self._ready[content_type] = self._codec(content_type).decoder(self._model)
        return decode(body)

    def prepare(self, codec: Codec) -> None:
        """Make the decoder of one codec; raises what is wrong with the type."""
        self._ready[codec.content_type] = codec.decoder(self._model)

    def _codec(self, content_type: str) -> Codec:
        codec = self._codecs.get(content_type)
        if codec is not None:
            return codec
        kind = content_type.partition(";")[0].strip().lower()
        for known, codec in self._codecs.items():
            if known.partition(";")[0] == kind:
                return codec
        raise LookupError(f"no codec for content type {content_type!r}")
