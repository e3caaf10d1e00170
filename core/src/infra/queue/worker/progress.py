"""Saying how far a worker is: a live line on a terminal, structured log records otherwise."""

from __future__ import annotations

import logging
import sys
import time
from dataclasses import astuple, fields
from typing import TextIO

from infra.queue.model import ConsumeSummary

log = logging.getLogger("infra.worker")

Counts = tuple[int, ...]
NAMES = tuple(field.name for field in fields(ConsumeSummary))


def counts_of(summary: ConsumeSummary) -> Counts:
    """The numbers of a summary, in the order of `NAMES`."""
    return astuple(summary)


class Progress:
    """Shows counts.

    Args:
        live: Whether `stream` is a terminal to draw on.
        every: Seconds between log records, when it is not.
        stream: Where to draw.
    """

    def __init__(self, live: bool | None, every: float, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty() if live is None else live
        self._every = every
        self._logged_at = self._shown_at = time.monotonic()
        self._handled = 0
        self._rate = 0.0
        self._width = 0

    def show(self, counts: Counts, processes: int) -> None:
        """Show where things stand; call it about twice a second."""
        now = time.monotonic()
        passed = max(now - self._shown_at, 1e-3)
        self._rate += 0.3 * ((counts[0] - self._handled) / passed - self._rate)
        self._shown_at, self._handled = now, counts[0]
        if self._live:
            self._draw(counts, processes)
        elif now - self._logged_at >= self._every:
            self._logged_at = now
            self._log("worker progress", counts, processes)

    def finish(self, counts: Counts, processes: int) -> None:
        """The last word."""
        if self._live:
            self._draw(counts, processes)
            self._stream.write("\n")
            self._stream.flush()
        self._log("worker ended", counts, processes)

    def _draw(self, counts: Counts, processes: int) -> None:
        parts = [f"{count:,} {name}" for name, count in zip(NAMES, counts, strict=True) if count or name == "handled"]
        line = f"{' · '.join(parts)} · {self._rate:,.0f}/s" + (f" · {processes} processes" if processes > 1 else "")
        self._stream.write("\r" + line.ljust(self._width))
        self._stream.flush()
        self._width = len(line)

    def _log(self, event: str, counts: Counts, processes: int) -> None:
        numbers = dict(zip(NAMES, counts, strict=True))
        log.info(
            "%s: %s",
            event,
            ", ".join(f"{count} {name}" for name, count in numbers.items()),
            extra={**numbers, "per_second": round(self._rate, 1), "processes": processes},
        )
