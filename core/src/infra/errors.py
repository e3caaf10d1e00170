"""The error tree: every error that the kernel, a portable API or a plugin raises on purpose.

A driver never raises these. It lets its SDK's exception pass and says in ``classify`` which `ErrorCode` it stands for; the
portable class wraps it once, with the SDK's exception as ``__cause__``. Each room adds its own leaves in ``<room>/errors.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import ClassVar


class ErrorCode(StrEnum):
    """What went wrong, independent of provider and SDK."""

    NOT_FOUND = "NOT_FOUND"
    ALREADY_EXISTS = "ALREADY_EXISTS"
    PRECONDITION_FAILED = "PRECONDITION_FAILED"
    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    RATE_LIMITED = "RATE_LIMITED"
    UNAVAILABLE = "UNAVAILABLE"
    TIMEOUT = "TIMEOUT"
    CANCELLED = "CANCELLED"
    CONFLICT = "CONFLICT"
    DATA_LOSS = "DATA_LOSS"
    UNSUPPORTED = "UNSUPPORTED"
    CONFIGURATION = "CONFIGURATION"
    INTERNAL = "INTERNAL"


RETRYABLE_CODES = frozenset({ErrorCode.RATE_LIMITED, ErrorCode.UNAVAILABLE, ErrorCode.TIMEOUT, ErrorCode.CONFLICT})

_PUBLIC_MESSAGES: Mapping[ErrorCode, str] = {
    ErrorCode.NOT_FOUND: "The requested item does not exist.",
    ErrorCode.ALREADY_EXISTS: "The item exists already.",
    ErrorCode.PRECONDITION_FAILED: "The item was changed by someone else.",
    ErrorCode.INVALID_ARGUMENT: "The request is not valid.",
    ErrorCode.PERMISSION_DENIED: "The operation is not permitted.",
    ErrorCode.UNAUTHENTICATED: "The service could not authenticate itself.",
    ErrorCode.RATE_LIMITED: "Too many requests; try again later.",
    ErrorCode.UNAVAILABLE: "A service is not available; try again later.",
    ErrorCode.TIMEOUT: "A service did not answer in time.",
    ErrorCode.CANCELLED: "The operation was cancelled.",
    ErrorCode.CONFLICT: "The operation conflicts with another one.",
    ErrorCode.DATA_LOSS: "Stored data could not be read back intact.",
    ErrorCode.UNSUPPORTED: "The operation is not supported here.",
    ErrorCode.CONFIGURATION: "The service is not configured correctly.",
    ErrorCode.INTERNAL: "An internal error occurred.",
}


class InfraError(Exception):
    """The root of the tree.

    Args:
        message: One sentence that names the cause, for the log. Never holds a secret.
        code: What went wrong; the class's ``default_code`` when not given.
        resource: The full resource name, such as ``cache.main``.
        provider: The provider's name, such as ``redis``.
        operation: The portable operation, such as ``get``.
        details: Small, non-sensitive facts for the log.
        retryable: Whether the same call may succeed later; follows from the code when not given.
        remedy: What to do about it, in the imperative.
    """

    default_code: ClassVar[ErrorCode] = ErrorCode.INTERNAL
    #: True on errors whose message the host wrote for its own clients.
    message_is_public: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        code: ErrorCode | None = None,
        resource: str | None = None,
        provider: str | None = None,
        operation: str | None = None,
        details: Mapping[str, object] | None = None,
        retryable: bool | None = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code if code is not None else self.default_code
        self.resource = resource
        self.provider = provider
        self.operation = operation
        self.details: dict[str, object] = dict(details or {})
        self.retryable = retryable if retryable is not None else self.code in RETRYABLE_CODES
        self.remedy = remedy
        self.timestamp = datetime.now(UTC)

    def __str__(self) -> str:
        where = f"{self.resource}: " if self.resource else ""
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{where}{self.message}{remedy}"

    @property
    def public_message(self) -> str:
        """A message without text from a lower layer, a secret or a host name."""
        return self.message if self.message_is_public else _PUBLIC_MESSAGES[self.code]

    def to_dict(self, public: bool = True) -> dict[str, object]:
        """The error as JSON-ready values.

        Args:
            public: With True (the default) only what any client may see; with False all fields, for the log.
        """
        shown: dict[str, object] = {
            "error_code": str(self.code),
            "error": type(self).__name__,
            "message": self.public_message,
            "timestamp": self.timestamp.isoformat(),
            "retryable": self.retryable,
        }
        if not public:
            shown |= {
                "message": self.message,
                "resource": self.resource,
                "provider": self.provider,
                "operation": self.operation,
                "details": self.details,
                "remedy": self.remedy,
            }
        return shown


class ConfigurationError(InfraError):
    """A setting, a plugin or a resource is missing, unknown, contradictory or not valid."""

    default_code = ErrorCode.CONFIGURATION


class StartupError(ConfigurationError):
    """Resources that could not open at start-up, all of them together.

    Args:
        failures: One error for each resource.
    """

    def __init__(self, failures: Sequence[InfraError]) -> None:
        if len(failures) == 1:
            only = failures[0]
            fields = {"code": only.code, "resource": only.resource, "provider": only.provider, "operation": only.operation}
            super().__init__(only.message, **fields, details=only.details, retryable=only.retryable, remedy=only.remedy)  # type: ignore[arg-type]
        else:
            lines = "\n".join(f"  {failure}" for failure in failures)
            super().__init__(f"{len(failures)} resources could not open:\n{lines}")
        self.failures = list(failures)


class UnsupportedError(InfraError):
    """The provider in use cannot do what was asked; never silently dropped."""

    default_code = ErrorCode.UNSUPPORTED


class ClosedError(InfraError):
    """A resource was used after it was closed, in a forked child, or from another event loop."""

    default_code = ErrorCode.UNAVAILABLE


class ServiceError(InfraError):
    """A storage, queue, cache, LLM or other external service failed."""


class DatabaseError(InfraError):
    """A database operation failed; the leaves are in `infra.database.errors`."""


class DomainError(InfraError):
    """The root of a host's own errors, whose messages its clients may see. Subclass the branches below."""

    message_is_public = True


class ValidationError(DomainError):
    """Input that the host refuses."""

    default_code = ErrorCode.INVALID_ARGUMENT


class NotFoundError(DomainError):
    """Something of the host's that does not exist."""

    default_code = ErrorCode.NOT_FOUND


class ConflictError(DomainError):
    """A change that collides with the present state."""

    default_code = ErrorCode.CONFLICT

    def __init__(self, message: str, **fields: object) -> None:
        fields.setdefault("retryable", False)
        super().__init__(message, **fields)  # type: ignore[arg-type]


class BusinessRuleError(DomainError):
    """A rule of the host's domain forbids it."""

    default_code = ErrorCode.PRECONDITION_FAILED


def nearest(word: str, known: list[str] | tuple[str, ...] | frozenset[str] | set[str]) -> str | None:
    """The known word most like `word`, for "did you mean"; None when none is near."""
    from difflib import get_close_matches

    matches = get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return matches[0] if matches else None
