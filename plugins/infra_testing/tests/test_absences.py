"""What a harness says its fault cases cannot have."""

from __future__ import annotations

from typing import Any

import pytest

from infra_testing.conformance.base.server import private_server
from infra_testing.harness import Harness
from infra_testing.private import PrivateServer
from infra_testing.services import RedisServer

never_started = PrivateServer(RedisServer, lambda port: {"port": port})


@pytest.mark.parametrize("absent", [{"server": "only its maker runs one"}, {"kill": "it forgets everything"}])
def test_a_declared_absence_starts_no_server_and_skips_nothing(absent: dict[str, str]) -> None:
    server = None if "server" in absent else never_started
    harness = Harness("redis", plugin="infra_redis", server=server, absent=absent)
    assert private_server(harness, "cache", to_kill=True) is None


def test_an_absence_that_is_not_declared_is_reported() -> None:
    with pytest.raises(pytest.skip.Exception, match="declares no absence"):
        private_server(Harness("redis", plugin="infra_redis"), "cache")
    assert private_server(Harness("memory", plugin="infra_local"), "cache") is None


@pytest.mark.parametrize(
    "wrong",
    [{"absent": {"kil": "x"}}, {"absent": {"kill": " "}}, {"absent": {"server": "x"}, "server": never_started}],
)
def test_an_absence_without_a_reason_or_a_meaning_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"absen"):
        Harness("redis", **wrong)
