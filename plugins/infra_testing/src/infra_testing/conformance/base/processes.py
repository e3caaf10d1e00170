"""Processes of the suites' own, forked from a server process that has imported the suites once: imports cost more than cases."""

from __future__ import annotations

import contextlib
import multiprocessing
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from types import TracebackType
from typing import Any, Self

#: Seconds; longer than anything here takes.
PATIENCE = 120.0
_ROOM = "infra_testing.conformance"
_PARTS = ("cache.processes", "queue.processes", "database.worker", "database.migrator", "storage.contenders")
_IMPORTED = [f"{_ROOM}.{part}" for part in _PARTS]


def fork_server() -> ForkServerContext:
    """What makes new processes, each with nothing of this one but the suites' modules."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_IMPORTED)  # a room whose packages are not installed is left out
    return context


class Child:
    """``with Child(work, *args) as child`` runs ``work(wire, *args)`` in a process of its own, which is killed at the block's end.

    Args:
        work: A function of a module; what it raises is raised by `receive`.
        args: What it is called with after its end of the wire.
    """

    def __init__(self, work: Callable[..., None], *args: object) -> None:
        context = fork_server()
        self._wire, other = context.Pipe()
        self._process = context.Process(target=_run, args=(work, other, *args), daemon=True)
        self._process.start()
        other.close()

    def send(self, word: object) -> None:
        """Say something to the process."""
        self._wire.send(word)

    def receive(self) -> Any:
        """What the process says next.

        Raises:
            AssertionError: It failed, ended, or said nothing for `PATIENCE` seconds.
        """
        if not self._wire.poll(PATIENCE):
            raise AssertionError("the process says nothing")
        try:
            word = self._wire.recv()
        except EOFError:
            raise AssertionError(f"the process ended with {self.wait()}") from None
        if isinstance(word, _Failure):
            raise AssertionError(f"the process failed:\n{word}")
        return word

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()
        self._process.join()

    def wait(self) -> int | None:
        """How the process ended; minus the signal's number when it was killed, None when it did not end within `PATIENCE` seconds."""
        self._process.join(PATIENCE)
        return self._process.exitcode

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End the process."""
        self.kill()
        self._process.close()
        self._wire.close()


class _Failure(str):
    """The traceback of a process that failed."""

    __slots__ = ()


def _run(work: Callable[..., None], wire: Connection, *args: object) -> None:
    with contextlib.closing(wire):
        try:
            work(wire, *args)
        except Exception:
            wire.send(_Failure(traceback.format_exc()))
