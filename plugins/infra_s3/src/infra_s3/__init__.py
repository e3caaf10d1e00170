"""Object storage on S3 and on servers of its protocol. Descriptors only."""

from __future__ import annotations

from collections.abc import Sequence

from infra.plugin import Provider, hookimpl


@hookimpl
def infra_storage() -> Sequence[Provider]:
    """S3 through boto3."""
    return [
        Provider(
            name="s3",
            summary="objects in a bucket of S3 or of an S3-compatible server, through boto3",
            settings="infra_s3.settings:S3Settings",
            open="infra_s3.driver:open_driver",
            schemes=("s3",),
            modules=("boto3",),
            selects={"bucket": ("IMAGE_S3_BUCKET",)},
            fills={
                "access_key_id": ("AWS_ACCESS_KEY_ID",),
                "secret_access_key": ("AWS_SECRET_ACCESS_KEY",),
                "session_token": ("AWS_SESSION_TOKEN",),
                "region": ("AWS_REGION",),
            },
            telemetry_system="aws.s3",
            docs="docs/providers/s3.md",
        )
    ]
