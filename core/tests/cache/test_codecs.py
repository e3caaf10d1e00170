"""Values to bytes and back, over everything that hypothesis thinks of."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.cache import codecs as module
from infra.cache.codecs import Codecs, UndecodableError
from infra.cache.entries import Entry, safe, unpack
from infra.cache.errors import CacheValueError

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters())
    | st.binary()
    | st.datetimes()
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.decimals(allow_nan=False)
    | st.uuids()
)
HASHABLE = st.integers() | st.text() | st.binary() | st.uuids()
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | HASHABLE, inner) | st.tuples(inner, inner) | st.sets(HASHABLE),
    max_leaves=20,
)


@pytest.fixture(params=["orjson", "json"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "json":
        monkeypatch.setattr(module, "orjson", None)


@given(VALUES)
def test_every_value_comes_back_as_it_was(value: Any) -> None:
    codecs = Codecs()
    read = codecs.decode(codecs.encode(value))
    assert read == value
    assert type(read) is type(value)


@given(st.binary())
def test_foreign_bytes_decode_to_a_value_or_not_at_all(raw: bytes) -> None:
    codecs = Codecs()
    for damaged in (raw, b"j" + raw, b"t" + raw, b"s" + raw, b"t{" + raw):
        try:
            codecs.decode(damaged)
        except UndecodableError:
            pass


@given(st.binary())
def test_foreign_envelopes_open_or_do_not(raw: bytes) -> None:
    for damaged in (raw, b"e" + raw, b"e{}\n" + raw, b"e{" + raw + b"}\n"):
        try:
            assert isinstance(unpack(damaged), Entry)
        except UndecodableError:
            pass


@given(st.text(st.characters(), min_size=1), st.text(st.characters(), min_size=1))
def test_different_keys_stay_different_and_fit_a_driver(one: str, two: str) -> None:
    for key in (one, two):
        assert 1 <= len(safe(key)) <= 140
        assert safe(key).isascii()
        assert safe(key).isprintable()
        assert " " not in safe(key)
    assert (safe(one) == safe(two)) is (one == two)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("value", [2**64, -(2**63), [2**63 - 1, 2**63], {"a": float("-inf")}, "\ud800", ["\udfff"], {"$": {"$": 1}}])
def test_what_json_libraries_disagree_on_comes_back(value: object) -> None:
    codecs = Codecs()
    assert codecs.decode(codecs.encode(value)) == value


@pytest.mark.usefixtures("library")
def test_not_a_number_comes_back() -> None:
    codecs = Codecs()
    assert math.isnan(codecs.decode(codecs.encode([math.nan]))[0])


def test_both_json_libraries_write_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    value = {"a": [1, 2.5, None, True, "text"], "b": {}}
    fast = Codecs().encode(value)
    monkeypatch.setattr(module, "orjson", None)
    assert Codecs().encode(value) == fast


def test_a_value_that_holds_itself_is_refused() -> None:
    value: list[object] = []
    value.append(value)
    with pytest.raises(CacheValueError, match="nested"):
        Codecs().encode(value)


def test_a_tag_belongs_to_one_type() -> None:
    codecs = Codecs()
    codecs.register(complex, tag="number", encode=str, decode=complex)
    codecs.register(complex, tag="number", encode=str, decode=complex)
    with pytest.raises(CacheValueError, match="another type"):
        codecs.register(range, tag="number", encode=str, decode=range)
    with pytest.raises(CacheValueError, match="no way"):
        codecs.register(range)
