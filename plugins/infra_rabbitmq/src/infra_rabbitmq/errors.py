"""What goes wrong with a broker, in words of its own: pika's exceptions say neither where nor, often, why."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from typing import Final

import pika.exceptions
from pika.adapters.utils.connection_workflow import AMQPConnectionWorkflowFailed, AMQPConnectorPhaseErrorBase, AMQPConnectorStackTimeout

from infra.driver import Cause
from infra.errors import ErrorCode
from infra.resource.causes import plain_cause


class BrokerError(Exception):
    """The broker, or the way to it, refused something.

    Args:
        message: One line.
        code: What it stands for.
        settings: The settings that it is about, where those that are usual for the code are not.
        remedy: What to do, where the usual for the code does not fit.
    """

    def __init__(self, message: str, code: ErrorCode, *, settings: tuple[str, ...] = (), remedy: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.settings = settings
        self.remedy = remedy


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
_UNAVAILABLE: Final = ErrorCode.UNAVAILABLE
_OTHER_ARGUMENTS: Final = (
    'use it as it is with `topology = "check"`, delete it so that it is made anew, or correct `queue`, or `queue_type` if that differs'
)


@dataclass(frozen=True, slots=True)
class _Reply:
    """A reply of the broker that operators meet, and what to tell them; the text names groups of the pattern."""

    pattern: re.Pattern[str]
    text: str
    code: ErrorCode
    settings: tuple[str, ...] = ()
    remedy: str | None = None


#: By what the broker says, since one code stands for many things. The first that is found counts.
_KNOWN: Final = (
    _Reply(
        re.compile(r"delivery acknowledgement .*timed out\D*(?P<it>\d* ?m?s?)"),
        "a delivery was not settled within the broker's consumer_timeout ({it}), so it took back all of the channel",
        _UNAVAILABLE,
        remedy="let handlers end sooner, or raise `consumer_timeout` of the broker",
    ),
    _Reply(re.compile(r"vhost '?(?P<it>[^']*?)'? is down"), "the virtual host '{it}' is down", _UNAVAILABLE),
    _Reply(re.compile(r"vhost '?(?P<it>.*?)'? not found"), "there is no virtual host '{it}'", ErrorCode.CONFIGURATION, ("vhost",)),
    _Reply(
        re.compile(r"access to vhost '(?P<it>.*)' refused for user '(?P<user>.*)'"),
        "user '{user}' has no access to the virtual host '{it}'",
        ErrorCode.PERMISSION_DENIED,
        ("username", "vhost"),
    ),
    _Reply(
        re.compile(r"access to (?P<kind>\w+) '(?P<it>.*)' in vhost '(?P<vhost>.*)' refused for user '(?P<user>.*)'"),
        "user '{user}' has no permission on the {kind} '{it}' of the virtual host '{vhost}'",
        ErrorCode.PERMISSION_DENIED,
        ("username",),
    ),
    _Reply(
        re.compile(r"queue name '(?P<it>.*)' contains reserved prefix"),
        "names like '{it}' are the broker's own",
        ErrorCode.CONFIGURATION,
        ("queue",),
    ),
    _Reply(
        re.compile(
            r"inequivalent arg '(?P<argument>.*?)' for (?P<kind>\w+) '(?P<it>.*?)' in vhost .*: "
            r"received (?P<ours>.*) but current is (?P<theirs>.*)"
        ),
        "the {kind} '{it}' is there with other arguments: {argument} should be {ours} and is {theirs}",
        ErrorCode.CONFIGURATION,
        remedy=_OTHER_ARGUMENTS,
    ),
    _Reply(
        re.compile(r"exclusive access to locked queue '(?P<it>.*?)'"),
        "the queue '{it}' belongs to another connection alone",
        ErrorCode.CONFLICT,
        remedy="correct `queue`, or let its owner declare it without `exclusive`",
    ),
    _Reply(re.compile(r"no queue '(?P<it>.*?)'(?: in vhost|$)"), "there is no queue '{it}'", ErrorCode.NOT_FOUND),
)


def closed() -> BrokerError:
    """The driver was closed while something waited."""
    return BrokerError("the connection was closed", ErrorCode.UNAVAILABLE)


def refusal(reply_code: int, reply_text: str) -> BrokerError:
    """The error for a reply of the broker."""
    code = _REPLIES.get(reply_code, ErrorCode.UNAVAILABLE)
    return _known(reply_text) or BrokerError(f"the broker answered {reply_code} {reply_text}", code)


def _known(reply_text: str) -> BrokerError | None:
    for known in _KNOWN:
        found = known.pattern.search(reply_text)
        if found is not None:
            said = {name: value.replace("the value ", "").replace(" of type 'longstr'", "") for name, value in found.groupdict().items()}
            return BrokerError(known.text.format(**said), known.code, settings=known.settings, remedy=known.remedy)
    return None


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


def translate(error: BaseException) -> BrokerError:
    """The error for an exception of pika or of the socket."""
    cause = root(error)
    if isinstance(cause, BrokerError):
        return cause
    if isinstance(cause, pika.exceptions.ConnectionClosedByBroker | pika.exceptions.ChannelClosedByBroker):
        found = refusal(cause.reply_code, cause.reply_text)
    elif isinstance(cause, pika.exceptions.ProbableAuthenticationError | pika.exceptions.AuthenticationError):
        found = BrokerError("the username or the password is wrong", ErrorCode.UNAUTHENTICATED)
    elif isinstance(cause, pika.exceptions.ProbableAccessDeniedError):
        denied = BrokerError("the virtual host is refused", ErrorCode.CONFIGURATION, settings=("vhost", "username"))
        found = _known(" ".join(map(str, cause.args))) or denied  # pika keeps the broker's reply as text
    elif isinstance(cause, pika.exceptions.IncompatibleProtocolError):
        found = BrokerError("what listens there does not speak AMQP 0-9-1", ErrorCode.CONFIGURATION, settings=("host", "port", "tls"))
    elif isinstance(cause, ssl.SSLError):
        found = BrokerError(plain_cause(cause) or f"TLS failed: {cause}", ErrorCode.UNAVAILABLE, settings=("port", "tls", "ca_file"))
    elif isinstance(cause, AMQPConnectorStackTimeout | TimeoutError | pika.exceptions.ConnectionOpenAborted):
        # Aborted by pika itself, when the handshake takes longer than the whole attempt may.
        found = BrokerError("no answer in time", ErrorCode.UNAVAILABLE)
    elif isinstance(cause, OSError):
        found = BrokerError(plain_cause(cause) or f"{cause.strerror or cause}", ErrorCode.UNAVAILABLE)
    else:
        found = BrokerError(f"the connection was lost: {type(cause).__name__} {cause}", ErrorCode.UNAVAILABLE)
    found.__cause__ = cause
    return found


def classify(error: BaseException) -> ErrorCode | None:
    """What an exception of this driver stands for."""
    if isinstance(error, BrokerError):
        return error.code
    if isinstance(error, pika.exceptions.AMQPError):
        return translate(error).code
    return None


def explain(error: BaseException) -> Cause | None:
    """The cause in plain words."""
    if isinstance(error, pika.exceptions.AMQPError):
        error = translate(error)
    return Cause(str(error), error.settings, error.remedy) if isinstance(error, BrokerError) else None
