"""Codecs: what they encode comes back; what does not fit is an error; nothing runs code."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from types import ModuleType
from typing import Any
from uuid import UUID

import pydantic
import pytest

from infra.errors import ConfigurationError
from infra.queue.codecs import BytesCodec, Decoders, JSONCodec, TextCodec, codec_named


class Order(pydantic.BaseModel):
    number: int
    at: datetime


@dataclass
class Point:
    x: int
    y: int


@pytest.mark.parametrize(
    ("value", "model"),
    [
        (Order(number=1, at=datetime(2020, 1, 1, tzinfo=UTC)), Order),
        (Point(1, 2), Point),
        ({"a": [1, None, "ž"]}, None),
        ("text", str),
        ([UUID(int=7)], list[UUID]),
    ],
)
def test_json_restores_what_it_encoded(value: object, model: Any) -> None:
    codec = JSONCodec()
    assert codec.decoder(model)(codec.encode(value)) == value


def test_json_refuses_what_it_cannot_carry() -> None:
    with pytest.raises(Exception, match="serialize"):
        JSONCodec().encode(object())


def test_text_and_bytes_take_only_their_own() -> None:
    assert TextCodec().decoder(None)(TextCodec().encode("ž")) == "ž"
    assert BytesCodec().decoder(bytes)(BytesCodec().encode(bytearray(b"\xff"))) == b"\xff"
    for codec, wrong in ((TextCodec(), b"x"), (BytesCodec(), "x")):
        with pytest.raises(TypeError):
            codec.encode(wrong)


def test_the_content_type_chooses_the_decoder() -> None:
    decode = Decoders(None, JSONCodec())
    assert decode("application/json", b'{"a":1}') == {"a": 1}
    assert decode("application/json; charset=utf-8", b"[1]") == [1]
    assert decode("text/plain; charset=utf-8", "ž".encode()) == "ž"
    assert decode("application/octet-stream", b"\xff") == b"\xff"
    with pytest.raises(LookupError, match="image/png"):
        decode("image/png", b"")


def test_bytes_without_a_content_type_decode_as_json_for_a_typed_handler() -> None:
    assert Decoders(Point, JSONCodec())("application/octet-stream", b'{"x":1,"y":2}') == Point(1, 2)


def test_codecs_are_found_by_name_or_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("queue_test_codec")

    class Shout(TextCodec):
        name = "shout"
        content_type = "text/x-shout"

        def encode(self, value: object) -> bytes:
            return super().encode(value).upper()

    module.Shout = Shout  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "queue_test_codec", module)
    assert codec_named("json", "queue.main").content_type == "application/json"
    assert codec_named("queue_test_codec:Shout", "queue.main").encode("a") == b"A"
    for unknown in ("pickle", "pickle:dumps", "queue_test_codec:Whisper", "no_such_module:x"):
        with pytest.raises(ConfigurationError) as caught:
            codec_named(unknown, "queue.main")
        assert caught.value.remedy
