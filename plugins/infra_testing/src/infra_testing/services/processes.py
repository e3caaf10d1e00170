"""Signals for a server and everything that it started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")


def table() -> Iterator[tuple[int, int, bool]]:
    """Every process of the machine: its id, its parent's id, and whether it still runs (a zombie does not)."""
    if not (PROC / "self" / "stat").exists():
        listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True)
        for line in listing.stdout.splitlines():
            pid, parent, state = line.split()[:3]
            yield int(pid), int(parent), not state.startswith("Z")
        return
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                yield int(entry.name), int(parent), state not in "ZX"


def descendants(root: int) -> list[int]:
    """The ids of all running processes below `root`, parents before their children."""
    children: dict[int, list[int]] = {}
    running: set[int] = set()
    for pid, parent, alive in table():
        children.setdefault(parent, []).append(pid)
        if alive:
            running.add(pid)
    found: list[int] = []
    queue = [root]
    while queue:
        below = children.get(queue.pop(0), [])
        found += below
        queue += below
    return [pid for pid in found if pid in running]


def is_running(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    if not PROC.joinpath("self", "stat").exists():
        return any(found == pid and alive for found, _, alive in table())
    try:
        return PROC.joinpath(str(pid), "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def leads_session(pid: int) -> bool:
    """Whether the process still leads a session of its own, as every server started here does; a reused id rarely does."""
    try:
        return os.getsid(pid) == pid
    except OSError:
        return False


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that may be gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def kill_tree(root: int) -> None:
    """Kill a server at once, as a power cut would.

    The parent is stopped first: a postmaster that sees one backend die tells the others to finish, and those could still
    acknowledge work; and a process killed by its group alone would leave the backends, which have groups of their own.
    """
    if not is_running(root):
        return
    send(root, signal.SIGSTOP)
    deadline = time.monotonic() + 10
    while (below := descendants(root)) and time.monotonic() < deadline:
        for pid in below:
            send(pid, signal.SIGKILL)
        time.sleep(0.002)
    send(root, signal.SIGKILL)


def signal_tree(root: int, number: signal.Signals) -> None:
    """Send a signal to a server and everything below it, the server first."""
    send(root, number)
    for pid in descendants(root):
        send(pid, number)
