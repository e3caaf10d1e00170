"""Keywords, labels and vectors from words alone."""

# ruff: noqa: RUF001  (typographic dashes and quotes end clauses)

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise

from infra_local.llm.text import STOP_WORDS, WORD, blocks, sentences, stem, terms, words

_LONGEST = 3


def keywords(document: str, count: int = 8) -> list[str]:
    """The most telling words and phrases, best first: RAKE (Rose et al. 2010), with weight for how often a phrase occurs."""
    phrases: Counter[str] = Counter()
    written: dict[str, Counter[str]] = defaultdict(Counter)
    for block in blocks(document):
        for sentence in sentences(block.text):
            for clause in re.split(r"[,;:()\[\]\"“”–—/|·→=<>{}]|\.(?:\s|$)", sentence):
                run: list[str] = []
                for match in (*WORD.findall(clause), ""):
                    if match and match.lower() not in STOP_WORDS and not match.isdigit() and len(match) > 1:
                        run.append(match)
                        continue
                    if run and len(run) <= _LONGEST:
                        phrase = " ".join(stem(word.lower()) for word in run)
                        phrases[phrase] += 2 if block.kind == "heading" else 1
                        written[phrase][" ".join(run)] += 1
                    run = []
    degree: Counter[str] = Counter()
    frequency: Counter[str] = Counter()
    for phrase, times in phrases.items():
        parts = phrase.split()
        for part in parts:
            frequency[part] += times
            degree[part] += times * len(parts)
    scores = {
        phrase: sum(degree[part] / frequency[part] for part in phrase.split()) * (1 + math.log(times)) * math.log(1 + times)
        for phrase, times in phrases.items()
    }
    chosen: list[str] = []
    taken: set[str] = set()
    for phrase in sorted(scores, key=lambda each: (-scores[each], each)):
        parts = set(phrase.split())
        if parts <= taken:
            continue
        taken |= parts
        form = written[phrase].most_common(1)[0][0]
        chosen.append(form if any(letter.isupper() for letter in form[1:]) else form.lower())
        if len(chosen) == count:
            break
    return chosen


def classify(text: str, labels: Sequence[str] | Mapping[str, str]) -> str:
    """The label whose words, with those of its description, weigh most in `text`; the first one when none occurs."""
    described = dict(labels) if isinstance(labels, Mapping) else dict.fromkeys(labels, "")
    present = Counter(terms(text))
    spread = Counter(term for label, about in described.items() for term in set(terms(f"{label} {about}")))
    best, most = "", -1.0
    for label, about in described.items():
        named = set(terms(label.replace("_", " ").replace("-", " ")))
        score = sum(
            (3.0 if term in named else 1.0) * (1 + math.log(present[term])) / spread[term]
            for term in named | set(terms(about))
            if present[term]
        )
        if label.lower() in text.lower():
            score += 3.0
        if score > most:
            best, most = label, score
    return best


def vector(text: str, dimensions: int) -> tuple[float, ...]:
    """Words and word pairs hashed into a unit vector (Weinberger et al. 2009): equal words give similar vectors, meaning plays no part."""
    found = [stem(word) for word in words(text)]
    values = [0.0] * dimensions
    for feature, times in Counter((*found, *(f"{one} {two}" for one, two in pairwise(found)))).items():
        digest = int.from_bytes(hashlib.blake2b(feature.encode(), digest_size=8).digest(), "big")
        values[digest % dimensions] += (1.0 if digest >> 63 else -1.0) * (1 + math.log(times)) * (0.5 if " " in feature else 1.0)
    length = math.sqrt(sum(value * value for value in values)) or 1.0
    return tuple(value / length for value in values)
