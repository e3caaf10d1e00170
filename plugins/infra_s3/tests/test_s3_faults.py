"""What breaks on the way to the server, and what is set wrongly."""

from __future__ import annotations

import hashlib
import threading

import pytest
from botocore import exceptions as sdk
from botocore.exceptions import ClientError

from infra.errors import ErrorCode
from infra.storage import IntegrityError, ObjectExistsError, PreconditionFailedError, PutOptions, StorageError
from infra_s3 import driver as driver_module
from infra_s3.failures import classify
from infra_testing.harness import Harness
from infra_testing.proxy import Direction
from infra_testing.services.ports import lease_port

PART = 5 << 20
OPERATIONS = {
    "get": lambda bucket: bucket.get("object"),
    "head": lambda bucket: bucket.head("object"),
    "put": lambda bucket: bucket.put("object", b"x"),
    "delete": lambda bucket: bucket.delete("object"),
    "copy": lambda bucket: bucket.copy("object", "other"),
    "list": lambda bucket: bucket.list().page(),
    "ping": lambda bucket: bucket.ping(),
}


def check_line(error, code, settings):
    """One clear line without a secret."""
    text = str(error)
    assert error.code == code
    assert error.remedy
    assert "\n" not in text
    assert len(text) < 500
    assert settings["secret_access_key"] not in text


def leftover_parts(client, name):
    return client.list_multipart_uploads(Bucket=name).get("Uploads", [])


