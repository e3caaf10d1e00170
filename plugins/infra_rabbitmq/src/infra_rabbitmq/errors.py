"""What goes wrong with a broker, in words of its own: pika's exceptions say neither where nor, often, why."""

from __future__ import annotations

import ssl
from typing import Final

import pika.exceptions
from pika.adapters.utils.connection_workflow import AMQPConnectionWorkflowFailed, AMQPConnectorPhaseErrorBase, AMQPConnectorStackTimeout

from infra.errors import ErrorCode


class BrokerError(Exception):
    """The broker, or the way to it, refused something.

    Args:
        message: One line.
        code: What it stands for.
    """

    def __init__(self, message: str, code: ErrorCode) -> None:
        super().__init__(message)
        self.code = code


#: What the reply codes of AMQP stand for.
_REPLIES: Final = {
    311: ErrorCode.INVALID_ARGUMENT,
    312: ErrorCode.NOT_FOUND,
    403: ErrorCode.PERMISSION_DENIED,
    404: ErrorCode.NOT_FOUND,
    405: ErrorCode.CONFLICT,
    406: ErrorCode.CONFIGURATION,
    530: ErrorCode.CONFIGURATION,
}
_PASSING: Final = ("timed out", "timeout")  # 406 also tells of deliveries that nobody settled in time


def closed() -> BrokerError:
    """The driver was closed while something waited."""
    return BrokerError("the connection was closed", ErrorCode.UNAVAILABLE)


def refusal(reply_code: int, reply_text: str) -> BrokerError:
    """The error for a reply of the broker."""
    code = _REPLIES.get(reply_code, ErrorCode.UNAVAILABLE)
    if reply_code == 406 and any(word in reply_text for word in _PASSING):
        code = ErrorCode.UNAVAILABLE
    return BrokerError(f"the broker answered {reply_code} {reply_text}", code)


def root(error: BaseException) -> BaseException:
    """What lies beneath pika's layers."""
    while True:
        if isinstance(error, AMQPConnectionWorkflowFailed) and error.exceptions:
            error = error.exceptions[-1]
        elif isinstance(error, AMQPConnectorPhaseErrorBase):
            error = error.exception
        elif type(error) is pika.exceptions.AMQPConnectionError and error.args and isinstance(error.args[0], BaseException):
            error = error.args[0]
        else:
            return error


def translate(error: BaseException, place: str) -> BrokerError:
    """The error for an exception of pika or of the socket.

    Args:
        error: The exception.
        place: Host and port, for the message.
    """
    cause = root(error)
    if isinstance(cause, BrokerError):
        return cause
    if isinstance(cause, pika.exceptions.ProbableAuthenticationError | pika.exceptions.AuthenticationError):
        found = BrokerError(f"{place} refused the username or the password", ErrorCode.UNAUTHENTICATED)
    elif isinstance(cause, pika.exceptions.ProbableAccessDeniedError):
        found = BrokerError(f"{place} refused the virtual host: {' '.join(map(str, cause.args))}", ErrorCode.CONFIGURATION)
    elif isinstance(cause, pika.exceptions.ConnectionClosedByBroker | pika.exceptions.ChannelClosedByBroker):
        found = refusal(cause.reply_code, cause.reply_text)
    elif isinstance(cause, ssl.SSLError):
        found = BrokerError(f"TLS with {place} failed: {cause}", ErrorCode.UNAVAILABLE)
    elif isinstance(cause, AMQPConnectorStackTimeout | TimeoutError):
        found = BrokerError(f"{place} did not answer in time", ErrorCode.UNAVAILABLE)
    elif isinstance(cause, OSError):
        found = BrokerError(f"cannot connect to {place}: {cause.strerror or cause}", ErrorCode.UNAVAILABLE)
    else:
        found = BrokerError(f"the connection to {place} was lost: {type(cause).__name__} {cause}", ErrorCode.UNAVAILABLE)
    found.__cause__ = cause
    return found


def classify(error: BaseException) -> ErrorCode | None:
    """What an exception of this driver stands for."""
    if isinstance(error, BrokerError):
        return error.code
    if isinstance(error, pika.exceptions.AMQPError):
        return translate(error, "the broker").code
    return None
