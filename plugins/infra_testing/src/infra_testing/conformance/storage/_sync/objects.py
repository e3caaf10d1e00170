# Generated from objects.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""Whole objects: round trips, ranges, attributes, digests, copies, deletion."""

from __future__ import annotations

import hashlib
import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from infra.errors import ErrorCode, InfraError
from infra.storage import (
    DeleteError,
    DigestMismatchError,
    InvalidKeyError,
    ObjectExistsError,
    ObjectNotFoundError,
    StorageError,
    StorageFeature,
)
from infra.storage.model import ObjectInfo
from infra_testing.conformance.storage._sync.basis import StorageCases


def pattern(size: int) -> bytes:
    """Bytes in which every place can be told from its neighbours."""
    block = hashlib.sha256(b"%d" % size).digest()
    return (block * (size // len(block) + 1))[:size]


class ObjectCases(StorageCases):
    """Cases 1 to 5, 13 to 16, 23 and 26."""

    @pytest.mark.parametrize("what", ["empty", "one byte", "below a part", "a part", "above a part"])
    def test_what_was_put_is_got(self, opened: Any, what: str) -> None:
        """Case 1."""
        bucket = opened()
        part = bucket.driver.limits.part_size or self.part_size
        data = pattern({"empty": 0, "one byte": 1, "below a part": part - 1, "a part": part, "above a part": part + 1}[what])
        before = datetime.now(UTC)
        info = bucket.put("folder/object", data)
        assert (info.key, info.size) == ("folder/object", len(data))
        assert info.etag
        assert info.sha256 in (hashlib.sha256(data).hexdigest(), None)
        assert abs((info.modified - before).total_seconds()) < 300
        assert bucket.get("folder/object") == data
        assert bucket.head("folder/object") == info

    def test_a_large_object_is_put_and_got(self, opened: Any) -> None:
        """Case 1."""
        bucket = opened()
        data = pattern(self.large_size)
        assert (bucket.put("large", data)).size == len(data)
        assert bucket.get("large") == data
        assert bucket.get_range("large", len(data) - 10) == data[-10:]

    def test_a_second_put_replaces_everything(self, opened: Any) -> None:
        bucket = opened()
        first = bucket.put("object", b"first", content_type="text/x-first", metadata={"who": "first", "only": "first"})
        second = bucket.put("object", b"second", content_type="text/x-second", metadata={"who": "second"})
        assert second.etag != first.etag
        assert bucket.get("object") == b"second"
        info = bucket.head("object")
        assert (info.content_type, dict(info.metadata), info.etag) == ("text/x-second", {"who": "second"}, second.etag)

    def test_a_missing_object_is_not_found(self, opened: Any) -> None:
        """Case 2."""
        bucket = opened()
        for attempt in (bucket.head, bucket.get, bucket.get_range):
            with pytest.raises(ObjectNotFoundError) as caught:
                attempt("no/such object")
            assert caught.value.code == ErrorCode.NOT_FOUND
            assert not caught.value.retryable
            assert caught.value.resource == bucket.name
            assert caught.value.remedy
        with pytest.raises(ObjectNotFoundError):
            bucket.copy("no/such object", "target")
        with pytest.raises(ObjectNotFoundError):
            with bucket.open("no/such object"):
                pass
        assert not bucket.exists("no/such object")
        assert not bucket.exists("target")

    def test_deleting_is_idempotent(self, opened: Any) -> None:
        """Case 3."""
        bucket = opened()
        bucket.delete("folder/object")
        bucket.put("folder/object", b"x")
        bucket.delete("folder/object")
        bucket.delete("folder/object")
        assert not bucket.exists("folder/object")
        assert [info.key for info in bucket.list()] == []

    @pytest.mark.parametrize(
        ("offset", "length"),
        [
            (0, None),
            (0, 0),
            (0, 1),
            (3, 4),
            (9, 1),
            (9, 5),
            (10, 5),
            (10, None),
            (99, 5),
            (-3, None),
            (-3, 2),
            (-10, None),
            (-99, None),
            (-99, 3),
        ],
    )
    def test_a_range_is_a_slice(self, opened: Any, offset: int, length: int | None) -> None:
        """Case 4."""
        bucket = opened()
        data = b"0123456789"
        bucket.put("digits", data)
        rest = data[offset:]
        assert bucket.get_range("digits", offset, length) == (rest if length is None else rest[:length])
        with bucket.open("digits", offset=offset, length=length) as reader:
            assert reader.info.size == 10

    def test_a_range_of_an_empty_object_is_empty(self, opened: Any) -> None:
        """Case 4."""
        bucket = opened()
        bucket.put("empty", b"")
        for offset in (0, 5, -5):
            assert bucket.get_range("empty", offset) == b""

    def test_every_kind_of_source_is_stored(self, opened: Any, tmp_path: Path) -> None:
        """Case 5."""
        bucket = opened()
        data = pattern(300_000)
        path = tmp_path / "source"
        path.write_bytes(data)
        chunks = [data[start : start + 7_777] for start in range(0, len(data), 7_777)]
        with path.open("rb") as file:
            for number, source in enumerate((data, bytearray(data), memoryview(data), path, file, io.BytesIO(data), chunks, iter(chunks))):
                info = bucket.put(f"object-{number}", source)
                assert (info.size, bucket.get(f"object-{number}")) == (len(data), data)
        for wrong in ("text", ["text"], 5):
            with pytest.raises(TypeError, match="cannot store"):
                bucket.put("object", wrong)
        assert not bucket.exists("object")

    def test_the_digest_is_checked_before_anything_is_stored(self, opened: Any) -> None:
        """Case 13."""
        bucket = opened()
        data = pattern(2_000_000)
        right, wrong = hashlib.sha256(data).hexdigest(), hashlib.sha256(b"else").hexdigest()
        old = bucket.put("object", b"old")
        for source in (data, iter([data[:999_999], data[999_999:]])):
            with pytest.raises(DigestMismatchError, match=right):
                bucket.put("object", source, digest=wrong)
        assert bucket.head("object") == old
        for source in (data, iter([data[:999_999], data[999_999:]])):
            assert (bucket.put("object", source, digest=right.upper())).size == len(data)
        assert (bucket.head("object")).sha256 == right
        with pytest.raises(StorageError, match="SHA-256"):
            bucket.put("object", data, digest="abc")

    def test_the_digest_of_a_stream_is_kept_where_declared(self, opened: Any) -> None:
        """Case 13."""
        bucket = opened()
        data = pattern(2_000_000)
        info = bucket.put("object", iter([data[:999_999], data[999_999:]]))
        kept = (bucket.head("object")).sha256
        assert kept == info.sha256
        if bucket.supports(StorageFeature.STORED_DIGEST):
            assert kept == hashlib.sha256(data).hexdigest()
        else:
            assert kept in (hashlib.sha256(data).hexdigest(), None)

    def test_a_wrong_size_is_refused(self, opened: Any) -> None:
        bucket = opened()
        for wrong in (2, 4):
            with pytest.raises(StorageError, match="3 bytes") as caught:
                bucket.put("object", iter([b"abc"]), size=wrong)
            assert caught.value.code == ErrorCode.INVALID_ARGUMENT
        assert not bucket.exists("object")

    def test_metadata_comes_back_with_lower_case_names(self, opened: Any) -> None:
        """Case 14."""
        bucket = opened()
        given = {"Owner": "Ann", "x-long-name_1": "a b, c=d;", "umlaut": "Grüße, 世界"}
        info = bucket.put("object", b"x", metadata=given)
        expected = {"owner": "Ann", "x-long-name_1": "a b, c=d;", "umlaut": "Grüße, 世界"}
        assert dict(info.metadata) == expected
        assert dict((bucket.head("object")).metadata) == expected
        with bucket.open("object") as reader:
            assert dict(reader.info.metadata) == expected

    @pytest.mark.parametrize(
        "wrong", [{"a b": "x"}, {"": "x"}, {"name": "two\nlines"}, {"Name": "x", "name": "y"}, {"name": "x" * 3000}, {"näme": "x"}]
    )
    def test_metadata_that_not_every_provider_keeps_is_refused(self, opened: Any, wrong: dict[str, str]) -> None:
        """Case 14."""
        bucket = opened()
        with pytest.raises(StorageError, match="metadata") as caught:
            bucket.put("object", b"x", metadata=wrong)
        assert caught.value.code == ErrorCode.INVALID_ARGUMENT
        assert not bucket.exists("object")

    def test_the_content_type_is_given_or_found_out(self, opened: Any) -> None:
        """Case 15."""
        bucket = opened()
        png = b"\x89PNG\r\n\x1a\n" + b"\0" * 20
        for key, data, given, expected in (
            ("given.txt", b"{}", "application/json", "application/json"),
            ("extension.json", b"{}", None, "application/json"),
            ("EXTENSION.PNG", b"{}", None, "image/png"),
            ("bytes", png, None, "image/png"),
            ("text", "Grüße".encode(), None, "text/plain; charset=utf-8"),
            ("nothing", b"", None, "application/octet-stream"),
            ("binary", b"\x00\x01\x02", None, "application/octet-stream"),
        ):
            assert (bucket.put(key, data, content_type=given)).content_type == expected
            assert (bucket.head(key)).content_type == expected
            assert (bucket.put(key, iter([data]), content_type=given)).content_type == expected

    def test_attributes_are_not_shared_with_the_caller(self, opened: Any) -> None:
        """Case 16."""
        bucket = opened()
        metadata, data = {"name": "before"}, bytearray(b"before")
        info = bucket.put("object", data, metadata=metadata)
        metadata["name"] = "after"
        data[:] = b"after!"
        assert info.metadata["name"] == "before"
        with pytest.raises(TypeError):
            info.metadata["name"] = "after"
        with pytest.raises(TypeError):
            (bucket.head("object")).metadata["name"] = "after"
        assert (bucket.head("object")).metadata["name"] == "before"
        assert bucket.get("object") == b"before"

    def test_a_copy_has_content_and_attributes(self, opened: Any) -> None:
        """Case 23."""
        bucket = opened()
        data = pattern(3_000_000)
        source = bucket.put("source", data, content_type="text/x-a", metadata={"owner": "ann"})
        bucket.put("folder/target", b"old")
        for target in ("folder/target", "new"):
            info: ObjectInfo = bucket.copy("source", target)
            assert (info.key, info.size, info.content_type, dict(info.metadata)) == (target, len(data), "text/x-a", {"owner": "ann"})
            assert info.sha256 == source.sha256
            assert bucket.get(target) == data
            assert bucket.head(target) == info
        assert bucket.head("source") == source

    def test_a_copy_onto_itself_changes_nothing(self, opened: Any) -> None:
        """Case 23."""
        bucket = opened()
        bucket.put("object", b"data", content_type="text/x-a", metadata={"owner": "ann"})
        info = bucket.copy("object", "object")
        assert (info.content_type, dict(info.metadata), bucket.get("object")) == ("text/x-a", {"owner": "ann"}, b"data")
        bucket.move("object", "object")
        assert bucket.get("object") == b"data"

    def test_a_copy_spares_an_existing_object_on_demand(self, opened: Any) -> None:
        """Case 23."""
        bucket = opened()
        bucket.put("source", b"source")
        bucket.put("target", b"target")
        if not bucket.supports(StorageFeature.CONDITIONAL_COPY):
            with pytest.raises(InfraError) as caught:
                bucket.copy("source", "target", mode="create")
            assert caught.value.code == ErrorCode.UNSUPPORTED
            return
        with pytest.raises(ObjectExistsError):
            bucket.copy("source", "target", mode="create")
        assert bucket.get("target") == b"target"
        assert (bucket.copy("source", "new", mode="create")).size == 6

    def test_a_move_leaves_only_the_target(self, opened: Any) -> None:
        bucket = opened()
        bucket.put("from/here", b"data", metadata={"owner": "ann"})
        info = bucket.move("from/here", "to/there")
        assert (info.key, dict(info.metadata)) == ("to/there", {"owner": "ann"})
        assert [info.key for info in bucket.list()] == ["to/there"]
        with pytest.raises(ObjectNotFoundError):
            bucket.move("from/here", "elsewhere")

    def test_deleting_many_names_what_remains(self, opened: Any) -> None:
        """Case 26."""
        bucket = opened()
        keys = [f"folder-{number % 3}/{number}" for number in range(20)]
        for key in keys:
            bucket.put(key, b"x")
        with pytest.raises(DeleteError) as caught:
            bucket.delete_many([*keys[:10], "no/such", "../bad", keys[0]])
        assert list(caught.value.failed) == ["../bad"]
        assert isinstance(caught.value.failed["../bad"], InvalidKeyError)
        assert sorted([info.key for info in bucket.list()]) == sorted(keys[10:])
        bucket.delete_many(iter(keys))
        bucket.delete_many([])
        assert [info.key for info in bucket.list()] == []

    def test_many_are_got_at_once(self, opened: Any) -> None:
        bucket = opened()
        for number in range(20):
            bucket.put(f"object/{number}", b"%d" % number)
        keys = [f"object/{number}" for number in (3, 17, 99, 3, 0)]
        assert bucket.get_many(keys) == {"object/3": b"3", "object/17": b"17", "object/99": None, "object/0": b"0"}
        assert list(bucket.get_many(iter(keys))) == ["object/3", "object/17", "object/99", "object/0"]
        assert bucket.get_many([]) == {}
        with pytest.raises(InvalidKeyError):
            bucket.get_many(["object/1", "../bad"])
