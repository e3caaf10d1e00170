"""The server of a fault case."""

from __future__ import annotations

import pytest

from infra_testing.harness import Harness
from infra_testing.private import PrivateServer


def private_server(harness: Harness, capability: str, *, to_kill: bool = False) -> PrivateServer | None:
    """The harness's server, running and healed; None for an embedded provider, which has none.

    A provider that needs a server and whose harness gives none, or none to kill, has the case reported as skipped.
    """
    server = harness.server
    if server is None:
        if harness.descriptor(capability).embedded:
            return None
        pytest.skip(f"the harness of {harness.provider} gives no server: this fault case did not run")
    if to_kill and not server.kills:
        pytest.skip(f"the server of {harness.provider} is not to be killed: this fault case did not run")
    server.heal()
    return server
