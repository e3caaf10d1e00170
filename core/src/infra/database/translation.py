"""From exceptions of the DBAPI to our errors, and the rule that a failed transaction cannot be committed.

One ``handle_error`` hook for each engine serves ORM and Core, connecting, BEGIN, COMMIT and savepoints alike.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Connection, Engine, Executable, event
from sqlalchemy import exc as sa
from sqlalchemy.engine import ExceptionContext

from infra.database.driver import DatabaseDriver
from infra.database.errors import LEAVES, REMEDIES, CommitUnknownError, IntegrityError, TransactionFailedError
from infra.database.model import Failure, Fault
from infra.database.settings import DatabaseSettings
from infra.errors import DatabaseError, ErrorCode, InfraError
from infra.plugin import OpenContext
from infra.resource.causes import advice, plain_cause

_FAILED: Final = "infra.failed"  # (transaction, error): that transaction must not be committed
_COMMITTING: Final = "infra.committing"  # the transaction whose COMMIT was sent last
_LONGEST: Final = 300
#: What a DBAPI that cannot send a value raises besides its own errors. UnicodeEncodeError is a ValueError.
_OF_VALUES: Final = (TypeError, ValueError, ArithmeticError)
_OWN_TABLES: Final = re.compile(r"\binfra_(outbox|inbox|unit)(?:_key)?\b")
_INCLUDE: Final = (
    "call infra.database.outbox.include(Base.metadata) beside your models, then `infra db revision` and `infra db upgrade`; "
    "in development db.create_all(outbox.metadata)"
)
#: What to do when a table of ours is missing.
_MISSING: Final = {
    "outbox": _INCLUDE,
    "inbox": _INCLUDE,
    "unit": "call infra.database.units.Unit.to_metadata(Base.metadata) beside your models, then `infra db revision` and `infra db upgrade`",
}
#: Faults that a setting can be to blame for.
_OF_SETTINGS: Final = (Fault.CONNECTION, Fault.MISSING, Fault.UNAUTHENTICATED, Fault.PERMISSION)


class Translator:
    """Maps every exception of one database's engine, by the driver's verdict.

    Args:
        driver: Says what an exception means.
        context: Names the resource; in production no text of the server enters a message, since it may hold values.
        settings: Of the resource: which of them an error is about.
        run_apart: Executes a statement on a connection of its own, without waiting for it.
    """

    def __init__(
        self, driver: DatabaseDriver, context: OpenContext, settings: DatabaseSettings, run_apart: Callable[[Executable], None]
    ) -> None:
        self._driver = driver
        self._settings = settings
        self._run_apart = run_apart
        self._context = context

    def attach(self, engine: Engine) -> None:
        """Listen to `engine` and to all that share its pool."""
        event.listen(engine, "handle_error", self._handle)
        event.listen(engine, "commit", self._before_commit)
        event.listen(engine, "release_savepoint", self._before_release)

    def translate(
        self,
        error: BaseException,
        operation: str,
        failure: Failure | None = None,
        statement: str | None = None,
        place: str | None = None,
    ) -> DatabaseError:
        """The error of our tree for an exception of the DBAPI or of the network."""
        failure = failure or self._driver.classify(error) or _fallback(error)
        leaf, code = LEAVES[failure.fault]
        if failure.fault is Fault.STATEMENT and statement and (own := _OWN_TABLES.search(statement)):
            failure, code = replace(failure, remedy=_MISSING[own[1]]), ErrorCode.CONFIGURATION
        details: dict[str, object] = {"fault": str(failure.fault)}
        if failure.code:
            details["server_code"] = failure.code
        if statement and not self._context.is_production:
            details["statement"] = self._context.redact(statement[:_LONGEST])
        fields: dict[str, Any] = {
            "code": code,
            "resource": self._context.resource,
            "provider": self._context.provider,
            "operation": operation,
            "details": details,
            "remedy": self._advise(failure, code or leaf.default_code),
        }
        if issubclass(leaf, IntegrityError):
            fields["constraint"] = failure.constraint
        if place is None and operation == "connect" and not getattr(self._settings, "replicas", None):
            place = self._settings.place()
        return leaf(self._describe(error, operation, failure, place), **fields)

    def commit_unknown(self, error: BaseException) -> CommitUnknownError:
        """The error for a COMMIT whose answer never came."""
        return CommitUnknownError(
            f"COMMIT was sent, and its outcome is not known: {self._text(error)}",
            resource=self._context.resource,
            provider=self._context.provider,
            operation="commit",
            remedy="look whether the change is there; `run(witness=True)` finds out, `run(idempotent=True)` does it again",
        )

    def transaction_failed(self, first: BaseException) -> TransactionFailedError:
        """The error for committing what an earlier error has failed."""
        return TransactionFailedError(
            "the transaction was rolled back instead of committed, because of an earlier error in it",
            resource=self._context.resource,
            provider=self._context.provider,
            operation="commit",
            details={"earlier": type(first).__name__},
            remedy="let errors leave the session, or put what may fail within `session.begin_nested()`",
        )

    def fail(self, connection: Connection, error: BaseException, *, root: bool = False) -> None:
        """Mark the innermost transaction (with `root` the whole one) as not to be committed."""
        transaction = (None if root else connection.get_nested_transaction()) or connection.get_transaction()
        if transaction is not None and not connection.closed and not connection.invalidated:
            connection.info[_FAILED] = (transaction, error)

    def _handle(self, context: ExceptionContext) -> BaseException | None:
        error, connection = context.original_exception, context.connection
        live = connection if connection is not None and _is_live(connection) else None
        committing = live is not None and live.info.pop(_COMMITTING, None) is live.get_transaction() is not None
        if not isinstance(error, Exception):
            if committing:
                error.add_note("COMMIT had been sent: its outcome is not known")
            elif live is not None:
                stop = self._driver.cancel(live.info["connection_id"])
                if stop is not None:
                    self._run_apart(stop)
            return None
        if isinstance(error, InfraError) or _is_expected(context):
            return None
        failure = self._driver.classify(error)
        if failure is None:
            failure = _fallback(error) if isinstance(context.sqlalchemy_exception, sa.DBAPIError) else _unsent(error, context)
            if failure is None:
                return None
        gone = context.is_disconnect or failure.fault is Fault.CONNECTION
        context.is_disconnect = gone
        if committing and (gone or failure.commit_unknown):
            return self.commit_unknown(error)
        if gone and failure.fault is not Fault.CONNECTION:
            failure = replace(failure, fault=Fault.CONNECTION)
        if failure.fault is Fault.SAVEPOINT_LOST and live is not None and _FAILED in live.info:
            return live.info[_FAILED][1]  # the error that cost the savepoint says more than its loss
        operation = "commit" if committing else "connect" if connection is None else "execute"
        translated = self.translate(
            error, operation, failure, context.statement, place=_place(context) if gone or connection is None else None
        )
        if live is not None and not gone:
            if committing:
                _roll_back(live)
            elif not _autocommits(live):
                self.fail(live, translated, root=failure.ends_transaction)
        return translated

    def _before_commit(self, connection: Connection) -> None:
        transaction = connection.get_transaction()
        failed = connection.info.pop(_FAILED, None)
        if failed is not None and failed[0] is transaction:
            _roll_back(connection)
            raise self.transaction_failed(failed[1]) from failed[1]
        connection.info[_COMMITTING] = transaction

    def _before_release(self, connection: Connection, _name: str, _context: None) -> None:
        failed = connection.info.get(_FAILED)
        if failed is not None and failed[0] is connection.get_nested_transaction():
            self.fail(connection, failed[1], root=True)
            raise self.transaction_failed(failed[1]) from failed[1]

    def _advise(self, failure: Failure, code: ErrorCode) -> str | None:
        if failure.remedy is not None:
            return failure.remedy
        if failure.fault not in _OF_SETTINGS:
            return REMEDIES.get(failure.fault)
        about = self._context.origins(failure.settings or self._settings.suspects.get(code, ()))
        return advice(code, about, certain=bool(failure.settings)) or REMEDIES.get(failure.fault)

    def _describe(self, error: BaseException, operation: str, failure: Failure, place: str | None) -> str:
        failed = f"{operation} failed on {self._context.provider}{f' at {place}' if place else ''}"
        reason = failure.reason or (plain_cause(error) if failure.fault is Fault.CONNECTION else None)
        if reason is not None:
            return f"{failed}: {self._context.redact(reason)}"
        what = str(failure.fault).replace("_", " ")
        where = f" {failure.constraint}" if failure.constraint else ""
        if self._context.is_production:
            return f"{failed}: {what}{where} ({failure.code or type(error).__name__})"
        return f"{failed}: {what}{where}: {self._text(error)}"

    def _text(self, error: BaseException) -> str:
        if self._context.is_production:
            return type(error).__name__
        return " ".join(self._context.redact(str(error)).split())[:_LONGEST] or type(error).__name__


def _fallback(error: BaseException) -> Failure:
    if isinstance(error, sa.TimeoutError):
        return Failure(fault=Fault.POOL_TIMEOUT)
    if isinstance(error, OSError):
        return Failure(fault=Fault.CONNECTION, commit_unknown=True)
    return Failure(fault=Fault.OTHER)


def _unsent(error: Exception, context: ExceptionContext) -> Failure | None:
    """What is raised before anything was sent: a value that a type or the DBAPI refuses, or one that is missing."""
    if isinstance(error, sa.SQLAlchemyError):
        return Failure(fault=Fault.STATEMENT) if isinstance(context.sqlalchemy_exception, sa.StatementError) else None
    if isinstance(context.sqlalchemy_exception, sa.StatementError):
        return Failure(fault=Fault.DATA)
    return Failure(fault=Fault.DATA) if context.statement is not None and isinstance(error, _OF_VALUES) else None


def _place(context: ExceptionContext) -> str | None:
    url = context.engine.url if context.engine is not None else None
    if url is None or not url.host:
        return None
    return f"{url.host}:{url.port}" if url.port else url.host


def _is_expected(context: ExceptionContext) -> bool:
    # SQLAlchemy's dialect of MySQL learns from an error that a table does not exist; it reads this option of the connection's alone.
    running = context.execution_context
    return running is not None and bool(running.execution_options.get("skip_user_error_events"))


def _is_live(connection: Connection) -> bool:
    if connection.closed or connection.invalidated:
        return False
    try:
        connection.info  # noqa: B018 - a connection that SQLAlchemy is still introducing itself to has none
    except NotImplementedError:
        return False
    return True


def _autocommits(connection: Connection) -> bool:
    return bool(connection.get_execution_options().get("infra_autocommit"))


def _roll_back(connection: Connection) -> None:
    # SQLAlchemy sends no ROLLBACK after a COMMIT that failed, and gives the connection back with its transaction open (2.1.9).
    connection.dialect.do_rollback(connection.connection)
