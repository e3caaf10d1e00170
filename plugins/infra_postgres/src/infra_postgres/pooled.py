"""Behind a pooler that lends a server's session for one transaction at a time: settings are the transaction's.

An autocommit session is a transaction for each statement there: its settings would be another client's otherwise.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, event
from sqlalchemy.dialects import plugins
from sqlalchemy.engine import URL, CreateEnginePlugin, Engine, ExceptionContext

NAME: Final = "infra_transaction_pooler"
_STATEMENT: Final = "infra_transaction_settings"


class TransactionPooler(CreateEnginePlugin):
    """Puts the session's settings into each transaction of an engine."""

    def __init__(self, url: URL, kwargs: dict[str, Any]) -> None:
        super().__init__(url, kwargs)
        self._statement: str = kwargs.pop(_STATEMENT)

    def update_url(self, url: URL) -> URL:
        """As it is: nothing of this is in it."""
        return url

    def engine_created(self, engine: Engine) -> None:
        """Listen to it."""

        def begins(connection: Connection) -> None:
            if not connection.get_execution_options().get("infra_autocommit"):
                execute(connection, self._statement)

        def before(connection: Connection, *_: Any) -> None:
            if connection.get_execution_options().get("infra_autocommit"):
                execute(connection, self._statement)

        def after(connection: Connection, *_: Any) -> None:
            if connection.get_execution_options().get("infra_autocommit"):
                connection.connection.commit()

        def failed(context: ExceptionContext) -> None:
            connection = context.connection
            if connection is None or context.is_disconnect or connection.closed or connection.invalidated:
                return
            if connection.get_execution_options().get("infra_autocommit"):
                connection.connection.rollback()

        event.listen(engine, "handle_error", failed)
        event.listen(engine, "begin", begins)
        event.listen(engine, "before_cursor_execute", before)
        event.listen(engine, "after_cursor_execute", after)


plugins.register(NAME, __name__, TransactionPooler.__name__)


def engine_options(settings: dict[str, str], isolation: str) -> dict[str, Any]:
    """Arguments of ``create_engine`` for such a pooler."""
    calls = ", ".join(f"set_config({_literal(name)}, {_literal(value)}, true)" for name, value in settings.items())
    return {"plugins": [NAME], _STATEMENT: f"SELECT {calls}", "isolation_level": isolation}


def lock(connection: Connection, number: int) -> bool:
    """Take an advisory lock in a transaction that stays open, and may be idle; `unlock` ends it."""
    execute(connection, "SELECT set_config('idle_in_transaction_session_timeout', '0', true)")
    if execute(connection, f"SELECT pg_try_advisory_xact_lock({number})"):
        return True
    unlock(connection)
    return False


def unlock(connection: Connection) -> None:
    """End the transaction that holds the lock."""
    connection.connection.rollback()


def execute(connection: Connection, statement: str) -> Any:
    """Its first value. Past SQLAlchemy, whose events would end the transaction."""
    cursor: Any = connection.connection.cursor()
    try:
        cursor.execute(statement)
        return cursor.fetchone()[0]
    finally:
        cursor.close()


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
