"""How the workspace's tests are spread over processes."""

from __future__ import annotations

import os
import signal

import pytest


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Two for each core: half of the suite's time is waiting for leases, servers and processes."""
    return 2 * len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2 * (os.cpu_count() or 1)


def pytest_configure() -> None:
    """Let Ctrl-C end the programs that tests start: a shell that ran this suite in the background made its children ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