def test_an_upload_that_is_reset_leaves_the_old_object_and_no_parts(moto_server, fault_proxy, make_bucket, place):
    settings, client = make_bucket(moto_server, conditional_writes=True)
    proxy = fault_proxy(moto_server)
    harness = Harness("s3", {**settings, "endpoint": proxy.url_of(moto_server.url), "attempts": 1, "part_size": PART})
    with harness.open("storage", place) as bucket:
        old = bucket.put("object", b"old")
        proxy.truncate(PART // 2, Direction.TO_SERVER, then="reset")
        for size in (PART, 2 * PART + 1):
            with pytest.raises(StorageError) as caught:
                bucket.put("object", b"x" * size)
            assert caught.value.code == ErrorCode.UNAVAILABLE
            assert caught.value.retryable
        proxy.heal()
        assert bucket.head("object") == old
        assert leftover_parts(client, settings["bucket"]) == []
        assert bucket.put("object", b"x" * (2 * PART + 1)).size == 2 * PART + 1


def test_a_body_that_ends_early_is_no_object(rclone_server, fault_proxy, make_bucket, place):
    settings, client = make_bucket(rclone_server, conditional_writes=False)
    data = b"x" * 1_000_000
    client.put_object(Bucket=settings["bucket"], Key="object", Body=data)
    proxy = fault_proxy(rclone_server)
    with Harness("s3", {**settings, "endpoint": proxy.url_of(rclone_server.url)}).open("storage", place) as bucket:
        proxy.truncate(500_000)
        with pytest.raises(IntegrityError) as caught:
            bucket.get("object")
        assert caught.value.code == ErrorCode.DATA_LOSS
        with pytest.raises(IntegrityError):
            list(bucket.open("object"))
        proxy.heal()
        assert bucket.get("object") == data


def test_a_changed_body_is_found_out(rclone_server, make_bucket, place):
    settings, client = make_bucket(rclone_server, conditional_writes=False)
    digest = hashlib.sha256(b"what was written").hexdigest()
    client.put_object(Bucket=settings["bucket"], Key="object", Body=b"what is there", Metadata={"infra-sha256": digest})
    with Harness("s3", settings).open("storage", place) as bucket, pytest.raises(IntegrityError, match="SHA-256"):
        bucket.get("object")


def test_parts_are_conditional_at_their_completion(moto_server, make_bucket, place):
    settings, client = make_bucket(moto_server, conditional_writes=True, part_size=PART)
    with Harness("s3", settings).open("storage", place) as bucket:
        info = bucket.put("object", b"x" * (PART + 1), mode="create")
        with pytest.raises(ObjectExistsError):
            bucket.put("object", iter([b"y" * PART, b"y"]), mode="create")
        (raw,) = bucket.driver.unwrap()
        sent = []
        raw.meta.events.register("before-call.s3.CompleteMultipartUpload", lambda params, **_: sent.append(params["headers"]))
        bucket.put("object", b"z" * (PART + 1), mode=info.etag)
        assert sent[0]["If-Match"] == f'"{info.etag}"'
        with pytest.raises(PreconditionFailedError):
            bucket.put("none", b"x", mode=info.etag)
        assert bucket.head("object").size == PART + 1
    assert leftover_parts(client, settings["bucket"]) == []


@pytest.mark.parametrize("operation", ["PutObject", "CompleteMultipartUpload"])
def test_a_write_whose_answer_was_lost_is_known_for_ones_own(moto_server, make_bucket, make_driver, operation):
    settings, _ = make_bucket(moto_server, conditional_writes=True, part_size=PART)
    driver = make_driver(settings)
    (client,) = driver.unwrap()
    lost = threading.Event()

    def lose(request, **_):
        if not lost.is_set():
            lost.set()
            client._endpoint.http_session.send(request)
            raise sdk.ConnectionClosedError(endpoint_url=request.url)

    client.meta.events.register(f"before-send.s3.{operation}", lose)
    body = b"x" * (PART + 1 if operation == "CompleteMultipartUpload" else 10)
    info = driver.put("object", body, PutOptions(create=True), 30)
    assert lost.is_set()
    assert driver.head("object", 30).etag == info.etag
    with pytest.raises(Exception, match="already") as caught:
        driver.put("object", body, PutOptions(create=True), 30)
    assert driver.classify(caught.value) == ErrorCode.ALREADY_EXISTS


def test_a_large_object_is_copied_in_parts(moto_server, make_bucket, place, monkeypatch):
    monkeypatch.setattr(driver_module, "_LARGEST_COPY", PART)
    monkeypatch.setattr(driver_module, "_COPY_PART", PART)
    settings, client = make_bucket(moto_server, conditional_writes=True)
    data = b"ab" * PART + b"c"
    with Harness("s3", settings).open("storage", place) as bucket:
        source = bucket.put("source", data, content_type="x/y", metadata={"a": "ü"}, digest=hashlib.sha256(data).hexdigest())
        copied = bucket.copy("source", "target")
        assert (copied.size, copied.sha256, copied.content_type, copied.metadata) == (
            len(data),
            source.sha256,
            "x/y",
            {"a": "ü"},
        )
        assert bucket.get("target") == data
        assert bucket.head("target") == copied
        bucket.put("empty", b"")
        assert bucket.copy("empty", "new", mode="create").size == 0
    assert leftover_parts(client, settings["bucket"]) == []


def test_a_wrong_secret_is_one_clear_line(rclone_server, make_bucket, place):
    settings, _ = make_bucket(rclone_server, conditional_writes=False)
    wrong = {**settings, "secret_access_key": "not-the-secret-of-it"}
    with Harness("s3", wrong).open("storage", place) as bucket:
        for name in ("get", "put", "list", "ping"):
            with pytest.raises(StorageError) as caught:
                OPERATIONS[name](bucket)
            check_line(caught.value, ErrorCode.UNAUTHENTICATED, wrong)


def test_a_server_that_does_not_listen_is_one_clear_line(place):
    lease = lease_port()
    try:
        for endpoint in (f"http://127.0.0.1:{lease.port}", "http://no-such-host.invalid"):
            settings = {"bucket": "bucket", "endpoint": endpoint, "access_key_id": "key", "secret_access_key": "not-to-be-shown"}
            with Harness("s3", {**settings, "attempts": 1, "conditional_writes": True}).open("storage", place) as bucket:
                for operation in OPERATIONS.values():
                    with pytest.raises(StorageError) as caught:
                        operation(bucket)
                    check_line(caught.value, ErrorCode.UNAVAILABLE, settings)
                    assert caught.value.retryable
                assert bucket.health().status == "down"
    finally:
        lease.release()


def test_a_missing_bucket_is_one_clear_line(moto_server, make_bucket, place):
    settings, _ = make_bucket(moto_server, conditional_writes=True)
    missing = {**settings, "bucket": "no-such-bucket-anywhere"}
    for operation in OPERATIONS.values():
        with Harness("s3", missing).open("storage", place) as bucket:
            with pytest.raises(StorageError, match="bucket") as caught:
                operation(bucket)
            check_line(caught.value, ErrorCode.CONFIGURATION, missing)


def refused(code, status, operation="PutObject"):
    return ClientError({"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}}, operation)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (refused("NoSuchKey", 404), ErrorCode.NOT_FOUND),
        (refused("404", 404, "HeadObject"), ErrorCode.NOT_FOUND),
        (refused("404", 404, "HeadBucket"), ErrorCode.CONFIGURATION),
        (refused("NoSuchBucket", 404), ErrorCode.CONFIGURATION),
        (refused("ConditionalRequestConflict", 409), ErrorCode.UNAVAILABLE),
        (refused("SomethingElse", 409), ErrorCode.UNAVAILABLE),
        (refused("SlowDown", 503), ErrorCode.RATE_LIMITED),
        (refused("InternalError", 500), ErrorCode.UNAVAILABLE),
        (refused("InternalError", 200, "CompleteMultipartUpload"), ErrorCode.UNAVAILABLE),
        (refused("ExpiredToken", 400), ErrorCode.UNAUTHENTICATED),
        (refused("AccessDenied", 403), ErrorCode.PERMISSION_DENIED),
        (refused("SomethingNew", 403), ErrorCode.PERMISSION_DENIED),
        (refused("SomethingNew", 400), ErrorCode.INTERNAL),
        (sdk.NoCredentialsError(), ErrorCode.UNAUTHENTICATED),
        (sdk.ConnectTimeoutError(endpoint_url="x"), ErrorCode.TIMEOUT),
        (sdk.ReadTimeoutError(endpoint_url="x"), ErrorCode.TIMEOUT),
        (sdk.EndpointConnectionError(endpoint_url="x"), ErrorCode.UNAVAILABLE),
        (sdk.IncompleteReadError(actual_bytes=1, expected_bytes=2), ErrorCode.DATA_LOSS),
        (ValueError("not the SDK's"), None),
    ],
)
def test_errors_are_classified_by_code_and_status(error, code):
    assert classify(error) == code
