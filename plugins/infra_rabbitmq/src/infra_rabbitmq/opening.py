"""From settings to an open driver."""

from __future__ import annotations

import logging

from infra.plugin import OpenContext
from infra.queue.errors import QueueError
from infra.resource.causes import advice
from infra_rabbitmq.driver import AsyncRabbitMQQueueDriver, RabbitMQQueueDriver
from infra_rabbitmq.errors import BrokerError
from infra_rabbitmq.settings import RabbitMQQueueSettings


def _quiet() -> None:
    """Leave it to us to say what failed: pika logs every failed connection as up to seven errors. A level that the host set stays."""
    logger = logging.getLogger("pika")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL)


def _not_open(error: BrokerError, settings: RabbitMQQueueSettings, context: OpenContext) -> QueueError:
    return QueueError(
        f"open failed on {context.provider} at {settings.place()}: {' '.join(context.redact(str(error)).split())}",
        code=error.code,
        resource=context.resource,
        provider=context.provider,
        operation="open",
        remedy=error.remedy or advice(error.code, context.origins(error.settings or settings.suspects.get(error.code, ()))),
    )


def open_driver(settings: RabbitMQQueueSettings, context: OpenContext) -> RabbitMQQueueDriver:
    """The blocking driver."""
    _quiet()
    driver = RabbitMQQueueDriver(settings, context.resource, context.logger)
    try:
        driver.open(settings.open_timeout)
    except BaseException as error:
        driver.close(1.0)
        if isinstance(error, BrokerError):
            raise _not_open(error, settings, context) from error
        raise
    return driver


async def open_driver_async(settings: RabbitMQQueueSettings, context: OpenContext) -> AsyncRabbitMQQueueDriver:
    """The asyncio driver."""
    _quiet()
    driver = AsyncRabbitMQQueueDriver(settings, context.resource, context.logger)
    try:
        await driver.open(settings.open_timeout)
    except BaseException as error:
        await driver.close(1.0)
        if isinstance(error, BrokerError):
            raise _not_open(error, settings, context) from error
        raise
    return driver
