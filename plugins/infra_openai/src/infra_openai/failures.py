"""What exceptions of the openai package and of its HTTP library stand for, and the one line that tells of them."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final

from infra.llm.errors import Failure
from infra.resource.causes import plain_cause
from infra_openai.sdk import SDK
from infra_openai.telling import told_by, told_in

_MASK: Final = "********"
_SHORTEST_MASKED: Final = 4  # a shorter key stands in many a word
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_AMOUNT: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SPAN: Final = re.compile(rf"(?:{_AMOUNT.pattern})+")


class AnswerError(Exception):
    """An answer that says that it failed, breaks off, or cannot be understood."""

    def __init__(self, message: str, failure: Failure) -> None:
        super().__init__(message)
        self.failure = failure

    @classmethod
    def malformed(cls, what: str) -> AnswerError:
        """It cannot be understood."""
        return cls(f"the answer cannot be understood: {what}", Failure(malformed=True))

    @classmethod
    def cut_off(cls) -> AnswerError:
        """It ends too early."""
        return cls("the connection ended before the answer did", Failure(connection=True))

    @classmethod
    def told(cls, error: Any) -> AnswerError:
        """The server tells of a failure in place of an answer, under status 200."""
        told = told_by(error)
        failure = Failure(status=told.status, code=told.code, type=told.type, connection=told.status is None)
        return cls(f"the server failed while it answered: {told.text or 'it does not say why'}", failure)

    def mask(self, key: str | None) -> None:
        """Take out the key, which a server may have echoed."""
        self.args = (masked(str(self), key),)


def failure_of(error: BaseException, sdk: SDK) -> Failure | None:
    """What is known about an exception; None when it is neither the package's nor its HTTP library's."""
    if isinstance(error, AnswerError):
        return error.failure
    openai, http = sdk.openai, sdk.http
    if isinstance(error, openai.APIStatusError):
        status: Any = error
        headers = status.response.headers
        told = told_in(status.response.content)
        return Failure(
            status=status.status_code,
            code=told.code,
            type=told.type,
            retry_after=retry_after(headers),
            request_id=status.request_id or headers.get("apim-request-id"),
        )
    if isinstance(error, openai.APITimeoutError | http.TimeoutException) and _timed_out(error):
        return Failure(timeout=True)
    if isinstance(error, openai.APIConnectionError | http.TransportError):
        return Failure(connection=True)
    if isinstance(error, http.DecodingError):
        return Failure(malformed=True)
    return Failure() if isinstance(error, openai.OpenAIError) else None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds that a server asks to wait; never below 0, None when it does not say or says no finite time."""
    milliseconds = _finite(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    if (wait := _finite(value)) is not None:
        return wait
    if value is not None:
        try:
            return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
        except (ValueError, OverflowError):
            pass
    if headers.get("x-ratelimit-remaining-tokens") == "0":
        return _span(headers.get("x-ratelimit-reset-tokens"))
    if headers.get("x-ratelimit-remaining-requests") == "0":
        return _span(headers.get("x-ratelimit-reset-requests"))
    return None


def _finite(value: str | None) -> float | None:
    try:
        number = float(value) if value is not None else math.nan
    except ValueError:
        return None
    return max(0.0, number) if math.isfinite(number) else None


def _span(value: str | None) -> float | None:
    """Seconds of a span such as ``6m0s``, ``1.2s``, ``20ms`` or ``7``."""
    if value is None or _finite(value) is not None:
        return _finite(value)
    if _SPAN.fullmatch(value.strip()) is None:
        return None
    return sum(float(amount) * _UNITS[unit] for amount, unit in _AMOUNT.findall(value))


def reword(error: Any, sdk: SDK, address: str, key: str | None) -> None:
    """Give an exception of the package one line that says what happened, without the key that a server may have echoed."""
    if isinstance(error, sdk.openai.APIStatusError):
        told = told_in(error.response.content).text
        line = f"status {error.status_code}: {told}" if told else f"status {error.status_code}"
    elif isinstance(error, sdk.openai.APITimeoutError) and _timed_out(error):
        line = f"{address} did not answer in time"
    elif isinstance(error, sdk.openai.APIConnectionError):
        line = f"cannot reach {address}: {_reason(error)}"
    else:
        line = str(error)
    line = masked(line, key)
    error.message = line
    error.args = (line,)


def masked(text: str, key: str | None) -> str:
    """`text` without the key."""
    return text.replace(key, _MASK) if key is not None and len(key) >= _SHORTEST_MASKED else text


def _causes(error: BaseException) -> list[BaseException]:
    """An exception and what it comes from, down to the bottom."""
    found: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in found:
        found.append(cause)
        cause = cause.__cause__ or cause.__context__
    return found


def _timed_out(error: BaseException) -> bool:
    """Whether a timeout of the package is one: its aiohttp transport calls every failure to connect so."""
    causes = _causes(error)
    foreign = any(isinstance(cause, OSError) or type(cause).__module__.startswith("aiohttp") for cause in causes)
    return not foreign or any(isinstance(cause, TimeoutError) for cause in causes)


def _reason(error: BaseException) -> str:
    """What stands at the bottom of an exception's causes."""
    plain = plain_cause(error)
    if plain is not None:
        return plain
    causes = _causes(error)
    text = " ".join(str(causes[-1]).split())
    if "refused" in text.lower() or "connection attempts failed" in text.lower():
        return "connection refused"
    return text or type(causes[-1]).__name__
