"""The parent of a worker's processes: starts them, restarts those that die, passes signals on, adds up their counts."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import FrameType
from typing import Any

from infra.queue.model import ConsumeSummary
from infra.queue.worker.options import Exit, WorkerOptions
from infra.queue.worker.process import run_child
from infra.queue.worker.progress import Counts, Progress, counts_of, log

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
_STABLE_AFTER = 60.0  # seconds of life after which a death counts as the first one again
_LOOK_EVERY = 0.5
_ABORT_AFTER = 10.0  # seconds that children have to end after an abort


@dataclass(slots=True)
class _Slot:
    """The place of one child."""

    number: int
    process: SpawnProcess | None = None
    pipe: Connection | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    deaths: int = 0
    counts: Counts = field(default_factory=lambda: counts_of(ConsumeSummary()))
    before: Counts = field(default_factory=lambda: counts_of(ConsumeSummary()))  # of earlier children in this place
    ended: bool = False


class Supervisor:
    """Runs `options.processes` children until they are done or a signal comes.

    Args:
        options: The worker's options.
    """

    def __init__(self, options: WorkerOptions) -> None:
        self._options = options
        self._slots = [_Slot(number) for number in range(options.processes)]
        self._signals = 0
        self._passed = 0
        self._code = Exit.DONE
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._wake, False)

    def run(self) -> Exit:
        """Until all children have ended."""
        progress = Progress(self._options.progress, self._options.report_every)
        previous = {number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
        kill_at: float | None = None
        try:
            while not all(slot.ended for slot in self._slots):
                self._start_due()
                self._listen()
                self._pass_signals()
                if self._passed >= 2:
                    kill_at = kill_at or time.monotonic() + _ABORT_AFTER
                    if time.monotonic() > kill_at:
                        self._kill()
                progress.show(self._total(), self._running())
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            self._kill()
            os.close(self._woken)
            os.close(self._wake)
        progress.finish(self._total(), self._options.processes)
        return Exit.ABORTED if self._passed >= 2 else self._code

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._signals += 1
        try:
            os.write(self._wake, b"!")
        except BlockingIOError:
            pass

    def _pass_signals(self) -> None:
        while self._passed < min(self._signals, 2):
            self._passed += 1
            log.info("draining %d processes", self._running()) if self._passed == 1 else log.warning("aborting")
            for slot in self._slots:
                if slot.process is None:
                    slot.ended = True
                elif slot.process.pid is not None and slot.process.is_alive():
                    os.kill(slot.process.pid, signal.SIGTERM)

    def _start_due(self) -> None:
        for slot in self._slots:
            if slot.process is None and not slot.ended and not self._signals and time.monotonic() >= slot.start_at:
                self._start(slot)

    def _start(self, slot: _Slot) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe(duplex=False)
        level = logging.getLogger().getEffectiveLevel()
        slot.process = context.Process(target=run_child, args=(self._options, theirs, level), name=f"infra-worker-{slot.number}")
        slot.process.start()
        theirs.close()
        slot.pipe, slot.started_at = ours, time.monotonic()

    def _listen(self) -> None:
        """Wait for reports, ends and signals."""
        sources: list[Any] = [self._woken]
        for slot in self._slots:
            if slot.process is not None:
                sources.append(slot.process.sentinel)
                if slot.pipe is not None:
                    sources.append(slot.pipe)
        ready: Sequence[Any] = wait(sources, self._patience())
        if self._woken in ready:
            os.read(self._woken, 64)
        for slot in self._slots:
            if slot.pipe is not None and slot.pipe in ready:
                self._read(slot)
            if slot.process is not None and not slot.process.is_alive():
                self._read(slot)
                self._buried(slot, slot.process)

    def _patience(self) -> float:
        waiting = [slot.start_at - time.monotonic() for slot in self._slots if slot.process is None and not slot.ended]
        return max(0.0, min([*waiting, _LOOK_EVERY]))

    def _read(self, slot: _Slot) -> None:
        try:
            while slot.pipe is not None and slot.pipe.poll():
                slot.counts = slot.pipe.recv()
        except (EOFError, OSError):
            slot.pipe = None

    def _buried(self, slot: _Slot, process: SpawnProcess) -> None:
        process.join()
        code = process.exitcode or 0
        slot.process = slot.pipe = None
        slot.before = tuple(map(sum, zip(slot.before, slot.counts, strict=True)))
        slot.counts = counts_of(ConsumeSummary())
        if code in (Exit.DONE, Exit.ABORTED) or self._signals:
            slot.ended = True
            return
        if code == Exit.CONFIGURATION:
            self._code = Exit.CONFIGURATION
            for other in self._slots:
                other.ended = other.ended or other.process is None
            self._signals = max(self._signals, 1)
            return
        lived = time.monotonic() - slot.started_at
        slot.deaths = 1 if lived > _STABLE_AFTER else slot.deaths + 1
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** (slot.deaths - 1))
        slot.start_at = time.monotonic() + pause
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        log.error(
            "process %d died of %s after %.0f s; starting another in %.1f s",
            slot.number,
            how,
            lived,
            pause,
            extra={"exit_code": code, "deaths": slot.deaths},
        )

    def _running(self) -> int:
        return sum(slot.process is not None for slot in self._slots)

    def _total(self) -> Counts:
        parts = [counts for slot in self._slots for counts in (slot.before, slot.counts)]
        return tuple(map(sum, zip(*parts, strict=True)))

    def _kill(self) -> None:
        for slot in self._slots:
            if slot.process is not None and slot.process.is_alive():
                slot.process.kill()
                slot.process.join()
