"""A server of the tests' own to stop and kill, and a fault proxy in front of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from infra_testing.proxy import FaultProxy

if TYPE_CHECKING:
    from infra_testing.services.server import Server


class PrivateServer:
    """Starts on first use; the suite's fault cases bring it back, healed, before each of them.

    ``PrivateServer(RedisServer, lambda port: {"host": "127.0.0.1", "port": port})``

    Args:
        make: Gives a server that is not started.
        settings: The provider's settings for a server on that port of 127.0.0.1.
    """

    def __init__(self, make: Callable[[], Server], settings: Callable[[int], Mapping[str, object]]) -> None:
        self._make = make
        self._settings = settings
        self._opened: tuple[Server, FaultProxy] | None = None

    def _open(self) -> tuple[Server, FaultProxy]:
        if self._opened is None:
            from infra_testing.pytest_plugin import provide

            server = self._make()
            provide(type(server), lambda _: server.start())
            self._opened = server, FaultProxy(server.port).start()
        return self._opened

    @property
    def server(self) -> Server:
        """The server itself, past the proxy."""
        return self._open()[0]

    @property
    def proxy(self) -> FaultProxy:
        """The proxy, which the settings lead to."""
        return self._open()[1]

    def settings(self) -> Mapping[str, object]:
        """The settings of a provider that reaches the server through the proxy."""
        return self._settings(self.proxy.port)

    def heal(self) -> None:
        """Bring the server back where it was stopped, and end all faults."""
        self.server.start()
        self.proxy.heal()

    def close(self) -> None:
        """End both. The next use starts them anew."""
        opened, self._opened = self._opened, None
        if opened is not None:
            server, proxy = opened
            proxy.close()
            server.close()
