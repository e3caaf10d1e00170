"""Aligned output. Colour goes to a terminal only: click takes it out elsewhere."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from typing import Final

import click

GOOD: Final = frozenset({"available", "open", "ready", "up", "ok", "yes"})
POOR: Final = frozenset({"degraded", "disabled", "not_installed", "unknown", "configured", "closed", "experimental"})
BAD: Final = frozenset(
    {"load_failed", "incompatible", "missing_dependency", "conflicted", "invalid", "open_failed", "down", "failed", "error"}
)


def paint(word: str, shown: str | None = None) -> str:
    """`shown` (or the word itself) in the colour of the state that `word` names."""
    colour = "green" if word in GOOD else "yellow" if word in POOR else "red" if word in BAD else None
    text = word if shown is None else shown
    return text if colour is None else click.style(text, fg=colour)


def mark(ok: bool) -> str:
    """A tick or a cross."""
    return click.style("✓", fg="green") if ok else click.style("✗", fg="red")


def width() -> int:
    """Columns of the terminal; unlimited where there is none, so that lines stay whole for other programs."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 10_000


def table(header: Sequence[str], rows: Sequence[Sequence[object]], indent: str = "") -> None:
    """Print rows under a header, columns aligned; the last one continues below itself on a narrow terminal."""
    texts = [[_text(cell) for cell in row] for row in rows]
    last = len(header) - 1
    widths = [max(len(header[index]), *(len(row[index]) for row in texts)) if texts else len(header[index]) for index in range(last)]
    click.echo(click.style((indent + _line(header, widths)).rstrip(), bold=True))
    offset = len(indent) + sum(widths) + 2 * len(widths)
    for row in texts:
        padded = [paint(cell, cell.ljust(size)) for cell, size in zip(row, widths, strict=False)]
        first, *more = _wrap(row[last], max(width() - offset, 24))
        click.echo((indent + "  ".join([*padded, paint(row[last], first)])).rstrip())
        for line in more:
            click.echo(" " * offset + line)


def paragraph(prefix: str, text: str, indent: int) -> None:
    """Print `text` after `prefix`, continued lines indented; line breaks within the text are kept."""
    for number, part in enumerate(text.splitlines() or [""]):
        lines = _wrap(part, max(width() - indent, 24))
        for place, line in enumerate(lines):
            click.echo(prefix + line if number == place == 0 else " " * indent + line)


def count(number: int, noun: str) -> str:
    """``1 resource``, ``2 resources``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def duration(seconds: float) -> str:
    """A duration with a fitting unit: ``340 µs``, ``12.3 ms``, ``4.2 s``, ``3 min 20 s``."""
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.1f} ms"
    return f"{seconds:.1f} s" if seconds < 90 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def size(octets: int) -> str:
    """A size with a fitting unit: ``512 B``, ``3.4 KiB``."""
    amount = float(octets)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return ""


def _text(cell: object) -> str:
    return "" if cell is None else str(cell)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join([*(cell.ljust(size) for cell, size in zip(cells, widths, strict=False)), cells[-1]])


def _wrap(text: str, limit: int) -> list[str]:
    if len(text) <= limit:
        return [text]
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > limit:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
    return lines
