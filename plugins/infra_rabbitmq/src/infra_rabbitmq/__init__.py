"""RabbitMQ queues. Descriptors only."""

from __future__ import annotations

from collections.abc import Sequence

from infra.plugin import Provider, hookimpl


@hookimpl
def infra_queue() -> Sequence[Provider]:
    """RabbitMQ by pika."""
    return [
        Provider(
            name="rabbitmq",
            summary="RabbitMQ queue with publisher confirms, dead letters and delays",
            settings="infra_rabbitmq.settings:RabbitMQQueueSettings",
            open="infra_rabbitmq.opening:open_driver",
            open_async="infra_rabbitmq.opening:open_driver_async",
            schemes=("amqp", "amqps"),
            modules=("pika",),
            selects={"url": ("RABBITMQ_URL",)},
            telemetry_system="rabbitmq",
            docs="docs/providers/rabbitmq.md",
        )
    ]
