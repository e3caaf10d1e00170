"""Work that runs beside its owner."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar

from infra.runtime.deadline import Deadline

T = TypeVar("T")
_log = logging.getLogger("infra.runtime")


class Stop:
    """A request to stop, seen by the work that it was given to."""

    __slots__ = ("_actions", "_event")

    def __init__(self) -> None:
        self._event = threading.Event()
        self._actions: list[Callable[[], None]] = []

    def set(self) -> None:
        """Ask to stop."""
        self._event.set()
        for action in list(self._actions):
            action()

    def on_set(self, action: Callable[[], None]) -> Callable[[], None]:
        """Call `action` when asked to stop, at once if that has happened; the function that is returned undoes it."""
        self._actions.append(action)
        if self._event.is_set():
            action()
        return lambda: self._actions.remove(action)

    def is_set(self) -> bool:
        """Whether a stop was asked for."""
        return self._event.is_set()

    def wait(self, timeout: float | None) -> bool:
        """Sleep for `timeout` seconds, or until asked to stop; True when asked to stop."""
        return self._event.wait(timeout)


class Background:
    """Jobs that end with their owner. A job that fails is logged; it never takes the owner with it.

    Args:
        name: The owner's name, for the log.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.stopping = Stop()
        self._threads: set[threading.Thread] = set()

    def start(self, work: Callable[[Stop], None], name: str) -> None:
        """Run ``work(stop)`` in a thread of its own until it returns or is stopped."""
        thread = threading.Thread(target=self._run, args=(work, name), name=f"infra-{self.name}-{name}", daemon=True)
        self._threads.add(thread)
        thread.start()

    @property
    def running(self) -> int:
        """How many jobs have not ended yet."""
        return len(self._threads)

    def stop(self, timeout: float) -> bool:
        """Ask all jobs to stop and wait `timeout` seconds for them. True when all ended; a thread cannot be cancelled."""
        self.stopping.set()
        deadline = Deadline(timeout)
        current = threading.current_thread()
        threads = [thread for thread in list(self._threads) if thread is not current]
        for thread in threads:
            thread.join(deadline.remaining())
        return not any(thread.is_alive() for thread in threads)

    def _run(self, work: Callable[[Stop], None], name: str) -> None:
        try:
            work(self.stopping)
        except Exception:
            _log.exception("%s: background job %s failed", self.name, name)
        finally:
            self._threads.discard(threading.current_thread())


class Watchdog:
    """Calls `action` every `interval` seconds while its block runs, until `action` returns False.

    Attributes:
        lost: True once `action` returned False or raised.
    """

    def __init__(self, interval: float, action: Callable[[], bool]) -> None:
        self._interval = interval
        self._action = action
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="infra-watchdog", daemon=True)
        self.lost = False

    def __enter__(self) -> Watchdog:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self.lost and not self._done.wait(self._interval):
            try:
                self.lost = not self._action()
            except Exception:
                self.lost = True


def gather(*calls: Callable[[], T], limit: int | None = None) -> list[T | BaseException]:
    """Run all calls concurrently, at most `limit` at once; their results or exceptions in order."""

    def run(one: Callable[[], T]) -> T | BaseException:
        try:
            return one()
        except Exception as error:
            return error

    if len(calls) <= 1 or limit == 1:
        return [run(one) for one in calls]
    with ThreadPoolExecutor(min(limit or len(calls), len(calls)), thread_name_prefix="infra-gather") as pool:
        return list(pool.map(run, calls))
