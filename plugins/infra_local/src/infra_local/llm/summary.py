"""Extractive summaries: the sentences of a document that say most of it, in their order.

TextRank (Mihalcea and Tarau 2004) over TF-IDF cosine similarity, with a bonus for position and for words of the headings; then maximal
marginal relevance (Carbonell and Goldstein 1998), so that no sentence says what another one said.
"""

# ruff: noqa: RUF001  (full-width stops end sentences too)

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from infra_local.llm.text import blocks, sentences, terms

_DAMPING = 0.85
_ROUNDS = 30
_REDUNDANCY = 0.7
_MOST = 400  # sentences compared with each other; of a longer document those with the heaviest words
_SHORTEST = 5  # words; below it a sentence is a label, not a statement


@dataclass(frozen=True, slots=True)
class _Candidate:
    position: int
    text: str
    words: dict[str, float]  # unit length
    bonus: float


def summarise(document: str, count: int | None = None) -> str:
    """The `count` most telling sentences of `document`, in order; about a tenth of them, 2 to 6, when not given.

    A document without sentences gives its first lines. Nothing is added that the document does not say.
    """
    candidates = _candidates(document)
    if not candidates:
        lines = [block.text for block in blocks(document)]
        return " ".join(lines[: count or 3])
    wanted = count or max(2, min(6, round(len(candidates) / 10)))
    if len(candidates) <= wanted:
        return " ".join(candidate.text for candidate in candidates)
    candidates = sorted(candidates, key=lambda each: -sum(each.words.values()))[:_MOST]
    candidates.sort(key=lambda each: each.position)
    similar = [[_cosine(one.words, other.words) if one is not other else 0.0 for other in candidates] for one in candidates]
    scores = _rank(similar)
    top = max(scores) or 1.0
    weights = [score / top + candidate.bonus for score, candidate in zip(scores, candidates, strict=True)]
    chosen: list[int] = []
    left = set(range(len(candidates)))
    while left and len(chosen) < wanted:
        best = max(left, key=lambda each: (weights[each] - _REDUNDANCY * max((similar[each][one] for one in chosen), default=0.0), -each))
        chosen.append(best)
        left.remove(best)
    return " ".join(candidates[index].text for index in sorted(chosen))


def _candidates(document: str) -> list[_Candidate]:
    title: set[str] = set()
    section: set[str] = set()
    found: list[tuple[str, list[str], float]] = []
    paragraphs = 0
    for block in blocks(document):
        if block.kind == "heading":
            section = set(terms(block.text))
            if not title:
                title = section
            continue
        paragraphs += 1
        for number, sentence in enumerate(sentences(block.text)):
            if len(sentence.split()) < _SHORTEST or sentence[-1:] not in ".!?…。！？\"”')" or sentence.endswith(":"):
                continue
            named = terms(sentence)
            if len(set(named)) < 3:
                continue
            bonus = 0.1 * min(3, len(title.intersection(named))) + 0.05 * min(3, len(section.intersection(named)))
            if paragraphs == 1:
                bonus += 0.5 if number == 0 else 0.15  # the opening says what the document is about
            elif number == 0:
                bonus += 0.1
            if block.kind == "item":
                bonus -= 0.1
            bonus -= 0.02 * max(0, len(named) - 25)
            found.append((sentence, named, bonus))
    seen: dict[str, tuple[str, list[str], float]] = {}
    for entry in found:
        seen.setdefault(entry[0].casefold(), entry)
    entries = list(seen.values())
    documents = Counter(term for _, named, _ in entries for term in set(named))
    total = len(entries)
    candidates: list[_Candidate] = []
    for position, (sentence, named, bonus) in enumerate(entries):
        weights = {term: (1 + math.log(times)) * math.log(1 + total / documents[term]) for term, times in Counter(named).items()}
        length = math.sqrt(sum(weight * weight for weight in weights.values()))
        candidates.append(_Candidate(position, sentence, {term: weight / length for term, weight in weights.items()}, bonus))
    return candidates


def _cosine(one: dict[str, float], other: dict[str, float]) -> float:
    if len(other) < len(one):
        one, other = other, one
    return sum(weight * other.get(term, 0.0) for term, weight in one.items())


def _rank(similar: list[list[float]]) -> list[float]:
    """PageRank by power iteration; similarity is symmetric, so that rows serve as columns."""
    size = len(similar)
    sums = [sum(row) or 1.0 for row in similar]
    ranks = [1.0 / size] * size
    for _ in range(_ROUNDS):
        shares = [rank / total for rank, total in zip(ranks, sums, strict=True)]
        latest = [(1 - _DAMPING) / size + _DAMPING * sum(map(float.__mul__, row, shares)) for row in similar]
        moved = sum(abs(new - old) for new, old in zip(latest, ranks, strict=True))
        ranks = latest
        if moved < 1e-5:
            break
    return ranks
