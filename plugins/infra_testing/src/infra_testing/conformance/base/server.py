"""The server of a fault case."""

from __future__ import annotations

import pytest

from infra_testing.harness import Harness
from infra_testing.private import PrivateServer


def private_server(harness: Harness, capability: str, *, to_kill: bool = False) -> PrivateServer | None:
    """The harness's server, running and healed; None for an embedded provider, which has none, and where the harness declares the absence.

    A provider that needs a server and whose harness gives none, and does not say why, has the case reported as skipped.
    """
    server = harness.server
    if "server" in harness.absent or (to_kill and "kill" in harness.absent):
        return None
    if server is None:
        if harness.descriptor(capability).embedded:
            return None
        pytest.skip(f"the harness of {harness.provider} gives no server and declares no absence of one: this fault case did not run")
    server.heal()
    return server
