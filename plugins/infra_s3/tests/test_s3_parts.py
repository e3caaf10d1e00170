"""Parts that are views: the SDK must hash and send them as it would the bytes."""

from __future__ import annotations

import io
import os

from botocore.httpchecksum import AwsChunkedWrapper, Crc32Checksum

from infra_s3.uploads import PartBody, parts_of

DATA = os.urandom((3 << 20) + 7)


def test_checksums_of_a_view_are_those_of_its_bytes():
    assert Crc32Checksum().handle(PartBody(memoryview(DATA))) == Crc32Checksum().handle(DATA)


def test_a_view_travels_in_chunks_and_again_after_a_failed_attempt():
    def sent(body):
        chunks = AwsChunkedWrapper(body, checksum_cls=Crc32Checksum, checksum_name="x-amz-checksum-crc32")
        first = chunks.read()
        chunks.seek(0)
        assert chunks.read() == first
        return first

    assert sent(PartBody(memoryview(DATA))) == sent(io.BytesIO(DATA))


def test_parts_of_bytes_share_their_memory():
    parts = list(parts_of(DATA, 1 << 20))
    assert b"".join(parts) == DATA
    assert all(part.obj is DATA for part in parts)
