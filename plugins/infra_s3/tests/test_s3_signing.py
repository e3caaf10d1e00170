"""Signatures and integrity on rclone's server, which checks the first; life of signed URLs and rotation of keys."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from infra.errors import ErrorCode, UnsupportedError
from infra.storage import StorageError
from infra_testing.conformance.storage._async.addresses import AsyncAddressCases
from infra_testing.conformance.storage._sync.addresses import AddressCases
from infra_testing.harness import Harness


class OnRclone:
    @pytest.fixture(autouse=True)
    def bucket_of_its_own(self, rclone_server, make_bucket):
        settings, _ = make_bucket(rclone_server, conditional_writes=False)
        self.harness = Harness("s3", settings)

    @pytest.fixture
    def place(self, place):
        return place


class TestRclone(OnRclone, AddressCases):
    pass


class TestAsyncRclone(OnRclone, AsyncAddressCases):
    pass


def test_a_server_that_ignores_conditions_is_found_out(rclone_server, make_bucket, place):
    settings, client = make_bucket(rclone_server)
    with Harness("s3", settings).open("storage", place) as bucket:
        assert not {"conditional_create", "conditional_update", "conditional_copy"} & bucket.features
        with pytest.raises(UnsupportedError):
            bucket.put("object", b"x", mode="create")
    assert "Contents" not in client.list_objects_v2(Bucket=settings["bucket"])


def test_a_server_that_checks_conditions_is_found_out(moto_server, make_bucket, place):
    settings, client = make_bucket(moto_server)
    with Harness("s3", settings).open("storage", place) as bucket:
        assert {"conditional_create", "conditional_update", "conditional_copy"} <= bucket.features
    assert "Contents" not in client.list_objects_v2(Bucket=settings["bucket"])


def test_a_signed_url_ends_with_the_credentials(make_driver, monkeypatch, tmp_path):
    ends = (datetime.now(UTC) + timedelta(minutes=30)).replace(microsecond=0)
    found = {"Version": 1, "AccessKeyId": "key", "SecretAccessKey": "secret", "SessionToken": "token", "Expiration": ends.isoformat()}
    (tmp_path / "found.json").write_text(json.dumps(found))
    command = f"{sys.executable} -c \"print(open('{tmp_path / 'found.json'}').read())\""
    (tmp_path / "config").write_text(f"[profile test]\ncredential_process = {command}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    driver = make_driver({"bucket": "bucket", "region": "eu-central-1", "profile": "test"})
    signed = driver.sign("GET", "object", 7200, {})
    assert ends - timedelta(seconds=3) <= signed.expires_at <= ends
    assert int(parse_qs(urlsplit(signed.url).query)["X-Amz-Expires"][0]) <= 1800
    short = driver.sign("GET", "object", 60, {})
    assert short.expires_at < datetime.now(UTC) + timedelta(seconds=61)


def test_a_signature_has_limits(make_driver):
    driver = make_driver({"bucket": "bucket", "region": "eu-central-1", "access_key_id": "key", "secret_access_key": "secret"})
    for expires, headers, what in ((8 * 86400, {}, "seven days"), (60, {"x-other": "1"}, "x-other")):
        with pytest.raises(Exception, match=what) as caught:
            driver.sign("GET", "object", expires, headers)
        assert driver.classify(caught.value) == ErrorCode.UNSUPPORTED
    signed = driver.sign("PUT", "object", 60, {"X-Amz-Meta-Owner": "ann", "Content-Type": "x/y"})
    assert parse_qs(urlsplit(signed.url).query)["X-Amz-SignedHeaders"] == ["content-type;host;x-amz-meta-owner"]


def test_a_rotated_key_signs_the_next_request(rclone_server, make_bucket, place, tmp_path):
    settings, _ = make_bucket(rclone_server)
    secret = tmp_path / "secret"
    secret.write_text("the wrong one")
    harness = Harness("s3", {**settings, "secret_access_key": f"file:{secret}", "conditional_writes": False})
    with harness.open("storage", place) as bucket:
        with pytest.raises(StorageError):
            bucket.put("object", b"data")
        secret.write_text(settings["secret_access_key"])
        bucket.put("object", b"data")
        assert bucket.get("object") == b"data"


def test_the_digest_is_kept_out_of_sight(rclone_server, make_bucket, place):
    settings, client = make_bucket(rclone_server)
    with Harness("s3", {**settings, "conditional_writes": False}).open("storage", place) as bucket:
        info = bucket.put("object", b"data", metadata={"Owner": "Grüße"})
        raw = client.head_object(Bucket=settings["bucket"], Key="object")["Metadata"]
        assert info.sha256 in raw.values()
        read = bucket.head("object")
        assert (read.sha256, read.metadata["owner"]) == (info.sha256, "Grüße")
        assert not [name for name in read.metadata if name.startswith("infra")]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"bucket": "media", "region": "eu-west-1"}, "https://media.s3.eu-west-1.amazonaws.com/a%20b/%C3%BC"),
        ({"bucket": "media"}, "https://media.s3.amazonaws.com/a%20b/%C3%BC"),
        ({"bucket": "me.dia", "region": "eu-west-1"}, "https://s3.eu-west-1.amazonaws.com/me.dia/a%20b/%C3%BC"),
        ({"bucket": "media", "region": "cn-north-1"}, "https://media.s3.cn-north-1.amazonaws.com.cn/a%20b/%C3%BC"),
        ({"bucket": "media", "endpoint": "http://minio:9000/"}, "http://minio:9000/media/a%20b/%C3%BC"),
    ],
)
def test_the_public_address(make_driver, settings, expected):
    assert make_driver({**settings, "conditional_writes": True}).public_url("a b/ü") == expected


def test_a_url_names_everything():
    from infra_s3.settings import S3Settings

    fields = S3Settings.expand_url("s3://media/images/2026?region=eu-west-1&endpoint=http://minio:9000")
    assert fields == {"bucket": "media", "prefix": "images/2026", "region": "eu-west-1", "endpoint": "http://minio:9000"}
    for wrong in ({"endpoint": "minio:9000"}, {"access_key_id": "key"}, {"bucket": "x"}, {"part_size": 1 << 20}):
        with pytest.raises(ValueError):
            S3Settings(**{"bucket": "media", **wrong})
