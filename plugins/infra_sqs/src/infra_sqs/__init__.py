"""SQS queues. Descriptors only."""

from __future__ import annotations

from collections.abc import Sequence

from infra.plugin import Provider, hookimpl


@hookimpl
def infra_queue() -> Sequence[Provider]:
    """SQS through boto3."""
    return [
        Provider(
            name="sqs",
            summary="SQS queue, standard or FIFO, through boto3",
            settings="infra_sqs.settings:SQSQueueSettings",
            open="infra_sqs.driver:open_driver",
            schemes=("sqs",),
            modules=("boto3",),
            selects={"queue": ("AWS_SQS_QUEUE_URL",)},
            fills={
                "access_key_id": ("AWS_ACCESS_KEY_ID",),
                "secret_access_key": ("AWS_SECRET_ACCESS_KEY",),
                "session_token": ("AWS_SESSION_TOKEN",),
                "region": ("AWS_REGION",),
            },
            telemetry_system="aws_sqs",
            docs="docs/providers/sqs.md",
        )
    ]
