"""Pools: their errors are ours, and an idle connection that died is replaced before it is used."""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Any, Final, cast

from sqlalchemy import AsyncAdaptedQueuePool, Connection, Engine, Pool, QueuePool, event
from sqlalchemy import exc as sa
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from infra.database.driver import DatabaseDriver
from infra.database.model import PoolStats
from infra.errors import InfraError

_SOCKET: Final = "infra.socket"  # the function that gives it
_USED: Final = "infra.used"

#: From an exception and the operation to an error of our tree.
Translate = Callable[[BaseException, str], InfraError]


def queue_pool(is_async: bool) -> type[QueuePool]:
    """The pool class of a door."""
    return AsyncAdaptedQueuePool if is_async else QueuePool


def translating(pool: type[Pool], translate: Translate) -> type[Pool]:
    """A pool class whose failures to hand out a connection are errors of our tree.

    SQLAlchemy's ``handle_error`` does not see them: a full pool is no error of the DBAPI, and asyncio drivers raise plain `OSError`.
    """

    class TranslatingPool(pool):
        def connect(self) -> PoolProxiedConnection:
            try:
                return super().connect()
            except (sa.TimeoutError, OSError) as error:
                raise translate(error, "connect") from error

    return TranslatingPool


def set_up_connections(engine: Engine, driver: DatabaseDriver, settings: Any, translate: Translate) -> None:
    """Let the driver set up each new connection of `engine` and begin its transactions, and note the connection's id."""

    def connected(dbapi_connection: Any, record: ConnectionPoolEntry) -> None:
        driver.on_connect(dbapi_connection, settings)
        record.info["connection_id"] = driver.connection_id(dbapi_connection)
        record.info[_SOCKET] = driver.idle_socket

    event.listen(engine, "connect", connected)

    def began(connection: Connection) -> None:
        try:
            driver.begin(connection)
        except InfraError:
            raise
        except Exception as error:
            raise translate(error, "begin") from error

    event.listen(engine, "begin", began)


def watch_idle_connections(engine: Engine) -> None:
    """Replace connections that died while idle.

    An idle socket that has something to read is at its end, or soon will be: polling it takes 1 us, where a pre-ping takes a round trip
    (190 us on loopback). Only a readable one, or one without a socket to poll, is asked with a ping.
    """
    dialect = engine.dialect

    def checked_out(dbapi_connection: Any, record: ConnectionPoolEntry, _: PoolProxiedConnection) -> None:
        used = record.info.get(_USED)
        record.info[_USED] = True
        if not used:
            return  # it is new
        idle_socket = record.info.get(_SOCKET)
        socket = idle_socket(dbapi_connection) if idle_socket is not None else None
        if socket is not None and not readable(socket):
            return
        try:
            alive = dialect.do_ping(dbapi_connection)
        except Exception as error:
            raise sa.DisconnectionError("the idle connection does not answer") from error
        if not alive:
            raise sa.DisconnectionError("the idle connection does not answer")

    event.listen(engine, "checkout", checked_out)


def readable(descriptor: int) -> bool:
    """Whether reading from `descriptor` would return at once: data, end-of-file or an error."""
    poll = getattr(select, "poll", None)
    if poll is None:
        return bool(select.select([descriptor], [], [], 0)[0])
    poller = poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(0))


def pool_stats(pool: Pool) -> PoolStats:
    """Numbers of a queue pool."""
    queue = cast(QueuePool, pool)
    in_use, idle = queue.checkedout(), queue.checkedin()
    return PoolStats(limit=queue.size() + max(0, queue._max_overflow), open=in_use + idle, in_use=in_use, idle=idle)
