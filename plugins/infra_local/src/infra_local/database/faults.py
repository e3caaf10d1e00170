"""What SQLite's result codes mean. Source: https://www.sqlite.org/rescode.html"""

from __future__ import annotations

import re
import sqlite3

from infra.database.model import Failure, Fault
from infra_local.database.connection import LimitExceededError

_EXTENDED = {
    sqlite3.SQLITE_CONSTRAINT_UNIQUE: Fault.UNIQUE,
    sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY: Fault.UNIQUE,
    sqlite3.SQLITE_CONSTRAINT_ROWID: Fault.UNIQUE,
    sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY: Fault.FOREIGN_KEY,
    sqlite3.SQLITE_CONSTRAINT_NOTNULL: Fault.NOT_NULL,
    sqlite3.SQLITE_CONSTRAINT_CHECK: Fault.CHECK,
    sqlite3.SQLITE_BUSY_SNAPSHOT: Fault.SERIALIZATION,
}
_PRIMARY = {
    sqlite3.SQLITE_CONSTRAINT: Fault.INTEGRITY,
    sqlite3.SQLITE_BUSY: Fault.LOCK_TIMEOUT,
    sqlite3.SQLITE_LOCKED: Fault.LOCK_TIMEOUT,
    sqlite3.SQLITE_INTERRUPT: Fault.CANCELLED,
    sqlite3.SQLITE_IOERR: Fault.CONNECTION,
    sqlite3.SQLITE_CANTOPEN: Fault.CONNECTION,
    sqlite3.SQLITE_FULL: Fault.LIMIT,
    sqlite3.SQLITE_NOMEM: Fault.LIMIT,
    sqlite3.SQLITE_CORRUPT: Fault.CORRUPT,
    sqlite3.SQLITE_NOTADB: Fault.CORRUPT,
    sqlite3.SQLITE_READONLY: Fault.READ_ONLY,
    sqlite3.SQLITE_PERM: Fault.PERMISSION,
    sqlite3.SQLITE_AUTH: Fault.PERMISSION,
    sqlite3.SQLITE_TOOBIG: Fault.DATA,
    sqlite3.SQLITE_MISMATCH: Fault.DATA,
    sqlite3.SQLITE_RANGE: Fault.STATEMENT,
    sqlite3.SQLITE_ERROR: Fault.STATEMENT,
}
_CONSTRAINT = re.compile(r"constraint failed: (?P<name>[^\n]+)")
_GONE = ("no active connection", "connection closed", "cannot operate on a closed database")


def classify(error: BaseException) -> Failure | None:
    """What an exception of ``sqlite3`` or ``aiosqlite`` means."""
    if not isinstance(error, sqlite3.Error):
        gone = isinstance(error, ValueError) and str(error).lower() in _GONE
        return Failure(fault=Fault.CONNECTION) if gone else None
    if isinstance(error, LimitExceededError):
        return Failure(fault=Fault.STATEMENT_TIMEOUT)
    number: int | None = getattr(error, "sqlite_errorcode", None)
    if number is None:  # raised by the Python module, not by the library
        return Failure(fault=_without_code(error))
    primary = number & 0xFF
    if str(error).startswith("Error binding parameter"):
        return Failure(fault=Fault.DATA)
    fault = _EXTENDED.get(number) or _PRIMARY.get(primary, Fault.OTHER)
    found = _CONSTRAINT.search(str(error)) if primary == sqlite3.SQLITE_CONSTRAINT else None
    return Failure(
        fault=fault,
        code=error.sqlite_errorname,
        constraint=found["name"] if found else None,
        ends_transaction=fault is Fault.SERIALIZATION or primary in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_NOMEM),
        # BUSY at COMMIT: the transaction is still open, so not committed. After an I/O error nobody knows what reached the file.
        commit_unknown=primary == sqlite3.SQLITE_IOERR,
    )


def _without_code(error: sqlite3.Error) -> Fault:
    if str(error).lower().rstrip(".") in _GONE:
        return Fault.CONNECTION
    if str(error).startswith("Error binding parameter"):
        return Fault.DATA
    if isinstance(error, sqlite3.ProgrammingError):
        return Fault.STATEMENT
    return Fault.DATA if isinstance(error, sqlite3.DataError | sqlite3.InterfaceError) else Fault.OTHER
