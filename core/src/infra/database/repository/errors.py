"""What a repository refuses or misses. Errors of the server itself are in `infra.database.errors`."""

from __future__ import annotations

from infra.errors import DatabaseError, ErrorCode


class RowNotFoundError(DatabaseError):
    """No row has that key, or it is soft-deleted."""

    default_code = ErrorCode.NOT_FOUND


class StaleVersionError(DatabaseError):
    """The row was changed or deleted by someone else since it was read; nothing was written."""

    default_code = ErrorCode.PRECONDITION_FAILED


class InvalidFilterError(DatabaseError):
    """A filter, sort or row that cannot mean what its author expects."""

    default_code = ErrorCode.INVALID_ARGUMENT


class UnknownFieldError(InvalidFilterError):
    """A name that is no field of the model."""


class InvalidCursorError(DatabaseError):
    """A paging cursor that was altered, or made by another query."""

    default_code = ErrorCode.INVALID_ARGUMENT


class UniqueKeyError(InvalidFilterError):
    """An upsert on columns that no primary key or unique constraint covers exactly."""
