"""Comparing text without case, on servers that fold ASCII alone too."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any

from sqlalchemy import ColumnElement, String, literal
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

#: The last letter that Unicode folds, of those that have been given a code so far.
_LAST = 0x1E943


class Folded(FunctionElement[str]):
    """A text with its case folded: by the server, and on PostgreSQL, whose locale may know ASCII alone, with the letters that matter named.

    Args:
        text: The text.
        letters: Letters to replace.
        folded: What to replace them by, one by one.
    """

    inherit_cache = True
    name = "folded"
    type = String()

    def __init__(self, text: Any, letters: str, folded: str) -> None:
        super().__init__(text, literal(letters, String()), literal(folded, String()))


@compiles(Folded)
def _by_dialect(element: Folded, compiler: Any, **options: Any) -> str:
    text, _, _ = element.clauses
    return compiler.visit_ilike_case_insensitive_operand(SimpleNamespace(element=text), **options)


@compiles(Folded, "postgresql")
def _by_letters(element: Folded, compiler: Any, **options: Any) -> str:
    text, letters, folded = (compiler.process(one, **options) for one in element.clauses)
    return f"translate(lower({text}), {letters}, {folded})"


def without_case(column: Any, before: str, value: str, after: str) -> ColumnElement[bool]:
    """That the column has this text, without regard to case, between `before` and `after`, which are wildcards or nothing."""
    pattern = before + value.replace("/", "//").replace("%", "/%").replace("_", "/_") + after
    if pattern.isascii():
        return column.ilike(pattern, escape="/")  # which an index of trigrams serves
    letters, folded = _letters(value)
    return Folded(column, letters, folded).like(Folded(literal(pattern, String()), letters, folded), escape="/")


def _letters(value: str) -> tuple[str, str]:
    """All spellings of the letters beyond ASCII in a text, and what each is folded to."""
    letters: list[str] = []
    folded: list[str] = []
    for letter in dict.fromkeys(value):
        if letter.isascii():
            continue
        fold = letter.casefold()
        spellings = _spellings().get(fold, [])
        target = fold if len(fold) == 1 else next(iter(spellings), letter)
        for spelling in spellings:
            if spelling != target and spelling not in letters:
                letters.append(spelling)
                folded.append(target)
    return "".join(letters), "".join(folded)


@cache
def _spellings() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for code in range(0x80, _LAST + 1):
        letter = chr(code)
        if (fold := letter.casefold()) != letter:
            found.setdefault(fold, []).append(letter)
    return found
