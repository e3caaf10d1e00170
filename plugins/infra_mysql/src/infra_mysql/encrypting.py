"""asyncmy with TLS where the server offers it."""

from __future__ import annotations

from typing import Any

from asyncmy.connection import Connection
from asyncmy.constants.CLIENT import SSL


class PreferringConnection(Connection):
    """asyncmy's connection. By itself it asks every server for TLS once it has a context, and fails where there is none.

    Args:
        prefers: Go on in the clear where the server offers no TLS.
        arguments: asyncmy's own.
    """

    def __init__(self, prefers: bool, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._prefers = prefers

    async def _get_server_information(self) -> None:
        await super()._get_server_information()
        if self._ssl_context is None or self.server_capabilities & SSL:
            return
        if not self._prefers:
            from asyncmy.errors import OperationalError

            raise OperationalError(2026, "TLS is required, and the server does not offer it")
        self._ssl_context = None
        self._client_flag &= ~SSL
