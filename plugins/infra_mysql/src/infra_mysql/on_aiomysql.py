"""aiomysql, repaired: 0.3.2 cannot send bytes with PyMySQL 1.2, and goes on in the clear when a server has no TLS."""

from __future__ import annotations

from typing import Any, cast

from aiomysql import OperationalError
from aiomysql.connection import Connection
from pymysql.constants.CLIENT import SSL

from infra_mysql.dialects import TLS_MISSING


async def connect(tls: str, **arguments: Any) -> Any:
    """A connection with `tls` as the settings have it."""
    connection = BytesConnection(**arguments)
    await connection._connect()
    if tls in ("verify", "authority", "require") and not connection._secure:
        connection.close()
        raise OperationalError(2026, TLS_MISSING)
    return connection


class BytesConnection(cast("type[Any]", Connection)):  # it has no types
    """aiomysql's connection, which escapes bytes by a name that PyMySQL has withdrawn."""

    async def _request_authentication(self) -> None:
        """With what the server can: a MySQL without TLS refuses a client that announces it."""
        if not self.server_capabilities & SSL:  # pyright: ignore[reportUnknownMemberType]
            self._ssl_context = None
            self.client_flag &= ~SSL  # pyright: ignore[reportUnknownMemberType]
        await super()._request_authentication()  # pyright: ignore[reportUnknownMemberType]

    def escape(self, obj: Any) -> str:
        """The literal of a value."""
        if isinstance(obj, bytes | bytearray):
            return f"_binary X'{obj.hex()}'"
        return super().escape(obj)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]

    def close(self) -> None:
        """Close at once: TLS would wait for the server's farewell, and outlive a loop that ends."""
        if self._writer is not None:
            self._writer.transport.abort()
        super().close()  # pyright: ignore[reportUnknownMemberType]
