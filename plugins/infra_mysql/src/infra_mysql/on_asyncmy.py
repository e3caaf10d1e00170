"""asyncmy, with TLS where the server offers it."""

from __future__ import annotations

from typing import Any, cast

from asyncmy.connection import Connection
from asyncmy.constants.CLIENT import SSL
from asyncmy.errors import OperationalError

from infra_mysql.dialects import TLS_MISSING


async def connect(tls: str, **arguments: Any) -> Any:
    """A connection with `tls` as the settings have it."""
    connection = PreferringConnection(tls == "prefer", **arguments)
    await connection.connect()
    return connection


class PreferringConnection(cast("type[Any]", Connection)):  # its stub lacks what is used here
    """asyncmy's connection. By itself it asks every server for TLS once it has a context, and fails where there is none.

    Args:
        prefers: Go on in the clear where the server offers no TLS.
        arguments: asyncmy's own.
    """

    def __init__(self, prefers: bool, **arguments: Any) -> None:
        super().__init__(**arguments)  # pyright: ignore[reportUnknownMemberType]
        self._prefers = prefers
        self._connect_timeout = None  # whoever calls has one for all of it

    async def _get_server_information(self) -> None:
        await super()._get_server_information()  # pyright: ignore[reportUnknownMemberType]
        if self._ssl_context is None or self.server_capabilities & SSL:
            return
        if not self._prefers:
            raise OperationalError(2026, TLS_MISSING)
        self._ssl_context = None
        self._client_flag &= ~SSL  # pyright: ignore[reportUnknownMemberType]

    def close(self) -> None:
        """Close at once: TLS would wait for the server's farewell, and outlive a loop that ends."""
        if self._transport is not None:
            self._transport.abort()
        super().close()  # pyright: ignore[reportUnknownMemberType]
