"""Storage on S3.

The portable call, the bare driver and the peers beside boto3, on rclone's S3 server over a folder. Every portable put records the body's
SHA-256 and every portable get checks it: where a large object makes that the bulk of the work, the yardsticks do so too ("+ SHA-256").
Over plain HTTP the SDK signs the payload as well, which hashes it once more, on both sides of the comparison.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable
from itertools import count as counter
from typing import Any

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from harness import Bench, Contender

from infra.storage.model import PutOptions
from infra_testing.services import RcloneServer

SMALL = os.urandom(4 << 10)
LARGE = os.urandom(64 << 20)
LISTED = 1_000
BUCKET = "bench"
TIMEOUT = 60.0
PARTS = "above 8 MiB a body travels in parts, each of which can be sent again and several at once; this server has to join them"


def measure(bench: Bench) -> None:
    """Small and large objects, and a listing."""
    bench.packages += ["infra-s3", "boto3", "botocore"]
    server = bench.serve(RcloneServer)
    client = raw_client(server)
    client.create_bucket(Bucket=BUCKET)
    for number in range(LISTED):
        (server.data / BUCKET / "listed").mkdir(exist_ok=True)
        (server.data / BUCKET / "listed" / f"{number:04}").write_bytes(b"x")
    settings: dict[str, Any] = {
        "bucket": BUCKET,
        "endpoint": server.url,
        "access_key_id": server.access_key,
        "secret_access_key": server.secret_key,
        "region": server.region,
    }
    foreign = bench.foreign(
        "s3fs_peer",
        endpoint=server.url,
        key=server.access_key,
        secret=server.secret_key,
        bucket=BUCKET,
        small=len(SMALL),
        large=len(LARGE),
    )
    bucket = bench.open("storage", "s3", **settings)
    small(bench, client, bucket, foreign)
    concurrent(bench, client, bucket)
    large(bench, client, bucket, foreign)


def raw_client(server: RcloneServer) -> Any:
    """boto3 as one sets it up for a server of one's own."""
    config = Config(
        s3={"addressing_style": "path"},
        max_pool_connections=32,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return boto3.client(
        "s3",
        endpoint_url=server.url,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        region_name=server.region,
        config=config,
    )


def small(bench: Bench, client: Any, bucket: Any, foreign: Any) -> None:
    """Objects of 4 KiB, and a listing of many."""
    names = counter()
    options = PutOptions(content_type="application/octet-stream")
    bench.compare(
        "put 4 KiB",
        Contender("boto3", bench.repeat(lambda: client.put_object(Bucket=BUCKET, Key=f"raw/{next(names) % 50}", Body=SMALL))),
        Contender("driver", bench.repeat(lambda: bucket.driver.put(f"driver/{next(names) % 50}", SMALL, options, TIMEOUT))),
        Contender("portable", bench.repeat(lambda: bucket.put(f"portable/{next(names) % 50}", SMALL)), 1.05),
        foreign("s3fs", "put small"),
        operations=40,
    )
    client.put_object(Bucket=BUCKET, Key="small-raw", Body=SMALL)
    bucket.put("small", SMALL)
    bench.compare(
        "get 4 KiB",
        Contender("boto3", bench.repeat(lambda: client.get_object(Bucket=BUCKET, Key="small-raw")["Body"].read())),
        Contender("driver", bench.repeat(lambda: read_by_driver(bucket, "small"))),
        Contender("portable", bench.repeat(lambda: bucket.get("small")), 1.05),
        foreign("s3fs", "get small"),
        operations=40,
    )
    bench.compare(
        f"list {LISTED}",
        Contender("boto3", bench.repeat(lambda: list_raw(client))),
        Contender("driver", bench.repeat(lambda: bucket.driver.list_page("listed/", None, None, 1000, TIMEOUT))),
        Contender("portable", bench.repeat(lambda: list(bucket.list("listed/"))), 1.05),
        foreign("s3fs", "list"),
        operations=2,
    )


def list_raw(client: Any) -> list[Any]:
    """All pages."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="listed/")
    return [entry for page in pages for entry in page.get("Contents", ())]


def concurrent(bench: Bench, client: Any, bucket: Any) -> None:
    """Small objects by several threads."""
    names = counter()
    bench.compare(
        "put 4 KiB by 8 threads",
        Contender(
            "boto3",
            bench.repeat_threads(lambda: client.put_object(Bucket=BUCKET, Key=f"raw/{next(names) % 50}", Body=SMALL), threads=8),
        ),
        Contender("portable", bench.repeat_threads(lambda: bucket.put(f"portable/{next(names) % 50}", SMALL), threads=8), 1.05),
        operations=80,
    )


def large(bench: Bench, client: Any, bucket: Any, foreign: Any) -> None:
    """Objects of 64 MiB. The yardstick is the fastest way of boto3 that also hashes; which that is depends on the server."""
    config = TransferConfig(multipart_chunksize=8 << 20, max_concurrency=4)
    at = {"Bucket": BUCKET, "Key": "large-raw"}
    size = f"{len(LARGE) >> 20} MiB"

    def put_object() -> None:
        digest = hashlib.sha256(LARGE).hexdigest()
        client.put_object(**at, Body=LARGE, Metadata={"digest": digest})

    def upload() -> None:
        digest = hashlib.sha256(LARGE).hexdigest()
        client.upload_fileobj(io.BytesIO(LARGE), **at, Config=config, ExtraArgs={"Metadata": {"digest": digest}})

    options = PutOptions(content_type="application/octet-stream", digest=lambda: "0" * 64)
    put = f"put {size}"
    bench.compare(
        put,
        Contender("boto3 put_object + SHA-256", bench.repeat(put_object)),
        Contender("boto3 upload_fileobj + SHA-256", bench.repeat(upload)),
        Contender("driver, no SHA-256 of ours", bench.repeat(lambda: bucket.driver.put("large", LARGE, options, TIMEOUT))),
        Contender("portable", bench.repeat(lambda: bucket.put("large", LARGE))),
        foreign("s3fs, no SHA-256", "put large"),
        operations=1,
        unit="object",
        rounds=4,
    )
    fastest(bench, put)
    bucket.put("large", LARGE)
    client.put_object(**at, Body=LARGE)

    def get_object() -> None:
        hashlib.sha256(client.get_object(**at)["Body"].read()).hexdigest()

    def download() -> None:
        buffer = io.BytesIO()
        client.download_fileobj(**at, Fileobj=buffer, Config=config)
        hashlib.sha256(buffer.getbuffer()).hexdigest()

    get = f"get {size}"
    bench.compare(
        get,
        Contender("boto3 get_object + SHA-256", bench.repeat(get_object)),
        Contender("boto3 download_fileobj + SHA-256", bench.repeat(download)),
        Contender("driver, no SHA-256", bench.repeat(lambda: read_by_driver(bucket, "large"))),
        Contender("portable", bench.repeat(lambda: bucket.get("large"))),
        foreign("s3fs, no SHA-256", "get large"),
        operations=1,
        unit="object",
        rounds=4,
    )
    fastest(bench, get)


def fastest(bench: Bench, case: str) -> None:
    """The goal against whichever way of boto3 was fastest."""
    ways = [result for result in bench.results if result.case == case and result.name.startswith("boto3")]
    best = min(ways, key=lambda result: result.spread("wall")[0])
    bench.at_least(case, "portable", 0.95, over=best.name, why=PARTS)
    bench.at_most(f"{case}: portable", "portable", 1.05, over=best.name, why=PARTS)


def read_by_driver(bucket: Any, key: str) -> bytes:
    """The whole object without the portable layer."""
    reader = bucket.driver.open(key, 0, None, None, TIMEOUT)
    try:
        read: Callable[[int, float], bytes] = reader.read
        return b"".join(iter(lambda: read(1 << 30, TIMEOUT), b""))
    finally:
        reader.close()
