"""What databases raise."""

from __future__ import annotations

from typing import Any, Final

from infra.database.model import Fault
from infra.errors import DatabaseError, ErrorCode


class DatabaseConnectionError(DatabaseError):
    """No connection could be made, or it broke. Outside COMMIT nothing was committed."""

    default_code = ErrorCode.UNAVAILABLE


class DatabaseOperationError(DatabaseError):
    """The server refused or could not do it."""


class StatementError(DatabaseOperationError):
    """The statement is wrong: syntax, or a table or column that does not exist."""

    default_code = ErrorCode.INVALID_ARGUMENT


class DataError(DatabaseOperationError):
    """A value is out of range, too long or of the wrong type."""

    default_code = ErrorCode.INVALID_ARGUMENT


class ReadOnlyError(DatabaseOperationError):
    """A write in a read-only session, or on a read-only server."""

    default_code = ErrorCode.PRECONDITION_FAILED


class TransactionFailedError(DatabaseOperationError):
    """An earlier error outside a savepoint marked the transaction failed: it was rolled back instead of committed."""

    default_code = ErrorCode.PRECONDITION_FAILED


class IntegrityError(DatabaseError):
    """A constraint was violated.

    Args:
        constraint: The constraint, or ``table.column``, where the server says.
    """

    default_code = ErrorCode.INVALID_ARGUMENT

    def __init__(self, message: str, *, constraint: str | None = None, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.constraint = constraint


class UniqueError(IntegrityError):
    """A row with the same key exists."""

    default_code = ErrorCode.ALREADY_EXISTS


class ForeignKeyError(IntegrityError):
    """A row refers to one that does not exist, or is referred to."""

    default_code = ErrorCode.PRECONDITION_FAILED


class NotNullError(IntegrityError):
    """A column that must have a value has none."""


class CheckError(IntegrityError):
    """A check constraint does not hold."""


class DeadlockError(DatabaseError):
    """The server ended this transaction so that another one could go on. Running the unit again helps; `run` does."""

    default_code = ErrorCode.CONFLICT


class SerializationError(DatabaseError):
    """What the transaction read was changed by another one. Running the unit again helps; `run` does."""

    default_code = ErrorCode.CONFLICT


class DatabaseTimeoutError(DatabaseError):
    """Something took too long."""

    default_code = ErrorCode.TIMEOUT


class StatementTimeoutError(DatabaseTimeoutError):
    """A statement ran longer than `statement_timeout`."""


class LockTimeoutError(DatabaseTimeoutError):
    """A lock was not free within `lock_timeout`."""


class PoolTimeoutError(DatabaseTimeoutError):
    """No connection was free within `pool_timeout`."""


class CommitUnknownError(DatabaseError):
    """COMMIT was sent and its outcome is not known: look before doing it again."""

    default_code = ErrorCode.UNAVAILABLE

    def __init__(self, message: str, **fields: Any) -> None:
        fields.setdefault("retryable", False)
        super().__init__(message, **fields)


#: What `run` repeats, if the transaction is its own.
TRANSIENT: Final[tuple[type[DatabaseError], ...]] = (DeadlockError, SerializationError, DatabaseConnectionError)

#: The leaf of each fault, with its code where it differs from the leaf's own.
LEAVES: Final[dict[Fault, tuple[type[DatabaseError], ErrorCode | None]]] = {
    Fault.CONNECTION: (DatabaseConnectionError, None),
    Fault.MISSING: (DatabaseConnectionError, ErrorCode.CONFIGURATION),
    Fault.UNAUTHENTICATED: (DatabaseConnectionError, ErrorCode.UNAUTHENTICATED),
    Fault.PERMISSION: (DatabaseOperationError, ErrorCode.PERMISSION_DENIED),
    Fault.UNIQUE: (UniqueError, None),
    Fault.FOREIGN_KEY: (ForeignKeyError, None),
    Fault.NOT_NULL: (NotNullError, None),
    Fault.CHECK: (CheckError, None),
    Fault.INTEGRITY: (IntegrityError, None),
    Fault.DEADLOCK: (DeadlockError, None),
    Fault.SERIALIZATION: (SerializationError, None),
    Fault.STATEMENT_TIMEOUT: (StatementTimeoutError, None),
    Fault.LOCK_TIMEOUT: (LockTimeoutError, None),
    Fault.POOL_TIMEOUT: (PoolTimeoutError, None),
    Fault.CANCELLED: (DatabaseOperationError, ErrorCode.CANCELLED),
    Fault.READ_ONLY: (ReadOnlyError, None),
    Fault.SAVEPOINT_LOST: (TransactionFailedError, None),
    Fault.DATA: (DataError, None),
    Fault.STATEMENT: (StatementError, None),
    Fault.LIMIT: (DatabaseOperationError, ErrorCode.UNAVAILABLE),
    Fault.CORRUPT: (DatabaseOperationError, ErrorCode.DATA_LOSS),
    Fault.OTHER: (DatabaseOperationError, None),
}

#: What to do about a fault.
REMEDIES: Final[dict[Fault, str]] = {
    Fault.CONNECTION: "check that the server runs and that host and port are right",
    Fault.MISSING: "create the database, or correct its name",
    Fault.UNAUTHENTICATED: "check user name and password",
    Fault.PERMISSION: "grant the permission to the account in use",
    Fault.DEADLOCK: "run the unit again; `run` does it for you",
    Fault.SERIALIZATION: "run the unit again; `run` does it for you",
    Fault.STATEMENT_TIMEOUT: "make the statement faster, or raise `statement_timeout`",
    Fault.LOCK_TIMEOUT: "keep transactions short, or raise `lock_timeout`",
    Fault.POOL_TIMEOUT: "close sessions sooner, or raise `pool_size`",
    Fault.READ_ONLY: 'use session(role="writer")',
    Fault.DATA: "correct the value, or change the column's type",
    Fault.STATEMENT: "correct the statement, or apply the migrations (`infra db upgrade`)",
    Fault.LIMIT: "free disk space or connections on the server",
    Fault.CORRUPT: "restore the database from a backup",
}
