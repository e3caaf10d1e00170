"""LISTEN and NOTIFY, on a connection that does nothing else."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from sqlalchemy import Connection
from sqlalchemy.util import await_

_LISTENING: Final = "infra.listening"


def wait_for_notice(connection: Connection, channel: str, timeout: float) -> bool:
    """Wait for a notification; the first call on a connection starts to listen, and says True: what came before is not known."""
    raw: Any = connection.connection.driver_connection
    info = connection.info
    if connection.dialect.driver == "asyncpg":
        if _LISTENING not in info:
            info[_LISTENING] = heard = asyncio.Event()
            await_(_listen_asyncpg(raw, channel, heard))
            return True
        return await_(_wait_asyncpg(raw, info[_LISTENING], timeout))
    if _LISTENING not in info:
        info[_LISTENING] = True
        connection.exec_driver_sql(f"LISTEN {connection.dialect.identifier_preparer.quote(channel)}")
        return True
    if connection.dialect.is_async:
        return await_(_wait_psycopg(raw, timeout))
    return any(True for _ in raw.notifies(timeout=timeout, stop_after=1))


async def _wait_psycopg(raw: Any, timeout: float) -> bool:
    heard = False
    async for _ in raw.notifies(timeout=timeout, stop_after=1):
        heard = True
    return heard


async def _listen_asyncpg(raw: Any, channel: str, heard: asyncio.Event) -> None:
    def hear(*_: object) -> None:
        heard.set()

    await raw.add_listener(channel, hear)
    raw.add_termination_listener(hear)


async def _wait_asyncpg(raw: Any, heard: asyncio.Event, timeout: float) -> bool:
    try:
        await asyncio.wait_for(heard.wait(), timeout)
    except TimeoutError:
        return False
    heard.clear()
    if raw.is_closed():
        raise ConnectionError("the connection that listened is closed")
    return True
