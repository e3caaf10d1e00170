"""What migrations raise."""

from __future__ import annotations

from infra.errors import DatabaseError, ErrorCode


class MigrationError(DatabaseError):
    """A migration could not be found, written or applied."""

    default_code = ErrorCode.PRECONDITION_FAILED


class DropRefusedError(MigrationError):
    """A migration would drop data, and nobody said that it may. Nothing was applied."""
