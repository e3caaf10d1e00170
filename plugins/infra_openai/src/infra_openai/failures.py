"""What exceptions of the openai package and of its HTTP library stand for, and the one line that tells of them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final, cast

from infra.llm.errors import Failure
from infra.resource.causes import plain_cause
from infra_openai.sdk import SDK

_MASK: Final = "********"
_SHORTEST_MASKED: Final = 4  # a shorter key stands in many a word


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
        said: Mapping[str, Any] = cast("Mapping[str, Any]", error) if isinstance(error, Mapping) else {"message": str(error)}
        code, kind = said.get("code"), said.get("type")
        status = int(code) if isinstance(code, int | str) and str(code).isdigit() and 400 <= int(code) < 600 else None
        failure = Failure(status=status, code=_text(code), type=_text(kind), connection=status is None)
        return cls(f"the server failed while it answered: {said.get('message') or code or kind}", failure)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def failure_of(error: BaseException, sdk: SDK) -> Failure | None:
    """What is known about an exception; None when it is neither the package's nor its HTTP library's."""
    if isinstance(error, AnswerError):
        return error.failure
    openai, http = sdk.openai, sdk.http
    if isinstance(error, openai.APIStatusError):
        status: Any = error
        headers = status.response.headers
        return Failure(
            status=status.status_code,
            code=status.code,
            type=status.type,
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
    """The seconds that a server asks to wait; never below 0."""
    try:
        if (milliseconds := headers.get("retry-after-ms")) is not None:
            return max(0.0, float(milliseconds) / 1000)
    except ValueError:
        pass
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def reword(error: Any, sdk: SDK, address: str, key: str | None) -> None:
    """Give an exception of the package one line that says what happened, without the key that a server may have echoed."""
    if isinstance(error, sdk.openai.APIStatusError):
        body = error.body
        told = cast("Mapping[str, Any]", body).get("message") if isinstance(body, Mapping) else None
        line = f"status {error.status_code}: {told}" if isinstance(told, str) and told else f"status {error.status_code}"
    elif isinstance(error, sdk.openai.APITimeoutError) and _timed_out(error):
        line = f"{address} did not answer in time"
    elif isinstance(error, sdk.openai.APIConnectionError):
        line = f"cannot reach {address}: {_reason(error)}"
    else:
        line = str(error)
    if key is not None and len(key) >= _SHORTEST_MASKED:
        line = line.replace(key, _MASK)
    error.message = line
    error.args = (line,)


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
