"""What can go wrong with a language model. Chosen by status, then by the provider's code, then by its type; never by text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from infra.errors import ErrorCode, ServiceError

if TYPE_CHECKING:
    from infra.llm.model import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What a driver knows about an exception of its SDK.

    Args:
        status: The HTTP status; None when there was no answer.
        code: The provider's own code, such as ``context_length_exceeded``.
        type: The provider's own type, such as ``invalid_request_error``.
        retry_after: Seconds that the server asks to wait.
        request_id: The provider's identifier, for its support.
        timeout: True when it took too long.
        connection: True when the server was not reached, or the connection broke.
        malformed: True when the answer could not be understood.
    """

    status: int | None = None
    code: str | None = None
    type: str | None = None
    retry_after: float | None = None
    request_id: str | None = None
    timeout: bool = False
    connection: bool = False
    malformed: bool = False


class LLMError(ServiceError):
    """A language model did not answer.

    Attributes:
        status: The HTTP status; None when there was no answer.
        retry_after: Seconds that the server asks to wait; None when it did not say.
        request_id: The provider's identifier of the request.
        attempts: How many times the provider was asked.
    """

    advice: ClassVar[str | None] = None

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        request_id: str | None = None,
        attempts: int = 1,
        **fields: Any,
    ) -> None:
        if fields.get("remedy") is None:
            fields["remedy"] = self.advice
        super().__init__(message, **fields)
        self.status = status
        self.retry_after = retry_after
        self.request_id = request_id
        self.attempts = attempts


class InvalidRequestError(LLMError):
    """The provider, or the portable API before it, refuses the request as it is."""

    default_code = ErrorCode.INVALID_ARGUMENT
    advice = "correct the request; asking again does not help"


class ContextTooLongError(InvalidRequestError):
    """Prompt and answer together exceed what the model can hold."""

    advice = "shorten the prompt, lower max_output_tokens, or use a model with a longer context"


class ContentFilteredError(InvalidRequestError):
    """The provider's policy refused the prompt or the answer."""

    advice = "change the prompt, or the provider's content filter"


class AuthenticationError(LLMError):
    """The API key is missing, wrong or revoked."""

    default_code = ErrorCode.UNAUTHENTICATED
    advice = "check the API key of this resource (`infra explain` says where it comes from)"


class PermissionDeniedError(LLMError):
    """The API key may not do this."""

    default_code = ErrorCode.PERMISSION_DENIED
    advice = "grant the key access to this model, or choose another model"


class ModelNotFoundError(LLMError):
    """The provider has no such model or deployment."""

    default_code = ErrorCode.NOT_FOUND
    advice = "check `model` (on Azure: the deployment's name)"


class RateLimitedError(LLMError):
    """Too many requests or tokens for now; the same request may succeed later."""

    default_code = ErrorCode.RATE_LIMITED
    advice = "slow down, or raise the limit at the provider"


class QuotaExhaustedError(LLMError):
    """The account has no credit left; waiting does not help."""

    default_code = ErrorCode.RATE_LIMITED
    advice = "check plan and billing at the provider"

    def __init__(self, message: str, **fields: Any) -> None:
        fields.setdefault("retryable", False)
        super().__init__(message, **fields)


class LLMTimeoutError(LLMError):
    """No answer in time: connect, first event, idle or total."""

    default_code = ErrorCode.TIMEOUT
    advice = "raise the timeout that passed, or ask for a shorter answer"


class UnavailableError(LLMError):
    """The provider cannot be reached, or fails on its side."""

    default_code = ErrorCode.UNAVAILABLE
    advice = "check the base URL and the network, and the provider's status page"


class InvalidResponseError(LLMError):
    """The answer cannot be used: malformed, cut short, or not of the form that was asked for."""

    default_code = ErrorCode.DATA_LOSS
    advice = "ask again, or choose another model"


class StreamInterruptedError(LLMError):
    """A stream broke off after content had been delivered; it cannot be repeated without repeating that content.

    Attributes:
        partial: The text delivered so far.
        usage: The tokens known so far; None when the provider had not said.
    """

    default_code = ErrorCode.UNAVAILABLE
    advice = "show the partial text as incomplete, or ask again"

    def __init__(self, message: str, *, partial: str = "", usage: Usage | None = None, **fields: Any) -> None:
        fields.setdefault("retryable", False)
        super().__init__(message, **fields)
        self.partial = partial
        self.usage = usage


_BY_STATUS: Mapping[int, type[LLMError]] = {
    400: InvalidRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: ModelNotFoundError,
    408: LLMTimeoutError,
    409: UnavailableError,
    413: ContextTooLongError,
    422: InvalidRequestError,
    429: RateLimitedError,
}
# Within a status, the provider's code or type may name something narrower.
_BY_CODE: Mapping[tuple[type[LLMError], str], type[LLMError]] = {
    (InvalidRequestError, "context_length_exceeded"): ContextTooLongError,
    (InvalidRequestError, "string_above_max_length"): ContextTooLongError,
    (InvalidRequestError, "content_filter"): ContentFilteredError,
    (InvalidRequestError, "content_policy_violation"): ContentFilteredError,
    (InvalidRequestError, "model_not_found"): ModelNotFoundError,
    (RateLimitedError, "insufficient_quota"): QuotaExhaustedError,
    (RateLimitedError, "billing_hard_limit_reached"): QuotaExhaustedError,
}


def error_type(failure: Failure) -> type[LLMError]:
    """The error that a failure stands for."""
    if failure.status is not None:
        status = failure.status
        found = _BY_STATUS.get(status) or (UnavailableError if status >= 500 else InvalidRequestError if status >= 400 else LLMError)
        for word in (failure.code, failure.type):
            if word is not None and (narrower := _BY_CODE.get((found, word))) is not None:
                return narrower
        return found
    if failure.timeout:
        return LLMTimeoutError
    if failure.connection:
        return UnavailableError
    return InvalidResponseError if failure.malformed else LLMError


def code_of(failure: Failure) -> ErrorCode:
    """The error code that a failure stands for; what a driver's ``classify`` returns."""
    return error_type(failure).default_code
