"""Progress of long work, on a terminal only: by rich where it is installed, else a plain line."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Self


class Progress(AbstractContextManager["Progress"]):
    """A progress bar on standard error; nothing when that is no terminal.

    Args:
        title: What is being done.
        total: How many steps there are; None when nobody knows.
    """

    def __init__(self, title: str, total: int | None) -> None:
        self._title = title
        self._total = total
        self._done = 0
        self._rich: Any = None
        self._task: Any = None
        self._live = sys.stderr.isatty()

    def __enter__(self) -> Self:
        if self._live:
            try:
                from rich.console import Console
                from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
                from rich.progress import Progress as RichProgress
            except ImportError:
                self._draw()
                return self
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            self._rich = RichProgress(*columns, console=Console(stderr=True), transient=True)
            self._rich.start()
            self._task = self._rich.add_task(self._title, total=self._total)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._rich is not None:
            self._rich.stop()
        elif self._live:
            sys.stderr.write("\r" + " " * 70 + "\r")
            sys.stderr.flush()

    def show(self, done: int) -> None:
        """How many steps are done by now."""
        self._done = done
        if self._rich is not None:
            self._rich.update(self._task, completed=done)
        elif self._live:
            self._draw()

    def advance(self, steps: int = 1) -> None:
        """Some more steps are done."""
        self.show(self._done + steps)

    def _draw(self) -> None:
        filled = 20 * self._done // self._total if self._total else 0
        bar = f" [{'#' * filled}{'.' * (20 - filled)}] {self._done}/{self._total}" if self._total else f" {self._done}"
        sys.stderr.write(f"\r{self._title}{bar}")
        sys.stderr.flush()
