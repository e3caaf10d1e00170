"""A private database server for the suite, with a proxy before it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from infra_testing.proxy import FaultProxy
from infra_testing.pytest_plugin import provide
from infra_testing.services.server import Server

S = TypeVar("S", bound=Server)


class ProxiedServer(ABC, Generic[S]):
    """The `ServerControl` of a module's own server, which its cases kill. It starts on first use, and again on the first one after `close`.

    Args:
        make: Gives a server that is not started.
        commit: What a client sends to commit.
    """

    def __init__(self, make: Callable[[], S], commit: bytes) -> None:
        self._make = make
        self._commit = commit
        self._opened: tuple[S, FaultProxy] | None = None

    def _open(self) -> tuple[S, FaultProxy]:
        if self._opened is None:
            server = self._make()
            provide(type(server), lambda _: server.start())
            self.prepare(server)
            self._opened = server, FaultProxy(server.port).start()
        return self._opened

    def prepare(self, server: S) -> None:
        """What a server that was just started needs; nothing, unless overridden."""

    @property
    def server(self) -> S:
        """The server itself, past the proxy."""
        return self._open()[0]

    @property
    def port(self) -> int:
        """The proxy's port, which clients connect to."""
        return self._open()[1].port

    def kill(self) -> None:
        """See `ServerControl`, as with the others."""
        self.server.kill()

    def start(self) -> None:
        """Start it again."""
        self.server.start()

    @contextmanager
    def cut_at_commit(self) -> Iterator[None]:
        """Break the connection before the answer to COMMIT."""
        _, proxy = self._open()
        proxy.cut_answer_to(self._commit)
        try:
            yield
        finally:
            proxy.heal()

    @abstractmethod
    def running(self) -> int:
        """How many statements of clients run now."""

    def close(self) -> None:
        """End both."""
        opened, self._opened = self._opened, None
        if opened is not None:
            server, proxy = opened
            proxy.close()
            server.close()
