"""What queues raise."""

from __future__ import annotations

from typing import Any

from infra.errors import ErrorCode, ServiceError
from infra.queue.model import PublishOutcome


class QueueError(ServiceError):
    """A queue operation failed."""


class QueueMissingError(QueueError):
    """The queue does not exist at the provider, and the settings say not to create it."""

    default_code = ErrorCode.NOT_FOUND


class PublishError(QueueError):
    """A message was not, or perhaps not, published.

    Args:
        outcome: ``not_sent``, ``unknown`` or ``refused``. The core has retried the first two, with the same id.
        message_id: The message's id.
    """

    default_code = ErrorCode.UNAVAILABLE

    def __init__(self, message: str, *, outcome: PublishOutcome, message_id: str, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.outcome = outcome
        self.message_id = message_id


class LeaseLostError(QueueError):
    """The lease of a delivery is over: the message was or will be delivered again, and this delivery cannot settle it."""

    default_code = ErrorCode.PRECONDITION_FAILED


class DecodeError(QueueError):
    """A body does not decode as what the handler asked for; the message is poison."""

    default_code = ErrorCode.INVALID_ARGUMENT
