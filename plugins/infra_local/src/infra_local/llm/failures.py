"""What the offline provider raises."""

from __future__ import annotations

from infra.errors import ErrorCode
from infra.llm.errors import Failure, code_of


class OfflineFailure(Exception):
    """A scripted failure, or a request that no rule or task can serve."""

    def __init__(self, message: str, *, status: int | None = None, code: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.failure = Failure(status=status, code=code, retry_after=retry_after, connection=status is None)


def failure_of(error: BaseException) -> Failure | None:
    """What is known about an exception; None when it is not of this provider."""
    return error.failure if isinstance(error, OfflineFailure) else None


def classify(error: BaseException) -> ErrorCode | None:
    """What an exception stands for."""
    failure = failure_of(error)
    return None if failure is None else code_of(failure)
