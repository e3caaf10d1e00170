"""Taking text apart: words, sentences, and the prose of Markdown."""

# ruff: noqa: RUF001  (typographic quotes and full-width stops are what is looked for)

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

WORD = re.compile(r"[^\W_]+(?:['’_-][^\W_]+)*")
_FENCE = re.compile(r"^\s*(```|~~~)")
_HEADING = re.compile(r"^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$")
_ITEM = re.compile(r"^\s*(?:[-*+]|\d+[.)])\s+(?:\[[ xX]\]\s+)?")
_RULE = re.compile(r"^\s*(?:[-*_=]\s*){3,}$")
_TABLE = re.compile(r"^\s*\|.*\|\s*$")
_END = re.compile(r"(?<=[.!?…])[\"')\]”’]*\s+(?=[\"'(\[“‘]?[A-Z0-9À-ÞА-Я])|(?<=[。！？])")
_SHORT = re.compile(r"(?:\b(?:e\.g|i\.e|etc|vs|cf|Mr|Mrs|Ms|Dr|Prof|St|No|Fig|approx|ca|z\.B|d\.h|bzw)|\b[A-Z])\.$")

_CODE = re.compile(r"(`+[^`]+`+)")
_MARKUP = (
    (re.compile(r"!\[[^\]]*\]\([^)]*\)"), ""),
    (re.compile(r"\[([^\]]*)\]\((?:[^()]|\([^)]*\))*\)"), r"\1"),
    (re.compile(r"\[([^\]]+)\]\[[^\]]*\]"), r"\1"),
    (re.compile(r"<(https?://[^>]+)>"), r"\1"),
    (re.compile(r"</?[A-Za-z][^>]*>"), ""),
    (re.compile(r"(\*\*|__|~~)(?=\S)(.+?)(?<=\S)\1"), r"\2"),
    (re.compile(r"(?<![\w*/])\*(?=[^\s*])([^*]+?)(?<=\S)\*(?![\w*])"), r"\1"),
    (re.compile(r"(?<!\w)_(?=\S)([^_]+?)(?<=\S)_(?!\w)"), r"\1"),
)

#: Words that carry structure rather than content, in English and German.
STOP_WORDS = frozenset(
    """
    every many much say says
    a about above after again all also am an and any are as at be because been before being below between both but by can could did do does
    doing down during each few for from further had has have having he her here hers him his how i if in into is it its itself just may me
    might more most must my no nor not now of off on once one only or other our ours out over own same shall she should so some such than
    that the their theirs them then there these they this those through to too two under until up upon us use used very was we were what
    when where which while who whom why will with within without would you your yours
    aber als auch auf aus bei bin bis da dann das dass dem den der des die dies diese dieser doch durch ein eine einem einen einer es
    für hat hier ich ihr im ist ja kann mit nach nicht noch nur oder sein sich sie sind über um und uns von vor war wenn wie wir wird
    zu zum zur
    """.split()  # noqa: SIM905
)


def words(text: str) -> list[str]:
    """The words of `text`, in lower case."""
    return [match.group().lower() for match in WORD.finditer(text)]


def stem(word: str) -> str:
    """A word without the commonest English endings, so that its forms count as one; coarse on purpose."""
    for ending in ("'s", "’s"):
        word = word.removesuffix(ending)
    if len(word) > 5:
        for ending, instead in (("ies", "y"), ("ing", ""), ("ed", ""), ("es", ""), ("s", "")):
            if word.endswith(ending) and not word.endswith("ss"):
                return word[: -len(ending)] + instead
    elif len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def terms(text: str) -> list[str]:
    """The stems of the words that carry content."""
    return [stem(word) for word in words(text) if word not in STOP_WORDS and (len(word) > 2 or not word.isascii()) and not word.isdigit()]


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of a Markdown document.

    Args:
        text: Its prose, without markup.
        kind: ``heading``, ``paragraph`` or ``item``.
        level: The level of a heading; 0 for others.
    """

    text: str
    kind: str
    level: int = 0


def plain(markdown: str) -> str:
    """One paragraph of Markdown as its reader sees it: links by their words, no images, no emphasis; code as it is."""
    return " ".join(
        "".join(_prose(piece) if number % 2 == 0 else piece.strip("`") for number, piece in enumerate(_CODE.split(markdown))).split()
    )


def _prose(text: str) -> str:
    for pattern, instead in _MARKUP:
        text = pattern.sub(instead, text)
    return text


def blocks(document: str) -> Iterator[Block]:
    """The prose of a Markdown or plain document, block by block; code, tables, quotes' marks and front matter are left out."""
    lines = document.replace("\r\n", "\n").split("\n")
    if lines and lines[0].strip() in ("---", "+++"):
        end = next((number for number, line in enumerate(lines[1:], 1) if line.strip() == lines[0].strip()), None)
        if end is not None:
            lines = lines[end + 1 :]
    pending: list[str] = []
    kind = "paragraph"
    fence = ""

    def finished() -> Iterator[Block]:
        text = plain(" ".join(pending))
        pending.clear()
        if text:
            yield Block(text, kind)

    for line in lines:
        opening = _FENCE.match(line)
        if fence:
            if opening and opening[1] == fence:
                fence = ""
            continue
        if opening:
            yield from finished()
            fence = opening[1]
            continue
        line = re.sub(r"^\s*(?:>\s?)+", "", line)
        if heading := _HEADING.match(line):
            yield from finished()
            kind = "paragraph"
            if title := plain(heading[2]):
                yield Block(title, "heading", len(heading[1]))
        elif pending and kind == "paragraph" and re.fullmatch(r"\s*(=+|-{3,})\s*", line) and len(pending) == 1:
            title = plain(pending.pop())
            yield Block(title, "heading", 1 if "=" in line else 2)
        elif not line.strip() or _RULE.match(line) or _TABLE.match(line) or re.match(r"^\s*<[!/A-Za-z]", line):
            yield from finished()
            kind = "paragraph"
        elif item := _ITEM.match(line):
            yield from finished()
            kind = "item"
            pending.append(line[item.end() :])
        else:
            if not pending and kind == "item" and not line.startswith((" ", "\t")):
                kind = "paragraph"
            pending.append(line.strip())
    yield from finished()


def sentences(text: str) -> list[str]:
    """The sentences of one paragraph."""
    found: list[str] = []
    start = 0
    for match in _END.finditer(text):
        candidate = text[start : match.start()]
        if _SHORT.search(candidate):
            continue
        found.append((candidate + match.group()).strip())
        start = match.end()
    if rest := text[start:].strip():
        found.append(rest)
    return [sentence for sentence in found if sentence]
