"""What the doctor finds about servers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from infra_testing.services import MariaDBServer, PostgresServer


@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
def test_the_pools_of_all_processes_are_held_against_the_servers_limit(
    kind: str, request: pytest.FixtureRequest, only_environment: Any, program: Callable[..., Any]
) -> None:
    server: PostgresServer | MariaDBServer = request.getfixturevalue(f"{kind}_server")
    only_environment({"MAIN_DB_URL": server.url, "BLOOD_DB_URL": server.url, "DB_POOL_SIZE": "5", "DB_MAX_OVERFLOW": "10"})
    few = program("doctor", "--timeout", "60")
    assert few.code == 0
    assert "database.main, database.blood: 1 process with up to 30 connections each; 127.0.0.1:" in " ".join(few.out.split())
    assert "max_connections" not in few.out
    many = program("doctor", "--timeout", "60", "--processes", "1000")
    assert many.code == 0  # a warning
    text = " ".join(many.out.split())
    assert "1,000 processes with up to 30 connections each" in text
    assert "raise the server's max_connections" in text
