"""From exceptions of the DBAPI to our errors, and the rule that a failed transaction cannot be committed.

One ``handle_error`` hook for each engine serves ORM and Core, connecting, BEGIN, COMMIT and savepoints alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import Connection, Engine, Executable, event
from sqlalchemy import exc as sa
from sqlalchemy.engine import ExceptionContext

from infra.database.driver import DatabaseDriver
from infra.database.errors import LEAVES, REMEDIES, CommitUnknownError, IntegrityError, TransactionFailedError
from infra.database.model import Failure, Fault
from infra.errors import DatabaseError, InfraError
from infra.plugin import OpenContext

_FAILED: Final = "infra.failed"  # (transaction, error): that transaction must not be committed
_COMMITTING: Final = "infra.committing"  # the transaction whose COMMIT was sent last
_LONGEST: Final = 300


class Translator:
    """Maps every exception of one database's engine, by the driver's verdict.

    Args:
        driver: Says what an exception means.
        context: Names the resource; in production no text of the server enters a message, since it may hold values.
        run_apart: Executes a statement on a connection of its own, without waiting for it.
    """

    def __init__(self, driver: DatabaseDriver, context: OpenContext, run_apart: Callable[[Executable], None]) -> None:
        self._driver = driver
        self._run_apart = run_apart
        self._context = context

    def attach(self, engine: Engine) -> None:
        """Listen to `engine` and to all that share its pool."""
        event.listen(engine, "handle_error", self._handle)
        event.listen(engine, "commit", self._before_commit)
        event.listen(engine, "release_savepoint", self._before_release)

    def translate(
        self, error: BaseException, operation: str, failure: Failure | None = None, statement: str | None = None
    ) -> DatabaseError:
        """The error of our tree for an exception of the DBAPI or of the network."""
        failure = failure or self._driver.classify(error) or _fallback(error)
        leaf, code = LEAVES[failure.fault]
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
            "remedy": failure.remedy or REMEDIES.get(failure.fault),
        }
        if issubclass(leaf, IntegrityError):
            fields["constraint"] = failure.constraint
        return leaf(self._describe(error, operation, failure), **fields)

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
        if isinstance(error, InfraError):
            return None
        failure = self._driver.classify(error)
        if failure is None:
            if not isinstance(context.sqlalchemy_exception, sa.DBAPIError):
                return None  # raised before anything was sent, such as a value that a type refuses
            failure = _fallback(error)
        gone = context.is_disconnect or failure.fault is Fault.CONNECTION
        context.is_disconnect = gone
        if committing and (gone or failure.commit_unknown):
            return self.commit_unknown(error)
        if gone and failure.fault is not Fault.CONNECTION:
            failure = Failure(fault=Fault.CONNECTION, code=failure.code, remedy=failure.remedy)
        if failure.fault is Fault.SAVEPOINT_LOST and live is not None and _FAILED in live.info:
            return live.info[_FAILED][1]  # the error that cost the savepoint says more than its loss
        operation = "commit" if committing else "connect" if connection is None else "execute"
        translated = self.translate(error, operation, failure, context.statement)
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

    def _describe(self, error: BaseException, operation: str, failure: Failure) -> str:
        what = str(failure.fault).replace("_", " ")
        where = f" {failure.constraint}" if failure.constraint else ""
        if self._context.is_production:
            return f"{operation} failed on {self._context.provider}: {what}{where} ({failure.code or type(error).__name__})"
        return f"{operation} failed on {self._context.provider}: {what}{where}: {self._text(error)}"

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
