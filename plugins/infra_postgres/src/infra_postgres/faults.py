"""What PostgreSQL's SQLSTATEs mean. Source: https://www.postgresql.org/docs/current/errcodes-appendix.html"""

from __future__ import annotations

import re
from typing import Any, Final

import psycopg
from sqlalchemy.connectors.asyncio import AsyncAdapt_Error

from infra.database.model import Failure, Fault

_STATES: Final = {
    "23505": Fault.UNIQUE,
    "23503": Fault.FOREIGN_KEY,
    "23001": Fault.FOREIGN_KEY,
    "23502": Fault.NOT_NULL,
    "23514": Fault.CHECK,
    "25006": Fault.READ_ONLY,
    "25P02": Fault.SAVEPOINT_LOST,
    "25P03": Fault.CONNECTION,  # idle in a transaction for too long: the session is over
    "25P04": Fault.CONNECTION,  # transaction_timeout: likewise
    "3B001": Fault.SAVEPOINT_LOST,
    "3D000": Fault.MISSING,
    "40001": Fault.SERIALIZATION,
    "40002": Fault.INTEGRITY,
    "40003": Fault.CONNECTION,
    "40P01": Fault.DEADLOCK,
    "42501": Fault.PERMISSION,
    "42804": Fault.DATA,  # a value of another type than its column
    "42846": Fault.DATA,  # likewise
    "55P03": Fault.LOCK_TIMEOUT,
    "57P01": Fault.CONNECTION,
    "57P02": Fault.CONNECTION,
    "57P03": Fault.CONNECTION,
    "57P04": Fault.CONNECTION,
    "57P05": Fault.CONNECTION,
}
_CLASSES: Final = {
    "08": Fault.CONNECTION,
    "0A": Fault.STATEMENT,
    "21": Fault.STATEMENT,
    "22": Fault.DATA,
    "23": Fault.INTEGRITY,
    "26": Fault.STATEMENT,
    "28": Fault.UNAUTHENTICATED,
    "34": Fault.STATEMENT,
    "3F": Fault.STATEMENT,
    "42": Fault.STATEMENT,
    "53": Fault.LIMIT,
    "54": Fault.LIMIT,
    "XX": Fault.CORRUPT,
}
#: What is said without an SQLSTATE: libpq gives none for what fails before the session stands, nor do the DBAPIs for what they find.
_TEXTS: Final = (
    (re.compile(r"too many (clients|connections)|remaining connection slots"), Fault.LIMIT),
    (re.compile(r"invalid input for query argument|cannot adapt type|cannot dump"), Fault.DATA),
    # What the DBAPI itself cannot send: the connection is as it was.
    (re.compile(r"number of (query arguments|parameters)"), Fault.STATEMENT),
)
#: What the server says of a statement whose bytes it cannot read, such as a null character in its text.
_UNREADABLE: Final = re.compile(r"insufficient data left in message|invalid (message format|string in message)")
#: Why a session did not come to stand: what is said, what it means, our words, and the settings that it is about.
_REFUSALS: Final = (
    (
        re.compile(r"unsupported startup parameter"),
        Fault.CONNECTION,
        'a pooler takes no settings of sessions: set `pooler = "transaction"`',
        ("pooler",),
    ),
    (re.compile(r"password authentication failed for user (?P<it>\"[^\"]*\")"), Fault.UNAUTHENTICATED, "wrong password for user {it}", ()),
    (re.compile(r"no password supplied"), Fault.UNAUTHENTICATED, "the server asks for a password", ("password",)),
    (
        re.compile(r"role (?P<it>\"[^\"]*\") (does not exist|is not permitted)"),
        Fault.UNAUTHENTICATED,
        "no user {it} may log in",
        ("username",),
    ),
    (
        re.compile(r"pg_hba\.conf.*user (?P<it>\"[^\"]*\")"),
        Fault.UNAUTHENTICATED,
        "the server's pg_hba.conf does not let user {it} in from this host",
        ("username", "database"),
    ),
    (re.compile(r"database (?P<it>\"[^\"]*\") does not exist"), Fault.MISSING, "there is no database {it}", ()),
    (
        re.compile(r"permission denied for database (?P<it>\"[^\"]*\")"),
        Fault.PERMISSION,
        "the user may not connect to database {it}",
        ("username", "database"),
    ),
    (
        re.compile(r"does not support SSL|rejected SSL upgrade"),
        Fault.CONNECTION,
        "the server does not speak TLS, and `tls` asks for it",
        ("tls",),
    ),
    (
        re.compile(r"certificate verify failed: (?P<it>[^\n]+)"),
        Fault.CONNECTION,
        "its certificate is not trusted ({it})",
        ("tls", "tls_ca"),
    ),
    (re.compile(r"root certificate file"), Fault.CONNECTION, "there is no file of certificate authorities", ("tls", "tls_ca")),
    (re.compile(r"failed to resolve host|could not translate host name"), Fault.CONNECTION, "unknown host", ("host",)),
    (re.compile(r"Connection refused"), Fault.CONNECTION, "connection refused", ()),
    (re.compile(r"timeout expired|Connection timed out"), Fault.CONNECTION, "no answer in time", ()),
    (re.compile(r"No route to host|Network is unreachable"), Fault.CONNECTION, "the host cannot be reached", ()),
)
#: Faults that a refused session can be.
_OF_SESSIONS: Final = (Fault.UNAUTHENTICATED, Fault.MISSING, Fault.PERMISSION, Fault.CONNECTION)
_UNKNOWN_COMMIT: Final = ("08", "40003", "57P0")


