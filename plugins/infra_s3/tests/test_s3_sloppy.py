"""Servers of the protocol that lack a part of it: what is asked for is done in another way, or refused, never done wrongly."""

from __future__ import annotations

import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import pytest

from infra.errors import ErrorCode, UnsupportedError
from infra.storage import PreconditionFailedError, StorageError
from infra_testing.harness import Harness

DATA = b"0123456789"
PART = 5 << 20


class Sloppy(BaseHTTPRequestHandler):
    """One object of ten bytes. `ranges` and `many` are how it answers Range and DeleteObjects."""

    protocol_version = "HTTP/1.1"
    ranges = "ignored"
    many = "lacking"
    deleted: list[str]

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in {
            "Content-Length": str(len(body)),
            "ETag": '"e"',
            "Last-Modified": "Sat, 28 Nov 2026 06:00:00 GMT",
            **headers,
        }.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if asked is None or self.ranges == "ignored":
            return self.answer(200, DATA)
        start = int(asked[1]) if asked[1] else 10 - int(asked[2])
        end = min(int(asked[2]), 9) if asked[1] and asked[2] else 9
        said = {"shifted": f"bytes {start + 1}-{end + 1}/10", "unsized": f"bytes {start}-{end}/*", "unsaid": None}[self.ranges]
        return self.answer(206, DATA[start : end + 1], **({"Content_Range": said} if said else {}))

    do_HEAD = do_GET

    def do_PUT(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.answer(200)

    def do_DELETE(self):
        self.deleted.append(unquote(urlsplit(self.path).path.rpartition("/")[2]))
        self.answer(204)

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.many == "digest" and "Content-MD5" in self.headers:
            self.deleted.append("by digest")
            return self.answer(200, b"<DeleteResult/>")
        return self.answer(
            *{
                "lacking": (501, b"<Error><Code>NotImplemented</Code></Error>"),
                "no method": (405, b"<Error><Code>MethodNotAllowed</Code></Error>"),
                "garbage": (200, b"not <xml"),
                "digest": (400, b"<Error><Code>MissingContentMD5</Code></Error>"),
                "denied": (403, b"<Error><Code>AccessDenied</Code></Error>"),
            }[self.many]
        )

    def log_message(self, *_):
        pass


@pytest.fixture
def sloppy(place):
    opened = []

    def start(**ways):
        kind = type("Ways", (Sloppy,), {**ways, "deleted": []})
        server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        settings = {"bucket": "bucket", "endpoint": endpoint, "access_key_id": "key", "secret_access_key": "s", "conditional_writes": False}
        bucket = Harness("s3", settings).open("storage", place)
        opened.append((server, bucket))
        return bucket, kind.deleted

    yield start
    for server, bucket in opened:
        bucket.close()
        server.shutdown()
        server.server_close()


RANGES = [
    (5, 2, b"56"),
    (-3, None, b"789"),
    (-3, 2, b"78"),
    (8, 100, b"89"),
    (0, 4, b"0123"),
    (100, 5, b""),
    (-100, 3, b"012"),
    (10, None, b""),
]


@pytest.mark.parametrize(("offset", "length", "expected"), RANGES)
def test_a_server_that_ignores_ranges_gives_the_right_bytes(sloppy, offset, length, expected):
    bucket, _ = sloppy()
    assert bucket.get_range("key", offset, length) == expected
    assert b"".join(bucket.open("key", offset=offset, length=length)) == expected


@pytest.mark.parametrize("ranges", ["shifted", "unsized", "unsaid"])
def test_a_range_that_is_not_the_one_asked_for_is_no_answer(sloppy, ranges):
    bucket, _ = sloppy(ranges=ranges)
    for offset, length in ((5, 2), (-3, None)):
        with pytest.raises(StorageError):
            bucket.get_range("key", offset, length)
    assert bucket.get("key") == DATA


@pytest.mark.parametrize(("many", "expected"), [("lacking", "ab"), ("no method", "ab"), ("garbage", "ab"), ("digest", ["by digest"])])
def test_many_are_deleted_where_the_server_cannot_delete_many(sloppy, many, expected):
    bucket, deleted = sloppy(many=many)
    bucket.delete_many(["a", "b"])
    assert deleted == list(expected)


def test_what_may_not_be_deleted_is_not_tried_again_one_by_one(sloppy):
    bucket, deleted = sloppy(many="denied")
    with pytest.raises(StorageError) as caught:
        bucket.delete_many(["a", "b"])
    assert caught.value.code == ErrorCode.PERMISSION_DENIED
    assert not deleted


def test_conditions_are_probed_at_the_completion_of_parts(moto_server, make_bucket, place):
    """moto checks If-Match of one request, and not at the completion of parts."""
    settings, client = make_bucket(moto_server, part_size=PART)
    with Harness("s3", settings).open("storage", place) as bucket:
        stale = bucket.put("object", b"first").etag
        bucket.put("object", b"second")
        with pytest.raises(PreconditionFailedError):
            bucket.put("object", b"x" * (PART + 1), mode=stale)
        with pytest.raises((PreconditionFailedError, UnsupportedError)):
            bucket.put("object", iter([b"x" * PART, b"x"]), mode=stale)
        assert bucket.get("object") == b"second"
    assert not client.list_multipart_uploads(Bucket=settings["bucket"]).get("Uploads")


def test_a_bucket_keeps_its_case_in_a_url():
    from infra_s3.settings import S3Settings

    for url, bucket in (
        ("s3://MyBucket/media", "MyBucket"),
        ("s3://Key:Sec@My.Bucket_1", "My.Bucket_1"),
        ("s3://other?bucket=Named", "Named"),
    ):
        assert S3Settings.expand_url(url)["bucket"] == bucket
