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
    """Print rows under a header, columns aligned; where they are wider than the terminal, the widest cells continue below themselves."""
    texts = [[_text(cell) for cell in row] for row in rows]
    widths = [max(len(name), *(len(row[index]) for row in texts)) if texts else len(name) for index, name in enumerate(header)]
    room = width() - len(indent) - 2 * (len(header) - 1)
    if sum(widths) > room and sum(widths[:-1]) + min(widths[-1], 24) > room:
        _stacked(header, texts, indent)
        return
    while sum(widths) > room:
        widest = max(
            (index for index, size in enumerate(widths) if size > max(len(header[index]), 6)), key=widths.__getitem__, default=None
        )
        if widest is None:
            break
        widths[widest] -= 1
    click.echo(click.style((indent + "  ".join(name.ljust(size) for name, size in zip(header, widths, strict=True))).rstrip(), bold=True))
    for row in texts:
        cells = [_wrap(cell, size, True) for cell, size in zip(row, widths, strict=True)]
        for number in range(max(map(len, cells))):
            parts = [cell[number] if number < len(cell) else "" for cell in cells]
            padded = [paint(whole, part.ljust(size)) for whole, part, size in zip(row, parts, widths, strict=True)]
            click.echo((indent + "  ".join([*padded[:-1], paint(row[-1], parts[-1])])).rstrip())


def _stacked(header: Sequence[str], texts: Sequence[Sequence[str]], indent: str) -> None:
    """A table too wide for the terminal: each row is a line of its short cells, and what is longer below it, with its name."""
    for row in texts:
        line: list[str] = []
        below: list[tuple[str, str]] = []
        for name, cell in zip(header, row, strict=True):
            used = len(indent) + sum(len(one) + 2 for one in line)
            if used + len(cell) <= width() and len(cell) <= 32 and not below:
                line.append(cell)
            elif cell:
                below.append((name, cell))
        click.echo((indent + "  ".join(paint(cell) for cell in line)).rstrip())
        for name, cell in below:
            paragraph(f"{indent}    {name.lower()}: ", cell, len(indent) + 6)


def paragraph(prefix: str, text: str, indent: int) -> None:
    """Print `text` after `prefix`, continued lines indented; line breaks within the text are kept."""
    ahead = len(click.unstyle(prefix))
    for number, part in enumerate(text.splitlines() or [""]):
        lines = _wrap(part, max(width() - max(indent, ahead if number == 0 else 0), 24), True)
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


def _wrap(text: str, limit: int, cut: bool = False) -> list[str]:
    """Lines of at most `limit` characters, broken between words; longer words are broken too when `cut` says so."""
    if len(text) <= limit:
        return [text]
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > limit:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
    if not cut:
        return lines
    return [line[start : start + limit] for line in lines for start in range(0, max(len(line), 1), limit)]
