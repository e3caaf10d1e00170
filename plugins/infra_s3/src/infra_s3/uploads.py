"""Objects in parts: uploads and copies that are complete or leave nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from os import SEEK_CUR, SEEK_END, SEEK_SET
from typing import Any, Final

from infra.errors import ErrorCode
from infra_s3.failures import Refusal

MAX_PARTS: Final = 10_000
_MIB: Final = 1 << 20

#: The bytes of a part.
Part = bytes | memoryview
#: ``send(number, part, upload)``: the SDK's arguments that name the object and the upload; gives the part's ETag.
Send = Callable[[int, Any, Mapping[str, Any]], str]


class PartBody:
    """A part as a file of the SDK's: what it reads, to hash and to send, are views, not copies.

    Args:
        part: The bytes.
    """

    __slots__ = ("_part", "_place")

    def __init__(self, part: memoryview) -> None:
        self._part = part
        self._place = 0

    def __len__(self) -> int:
        return len(self._part)

    def read(self, size: int | None = -1) -> memoryview:
        """The next `size` bytes, or all that are left."""
        start = self._place
        self._place = len(self._part) if size is None or size < 0 else min(start + size, len(self._part))
        return self._part[start : self._place]

    def tell(self) -> int:
        """Where it stands."""
        return self._place

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        """Go to a place; each attempt begins at the first."""
        origin = {SEEK_SET: 0, SEEK_CUR: self._place, SEEK_END: len(self._part)}[whence]
        self._place = max(0, origin + offset)
        return self._place


class Uploads:
    """The multipart uploads of one bucket.

    Args:
        client: Gives the SDK's client.
        concurrency: Parts under way at once.
    """

    def __init__(self, client: Callable[[], Any], concurrency: int) -> None:
        self._client = client
        self._concurrency = concurrency
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="infra-s3-parts")

    def close(self) -> None:
        """Refuse further parts."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def upload(
        self, target: Mapping[str, str], parts: Iterable[Part], attributes: Mapping[str, Any], condition: Mapping[str, str]
    ) -> dict[str, Any]:
        """Store the parts as one object, if `condition` holds at the end. The answer to its completion."""

        def send(number: int, part: Part, upload: Mapping[str, Any]) -> str:
            body = PartBody(part) if isinstance(part, memoryview) else part
            return self._client().upload_part(PartNumber=number, Body=body, **upload)["ETag"]

        return self._run(target, parts, send, attributes, condition)

    def copy(
        self,
        source: Mapping[str, str],
        etag: str,
        target: Mapping[str, str],
        ranges: Iterable[str],
        attributes: Mapping[str, Any],
        condition: Mapping[str, str],
    ) -> dict[str, Any]:
        """Copy `ranges` of an object, as long as it has that ETag. The answer to its completion."""

        def send(number: int, part: str, upload: Mapping[str, Any]) -> str:
            answer = self._client().upload_part_copy(
                PartNumber=number, CopySource=dict(source), CopySourceRange=part, CopySourceIfMatch=etag, **upload
            )
            return answer["CopyPartResult"]["ETag"]

        return self._run(target, ranges, send, attributes, condition)

    def _run(
        self, target: Mapping[str, str], parts: Iterable[Any], send: Send, attributes: Mapping[str, Any], condition: Mapping[str, str]
    ) -> dict[str, Any]:
        client = self._client()
        created = client.create_multipart_upload(**target, **attributes)
        upload = {**target, "UploadId": created["UploadId"]}
        try:
            done = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(self._send_all(parts, send, upload), 1)]
            return client.complete_multipart_upload(**upload, MultipartUpload={"Parts": done}, **condition)
        except BaseException as error:
            try:
                client.abort_multipart_upload(**upload)
            except Exception as failure:
                error.add_note(f"its parts were not deleted: {failure}")
            raise

    def _send_all(self, parts: Iterable[Any], send: Send, upload: Mapping[str, Any]) -> Iterator[str]:
        under_way: deque[Future[str]] = deque()
        try:
            for number, part in enumerate(parts, 1):
                if number > MAX_PARTS:
                    raise Refusal(ErrorCode.UNSUPPORTED, f"the object has more than {MAX_PARTS} parts: give its size, or raise part_size")
                under_way.append(self._threads.submit(send, number, part, upload))
                if len(under_way) >= self._concurrency:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            # A part that arrives after the upload was aborted would stay.
            for future in under_way:
                future.cancel()
            wait(under_way)


def part_size_for(size: int | None, part_size: int) -> int:
    """The part size, in bytes: larger where `size` bytes would not fit into the parts that an object may have."""
    if size is None or size <= part_size * MAX_PARTS:
        return part_size
    return -(-size // MAX_PARTS // _MIB) * _MIB


def ranges_of(size: int, part_size: int) -> Iterator[str]:
    """The ranges of an object of `size` bytes, as headers."""
    for start in range(0, size, part_size):
        yield f"bytes={start}-{min(start + part_size, size) - 1}"


def parts_of(body: bytes | Iterable[bytes], size: int) -> Iterator[Part]:
    """Parts of `size` bytes; the last one may be shorter. Those of one object in memory are views of it."""
    if isinstance(body, bytes):
        whole = memoryview(body)
        for start in range(0, len(body), size):
            yield whole[start : start + size]
        return
    held: list[bytes | memoryview] = []
    length = 0
    for block in body:
        rest = memoryview(block)
        while length + len(rest) >= size:
            room = size - length
            held.append(rest[:room])
            part = b"".join(held)
            held.clear()
            length, rest = 0, rest[room:]
            yield part
            del part
        if rest:
            held.append(rest)
            length += len(rest)
    if held:
        yield b"".join(held)
