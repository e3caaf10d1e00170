"""s3fs on a server of the S3 protocol."""

from __future__ import annotations

import os
from collections.abc import Callable

import s3fs

PACKAGES = ("s3fs", "aiobotocore", "botocore")


def contenders(endpoint: str, key: str, secret: str, bucket: str, small: int, large: int) -> dict[str, Callable[[int], object]]:
    """Put and get, of objects of `small` and `large` bytes, and a listing that is not kept."""
    system = s3fs.S3FileSystem(
        key=key,
        secret=secret,
        endpoint_url=endpoint,
        use_listings_cache=False,
        skip_instance_cache=True,
        client_kwargs={"region_name": "us-east-1"},
        config_kwargs={"request_checksum_calculation": "when_required", "response_checksum_validation": "when_required"},
    )
    little, much = os.urandom(small), os.urandom(large)
    system.pipe_file(f"{bucket}/s3fs/small", little)
    system.pipe_file(f"{bucket}/s3fs/large", much)

    def repeat(call: Callable[[], object]) -> Callable[[int], object]:
        def run(count: int) -> None:
            for _ in range(count):
                call()

        return run

    return {
        "put small": repeat(lambda: system.pipe_file(f"{bucket}/s3fs/small", little)),
        "get small": repeat(lambda: system.cat_file(f"{bucket}/s3fs/small")),
        "put large": repeat(lambda: system.pipe_file(f"{bucket}/s3fs/large", much)),
        "get large": repeat(lambda: system.cat_file(f"{bucket}/s3fs/large")),
        "list": repeat(lambda: system.find(f"{bucket}/listed", detail=True)),
    }
