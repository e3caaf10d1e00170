# Generated from streams.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""Streams: failure, cancellation, memory, writers, files."""

from __future__ import annotations

import gc
import hashlib
import tracemalloc
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from infra.runtime.threads import Event, gather
from infra.storage import DigestMismatchError, ObjectNotFoundError
from infra_testing.conformance.storage._sync.basis import StorageCases
from infra_testing.conformance.storage._sync.objects import pattern


class SourceFailedError(Exception):
    """What a broken source raises."""


def chunks(count: int, size: int = 100_000, failure: BaseException | None = None) -> Generator[bytes]:
    """`count` chunks, and then perhaps a failure."""
    for number in range(count):
        yield bytes([number % 256]) * size
    if failure is not None:
        raise failure


class StreamCases(StorageCases):
    """Cases 5 to 9."""

    def everything(self, bucket: Any) -> list[str]:
        """All keys; providers with parts add what is left of uploads."""
        return [info.key for info in bucket.list()]

    @pytest.mark.parametrize("size", [0, 1, 1000, 300_000, 1 << 20, (1 << 20) + 1])
    def test_a_stream_of_unknown_length_is_stored(self, opened: Any, size: int) -> None:
        """Case 5."""
        bucket = opened()
        info = bucket.put("object", chunks(5, size))
        data = b"".join([chunk for chunk in chunks(5, size)])
        assert info.size == len(data)
        assert bucket.get("object") == data

    @pytest.mark.parametrize("count", [0, 1, 30])
    def test_a_source_that_fails_leaves_the_old_object(self, opened: Any, count: int) -> None:
        """Cases 6 and 8."""
        bucket = opened()
        old = bucket.put("folder/object", b"old", metadata={"is": "old"})
        failure = SourceFailedError("no more")
        for key in ("folder/object", "new/object"):
            with pytest.raises(SourceFailedError) as caught:
                bucket.put(key, chunks(count, failure=failure))
            assert caught.value is failure
        assert bucket.head("folder/object") == old
        assert bucket.get("folder/object") == b"old"
        assert self.everything(bucket) == ["folder/object"]

    def test_a_source_that_fails_like_a_provider_is_not_taken_for_one(self, opened: Any) -> None:
        """Case 6."""
        bucket = opened()
        for failure in (
            FileNotFoundError(2, "the source's own"),
            TimeoutError("the source's own"),
            ObjectNotFoundError("another bucket's"),
        ):
            with pytest.raises(type(failure), match="own|another") as caught:
                bucket.put("object", chunks(30, failure=failure))
            assert caught.value is failure
        assert self.everything(bucket) == []

    def test_a_reader_sees_one_version_to_its_end(self, opened: Any) -> None:
        """Case 9."""
        bucket = opened()
        size = 3_000_000
        bucket.put("object", b"a" * size)
        with bucket.open("object") as reader:
            beginning = reader.read(1000)
            bucket.put("object", b"b" * size)
            assert beginning + reader.read() == b"a" * size
        with bucket.open("object") as reader:
            beginning = reader.read(1000)
            bucket.delete("object")
            assert beginning + reader.read() == b"b" * size

    def test_readers_beside_writers_never_see_a_mix(self, opened: Any) -> None:
        """Case 9."""
        bucket = opened()
        bucket.put("object", b"\0" * 400_000, content_type="x/0", metadata={"version": "0"})
        written = Event()

        def write() -> None:
            for version in range(1, 25):
                attributes = {"content_type": f"x/{version}", "metadata": {"version": str(version)}}
                bucket.put("object", bytes([version]) * (400_000 - version), **attributes)
            written.set()

        def read() -> None:
            while not written.is_set():
                with bucket.open("object") as reader:
                    info = reader.info
                    data = reader.read()
                version = data[0]
                assert data == bytes([version]) * (400_000 - version)
                assert (info.size, info.content_type, info.metadata["version"]) == (len(data), f"x/{version}", str(version))
                seen = bucket.head("object")
                assert seen.size == 400_000 - int(seen.metadata["version"])

        results = gather(write, read, read)
        written.set()
        assert results == [None, None, None]

    def test_a_reader_gives_chunks_and_pieces(self, opened: Any) -> None:
        bucket = opened(chunk_size=1 << 16)
        data = pattern(1_000_000)
        bucket.put("object", data)
        parts = [chunk for chunk in bucket.open("object")]
        assert b"".join(parts) == data
        assert max(map(len, parts)) <= 1 << 16
        with bucket.open("object") as reader:
            assert reader.info.size == len(data)
            pieces = [reader.read(333_333)]
            while piece := reader.read(333_333):
                pieces.append(piece)
            assert b"".join(pieces) == data
            assert reader.read() == b""
        with pytest.raises(ValueError, match="closed"):
            reader.read()

    def test_an_object_streams_into_another_of_the_same_bucket(self, opened: Any) -> None:
        bucket = opened(threads=2)
        data = pattern(3_000_000)
        bucket.put("source", data)

        def transfer(number: int) -> Callable[[], Any]:
            def run() -> None:
                bucket.put(f"target-{number}", bucket.open("source"))

            return run

        assert gather(*map(transfer, range(8))) == [None] * 8
        for number in range(8):
            assert bucket.get(f"target-{number}") == data

    def test_streams_take_bounded_memory(self, opened: Any) -> None:
        """Goal: parts in flight, not the object. Providers that keep objects in memory hold the object itself as well."""
        bucket = opened()
        held = 48 << 20 if bucket.provider == "memory" else 0
        gc.collect()
        tracemalloc.start()
        try:
            bucket.put("object", chunks(48, 1 << 20))
            digest = hashlib.sha256()
            for chunk in bucket.open("object"):
                digest.update(chunk)
            assert tracemalloc.get_traced_memory()[1] < self.memory_limit + held
        finally:
            tracemalloc.stop()
        assert digest.hexdigest() == hashlib.sha256(b"".join([chunk for chunk in chunks(48, 1 << 20)])).hexdigest()

    def test_a_writer_stores_when_its_block_ends(self, opened: Any) -> None:
        bucket = opened()
        data = pattern(3_000_000)
        with bucket.writer("folder/object", content_type="x/y", metadata={"A": "b"}) as writer:
            for start in range(0, len(data), 1 << 16):
                assert writer.write(data[start : start + (1 << 16)]) == len(data[start : start + (1 << 16)])
            assert not bucket.exists("folder/object")
        assert writer.info == bucket.head("folder/object")
        assert (writer.info.content_type, dict(writer.info.metadata)) == ("x/y", {"a": "b"})
        assert bucket.get("folder/object") == data
        with bucket.writer("empty"):
            pass
        assert bucket.get("empty") == b""

    def test_a_writer_whose_block_fails_stores_nothing(self, opened: Any) -> None:
        """Cases 6 and 8."""
        bucket = opened()
        old = bucket.put("object", b"old")
        for size in (10, 5_000_000):
            for key in ("object", "new/object"):
                with pytest.raises(SourceFailedError):
                    with bucket.writer(key) as writer:
                        writer.write(b"x" * size)
                        raise SourceFailedError
        with pytest.raises(DigestMismatchError):
            with bucket.writer("object", digest="0" * 64) as writer:
                writer.write(b"x" * 3_000_000)
        assert bucket.head("object") == old
        assert self.everything(bucket) == ["object"]

    def test_files_are_put_and_got_with_progress(self, opened: Any, tmp_path: Path) -> None:
        bucket = opened(chunk_size=1 << 16)
        data = pattern(300_000)
        source, target = tmp_path / "source.bin", tmp_path / "target.bin"
        source.write_bytes(data)
        target.write_bytes(b"old")
        steps: list[tuple[int, int | None]] = []

        def note(done: int, total: int | None) -> None:
            steps.append((done, total))

        info = bucket.put_file("object", source, progress=note, metadata={"a": "b"})
        assert info.size == len(data)
        assert steps[-1] == (len(data), len(data))
        assert len(steps) >= 4
        assert [done for done, _ in steps] == sorted(done for done, _ in steps)
        steps.clear()
        assert bucket.get_file("object", target, progress=note) == info
        assert target.read_bytes() == data
        assert steps[-1] == (len(data), len(data))
        with pytest.raises(FileNotFoundError):
            bucket.put_file("object", tmp_path / "missing")
        assert bucket.head("object") == info

    def test_a_download_that_fails_leaves_the_old_file(self, opened: Any, tmp_path: Path) -> None:
        bucket = opened(chunk_size=1 << 16)
        bucket.put("object", pattern(300_000))
        target = tmp_path / "target"
        target.write_bytes(b"old")

        def refuse(done: int, total: int | None) -> None:
            if done > 100_000 and total:
                raise SourceFailedError

        with pytest.raises(SourceFailedError):
            bucket.get_file("object", target, progress=refuse)
        with pytest.raises(ObjectNotFoundError):
            bucket.get_file("missing", target)
        assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["target"]
        assert target.read_bytes() == b"old"
