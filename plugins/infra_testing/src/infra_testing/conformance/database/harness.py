"""What the suite may do to a database's server. Embedded providers have none, and the suite checks that they do not claim one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from infra_testing.harness import Harness


class ServerControl(Protocol):
    """A private server of the tests, and a proxy before it. Methods return once their effect is there."""

    def kill(self) -> None:
        """Kill the server's processes, as a power failure would."""
        ...

    def start(self) -> None:
        """Start it again and wait until it accepts connections."""
        ...

    def cut_at_commit(self) -> AbstractContextManager[None]:
        """Within it, a COMMIT reaches the server, and its connection breaks before the answer."""
        ...

    def running(self) -> int:
        """How many statements of clients run on the server now, besides the one that asks."""
        ...


@dataclass(frozen=True)
class DatabaseHarness(Harness):
    """A database provider and the settings to test it with.

    Args:
        control: Gives the control of the server that the settings point to; None for an embedded provider.
    """

    control: Callable[[], ServerControl] | None = None


#: A statement that takes far longer than any test, by SQLAlchemy's name of the dialect.
SLOW_STATEMENTS = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
    "postgresql": "SELECT pg_sleep(600)",
    "mysql": "SELECT SLEEP(600)",
    "mariadb": "SELECT SLEEP(600)",
}

#: A statement that takes long enough for another one to be tried meanwhile, by SQLAlchemy's name of the dialect.
SHORT_WAITS = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) SELECT count(*) FROM n",
    "postgresql": "SELECT pg_sleep(0.3)",
    "mysql": "SELECT SLEEP(0.3)",
    "mariadb": "SELECT SLEEP(0.3)",
}