def classify(error: BaseException) -> Failure | None:
    """What an exception of psycopg or of SQLAlchemy's adapter over asyncpg means."""
    if not isinstance(error, psycopg.Error | AsyncAdapt_Error):
        return _refusal(str(error)) if isinstance(error, ConnectionError) else None  # asyncpg raises some as they are
    state: str | None = getattr(error, "sqlstate", None) or getattr(error.__cause__, "sqlstate", None)
    if state is None:
        return _without_state(error)
    fault = _STATES.get(state) or _CLASSES.get(state[:2], Fault.OTHER)
    text = str(error)
    refusal = _refusal(text) if fault in _OF_SESSIONS else None
    if state == "57014":
        fault = Fault.CANCELLED if "user request" in text else Fault.STATEMENT_TIMEOUT
    elif state == "0A000" and "cached" in text:
        fault = Fault.SERIALIZATION  # the schema changed under a prepared statement: the same unit works when run again
    elif state == "08P01" and _UNREADABLE.search(text):
        return Failure(fault=Fault.STATEMENT, code=state)
    elif state == "XX000":
        fault = Fault.OTHER  # "internal error" is what extensions say of everything
    return Failure(
        fault=fault,
        code=state,
        constraint=_constraint(error) if state.startswith("23") else None,
        ends_transaction=fault is Fault.SERIALIZATION,
        commit_unknown=state.startswith(_UNKNOWN_COMMIT),
        reason=None if refusal is None else refusal.reason,
        settings=() if refusal is None else refusal.settings,
    )


def _without_state(error: BaseException) -> Failure:
    text = str(error)
    for pattern, fault in _TEXTS:
        if pattern.search(text):
            return Failure(fault=fault)
    refusal = _refusal(text) if isinstance(error, psycopg.OperationalError) or error.__cause__ is not None else None
    if refusal is not None:
        return refusal
    if isinstance(error, psycopg.OperationalError):
        return Failure(fault=Fault.CONNECTION, commit_unknown=True)
    if isinstance(error, psycopg.DataError):
        return Failure(fault=Fault.DATA)
    if isinstance(error, psycopg.ProgrammingError | psycopg.NotSupportedError):
        return Failure(fault=Fault.STATEMENT)
    if "closed" in text or isinstance(error.__cause__, OSError):
        return Failure(fault=Fault.CONNECTION, commit_unknown=True)
    return Failure(fault=Fault.OTHER, commit_unknown=isinstance(error.__cause__, TimeoutError))


def _refusal(text: str) -> Failure | None:
    """Why no session came to stand, where the text says so."""
    for pattern, fault, words, settings in _REFUSALS:
        if found := pattern.search(text):
            reason = words.format_map(found.groupdict())
            return Failure(fault=fault, reason=reason, settings=settings, commit_unknown=fault is Fault.CONNECTION)
    return None


def _constraint(error: BaseException) -> str | None:
    """The constraint's name; for NOT NULL, which has none before PostgreSQL 18, ``table.column``."""
    source: Any = error.diag if isinstance(error, psycopg.Error) else error.__cause__
    name: str | None = getattr(source, "constraint_name", None)
    table, column = getattr(source, "table_name", None), getattr(source, "column_name", None)
    return name or (f"{table}.{column}" if table and column else None)
