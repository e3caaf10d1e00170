import pytest

from infra.storage.content_type import content_type_of, sniff
from infra.storage.rules import key_problem, lower_cased, metadata_problem, prefix_problem


@pytest.mark.parametrize("key", ["a", "a/b", ".a", "a.", "...", "a..b", "é" * 512, "x" * 1024, "a b", "%2e%2e/x", "-"])
def test_keys_that_are_fine(key):
    assert key_problem(key) is None
    assert prefix_problem(key) is None


@pytest.mark.parametrize(
    "key", ["", "/", "a/", "/a", "a//b", ".", "..", "a/..", "./a", "a/./b", "a\\b", "a\0", "\x7f", "\x9f", "x" * 1025, "\ud800"]
)
def test_keys_that_are_refused(key):
    assert key_problem(key)


@pytest.mark.parametrize(
    ("prefix", "fine"),
    [("", True), ("a/", True), ("a/.", True), ("a/..", True), ("../", False), ("/", False), ("a//", False), ("a\n", False)],
)
def test_a_prefix_is_the_beginning_of_a_key(prefix, fine):
    assert (prefix_problem(prefix) is None) is fine


def test_metadata_is_private_and_lower_cased():
    given = {"Name": "x"}
    kept = lower_cased(given)
    given["Name"] = "y"
    assert kept == {"name": "x"}
    assert lower_cased(None) == {}


@pytest.mark.parametrize("metadata", [{"a b": ""}, {"a": "\n"}, {"a": " x"}, {"A": "", "a": ""}, {"a": "x" * 2048}, {"a": "\ud800"}])
def test_metadata_that_is_refused(metadata):
    assert metadata_problem(metadata)


@pytest.mark.parametrize(
    ("beginning", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\0\0\0\0WEBPVP8", "image/webp"),
        (b"RIFF\0\0\0\0WAVEfmt", "audio/wav"),
        (b"\0\0\0\x18ftypmp42", "video/mp4"),
        (b"\0\0\0\x18ftypavif", "image/avif"),
        (b"ID3\x03", "audio/mpeg"),
        (b"%PDF-1.7", "application/pdf"),
        (b"  <!DOCTYPE HTML><p>", "text/html"),
        (b"<?xml version='1.0'?><svg>", "image/svg+xml"),
        (b"<svg onload=alert(1)>", "image/svg+xml"),
        (b"<?xml version='1.0'?><x>", "text/xml"),
        (b"plain", "text/plain; charset=utf-8"),
        (b"a" + "ü".encode() * 300, "text/plain; charset=utf-8"),
        (b"\xc3(", "application/octet-stream"),
        (b"a\0b", "application/octet-stream"),
        (b"", "application/octet-stream"),
    ],
)
def test_first_bytes_tell_the_type(beginning, kind):
    assert sniff(beginning) == kind


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("a/b.JPG", "image/jpeg"),
        ("x.tar.gz", "application/gzip"),
        (".json", "text/plain; charset=utf-8"),
        ("v1.2/x", "text/plain; charset=utf-8"),
    ],
)
def test_the_extension_decides_first(key, kind):
    assert content_type_of(key, b"text") == kind
