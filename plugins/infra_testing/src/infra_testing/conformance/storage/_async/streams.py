"""Streams: failure, cancellation, memory, writers, files."""

from __future__ import annotations

# async-only: begin
import asyncio

# async-only: end
import gc
import hashlib
import tracemalloc
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest

from infra.runtime.aio import Event, gather
from infra.storage import DigestMismatchError, ObjectNotFoundError
from infra_testing.conformance.storage._async.basis import AsyncStorageCases
from infra_testing.conformance.storage._async.objects import pattern


class SourceFailedError(Exception):
    """What a broken source raises."""


async def chunks(count: int, size: int = 100_000, failure: BaseException | None = None) -> AsyncGenerator[bytes]:
    """`count` chunks, and then perhaps a failure."""
    for number in range(count):
        yield bytes([number % 256]) * size
    if failure is not None:
        raise failure


class AsyncStreamCases(AsyncStorageCases):
    """Cases 5 to 9."""

    async def everything(self, bucket: Any) -> list[str]:
        """All keys; providers with parts add what is left of uploads."""
        return [info.key async for info in bucket.list()]

    @pytest.mark.parametrize("size", [0, 1, 1000, 300_000, 1 << 20, (1 << 20) + 1])
    async def test_a_stream_of_unknown_length_is_stored(self, opened: Any, size: int) -> None:
        """Case 5."""
        bucket = await opened()
        info = await bucket.put("object", chunks(5, size))
        data = b"".join([chunk async for chunk in chunks(5, size)])
        assert info.size == len(data)
        assert await bucket.get("object") == data

    @pytest.mark.parametrize("count", [0, 1, 30])
    async def test_a_source_that_fails_leaves_the_old_object(self, opened: Any, count: int) -> None:
        """Cases 6 and 8."""
        bucket = await opened()
        old = await bucket.put("folder/object", b"old", metadata={"is": "old"})
        failure = SourceFailedError("no more")
        for key in ("folder/object", "new/object"):
            with pytest.raises(SourceFailedError) as caught:
                await bucket.put(key, chunks(count, failure=failure))
            assert caught.value is failure
        assert await bucket.head("folder/object") == old
        assert await bucket.get("folder/object") == b"old"
        assert await self.everything(bucket) == ["folder/object"]

    async def test_a_source_that_fails_like_a_provider_is_not_taken_for_one(self, opened: Any) -> None:
        """Case 6."""
        bucket = await opened()
        for failure in (
            FileNotFoundError(2, "the source's own"),
            TimeoutError("the source's own"),
            ObjectNotFoundError("another bucket's"),
        ):
            with pytest.raises(type(failure), match="own|another") as caught:
                await bucket.put("object", chunks(30, failure=failure))
            assert caught.value is failure
        assert await self.everything(bucket) == []

    # async-only: begin
    @pytest.mark.parametrize("count", [0, 1, 30])
    async def test_a_cancelled_upload_leaves_the_old_object(self, opened: Any, count: int) -> None:
        """Cases 7 and 8."""
        bucket = await opened()
        old = await bucket.put("folder/object", b"old")
        for key in ("folder/object", "new/object"):
            waiting = asyncio.Event()

            async def endless(waiting: asyncio.Event = waiting) -> AsyncGenerator[bytes]:
                async for chunk in chunks(count):
                    yield chunk
                waiting.set()
                await asyncio.Event().wait()

            task = asyncio.create_task(bucket.put(key, endless()))
            await asyncio.wait_for(waiting.wait(), 90)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await bucket.head("folder/object") == old
            assert await self.everything(bucket) == ["folder/object"]

    async def test_uploads_cancelled_at_any_moment_leave_old_or_new(self, opened: Any) -> None:
        """Cases 7 and 8."""
        bucket = await opened()
        await bucket.put("object", b"old")
        for delay in range(12):
            task = asyncio.create_task(bucket.put("object", chunks(20)))
            await asyncio.sleep(delay / 1000)
            task.cancel()
            await asyncio.wait([task])
            assert len(await bucket.get("object")) in (3, 2_000_000)
            assert await self.everything(bucket) == ["object"]

    async def test_cancelled_reads_leave_the_bucket_usable(self, opened: Any) -> None:
        bucket = await opened()
        data = pattern(5_000_000)
        await bucket.put("object", data)
        for delay in range(12):
            task = asyncio.create_task(bucket.get("object"))
            await asyncio.sleep(delay / 2000)
            task.cancel()
            await asyncio.wait([task])
        assert await bucket.get("object") == data

    # async-only: end

    async def test_a_reader_sees_one_version_to_its_end(self, opened: Any) -> None:
        """Case 9."""
        bucket = await opened()
        size = 3_000_000
        await bucket.put("object", b"a" * size)
        async with bucket.open("object") as reader:
            beginning = await reader.read(1000)
            await bucket.put("object", b"b" * size)
            assert beginning + await reader.read() == b"a" * size
        async with bucket.open("object") as reader:
            beginning = await reader.read(1000)
            await bucket.delete("object")
            assert beginning + await reader.read() == b"b" * size

    async def test_readers_beside_writers_never_see_a_mix(self, opened: Any) -> None:
        """Case 9."""
        bucket = await opened()
        await bucket.put("object", b"\0" * 400_000, content_type="x/0", metadata={"version": "0"})
        written = Event()

        async def write() -> None:
            for version in range(1, 25):
                attributes = {"content_type": f"x/{version}", "metadata": {"version": str(version)}}
                await bucket.put("object", bytes([version]) * (400_000 - version), **attributes)
            written.set()

        async def read() -> None:
            while not written.is_set():
                async with bucket.open("object") as reader:
                    info = reader.info
                    data = await reader.read()
                version = data[0]
                assert data == bytes([version]) * (400_000 - version)
                assert (info.size, info.content_type, info.metadata["version"]) == (len(data), f"x/{version}", str(version))
                seen = await bucket.head("object")
                assert seen.size == 400_000 - int(seen.metadata["version"])

        results = await gather(write, read, read)
        written.set()
        assert results == [None, None, None]

    async def test_a_reader_gives_chunks_and_pieces(self, opened: Any) -> None:
        bucket = await opened(chunk_size=1 << 16)
        data = pattern(1_000_000)
        await bucket.put("object", data)
        parts = [chunk async for chunk in bucket.open("object")]
        assert b"".join(parts) == data
        assert max(map(len, parts)) <= 1 << 16
        async with bucket.open("object") as reader:
            assert reader.info.size == len(data)
            pieces = [await reader.read(333_333)]
            while piece := await reader.read(333_333):
                pieces.append(piece)
            assert b"".join(pieces) == data
            assert await reader.read() == b""
        with pytest.raises(ValueError, match="closed"):
            await reader.read()

    async def test_an_object_streams_into_another_of_the_same_bucket(self, opened: Any) -> None:
        bucket = await opened(threads=2)
        data = pattern(3_000_000)
        await bucket.put("source", data)

        def transfer(number: int) -> Callable[[], Any]:
            async def run() -> None:
                await bucket.put(f"target-{number}", bucket.open("source"))

            return run

        assert await gather(*map(transfer, range(8))) == [None] * 8
        for number in range(8):
            assert await bucket.get(f"target-{number}") == data

    async def test_streams_take_bounded_memory(self, opened: Any) -> None:
        """Goal: parts in flight, not the object. Providers that keep objects in memory hold the object itself as well."""
        bucket = await opened()
        held = 48 << 20 if bucket.provider == "memory" else 0
        gc.collect()
        tracemalloc.start()
        try:
            await bucket.put("object", chunks(48, 1 << 20))
            digest = hashlib.sha256()
            async for chunk in bucket.open("object"):
                digest.update(chunk)
            assert tracemalloc.get_traced_memory()[1] < self.memory_limit + held
        finally:
            tracemalloc.stop()
        assert digest.hexdigest() == hashlib.sha256(b"".join([chunk async for chunk in chunks(48, 1 << 20)])).hexdigest()

    async def test_a_writer_stores_when_its_block_ends(self, opened: Any) -> None:
        bucket = await opened()
        data = pattern(3_000_000)
        async with bucket.writer("folder/object", content_type="x/y", metadata={"A": "b"}) as writer:
            for start in range(0, len(data), 1 << 16):
                assert await writer.write(data[start : start + (1 << 16)]) == len(data[start : start + (1 << 16)])
            assert not await bucket.exists("folder/object")
        assert writer.info == await bucket.head("folder/object")
        assert (writer.info.content_type, dict(writer.info.metadata)) == ("x/y", {"a": "b"})
        assert await bucket.get("folder/object") == data
        async with bucket.writer("empty"):
            pass
        assert await bucket.get("empty") == b""

    async def test_a_writer_whose_block_fails_stores_nothing(self, opened: Any) -> None:
        """Cases 6 and 8."""
        bucket = await opened()
        old = await bucket.put("object", b"old")
        for size in (10, 5_000_000):
            for key in ("object", "new/object"):
                with pytest.raises(SourceFailedError):
                    async with bucket.writer(key) as writer:
                        await writer.write(b"x" * size)
                        raise SourceFailedError
        with pytest.raises(DigestMismatchError):
            async with bucket.writer("object", digest="0" * 64) as writer:
                await writer.write(b"x" * 3_000_000)
        assert await bucket.head("object") == old
        assert await self.everything(bucket) == ["object"]

    async def test_files_are_put_and_got_with_progress(self, opened: Any, tmp_path: Path) -> None:
        bucket = await opened(chunk_size=1 << 16)
        data = pattern(300_000)
        source, target = tmp_path / "source.bin", tmp_path / "target.bin"
        source.write_bytes(data)
        target.write_bytes(b"old")
        steps: list[tuple[int, int | None]] = []

        def note(done: int, total: int | None) -> None:
            steps.append((done, total))

        info = await bucket.put_file("object", source, progress=note, metadata={"a": "b"})
        assert info.size == len(data)
        assert steps[-1] == (len(data), len(data))
        assert len(steps) >= 4
        assert [done for done, _ in steps] == sorted(done for done, _ in steps)
        steps.clear()
        assert await bucket.get_file("object", target, progress=note) == info
        assert target.read_bytes() == data
        assert steps[-1] == (len(data), len(data))
        with pytest.raises(FileNotFoundError):
            await bucket.put_file("object", tmp_path / "missing")
        assert await bucket.head("object") == info

    async def test_a_download_that_fails_leaves_the_old_file(self, opened: Any, tmp_path: Path) -> None:
        bucket = await opened(chunk_size=1 << 16)
        await bucket.put("object", pattern(300_000))
        target = tmp_path / "target"
        target.write_bytes(b"old")

        def refuse(done: int, total: int | None) -> None:
            if done > 100_000 and total:
                raise SourceFailedError

        with pytest.raises(SourceFailedError):
            await bucket.get_file("object", target, progress=refuse)
        with pytest.raises(ObjectNotFoundError):
            await bucket.get_file("missing", target)
        assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["target"]
        assert target.read_bytes() == b"old"
