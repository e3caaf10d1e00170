"""What the offline provider does, and that it never pretends."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import pytest
from pydantic import BaseModel, Field

from infra.errors import ConfigurationError, InfraError
from infra.llm import InvalidRequestError, Options, Prompt, TextDelta, Tool
from infra.resource import Status
from infra_local.llm.engine import MARK
from infra_local.llm.objects import fill
from infra_local.llm.summary import summarise
from infra_local.llm.text import blocks, plain, sentences
from infra_local.llm.wording import classify, keywords, vector
from infra_testing.harness import Harness, Place

DOCUMENT = """---
title: ignored
---
# Storage engines

A storage engine decides how a database keeps its rows on disk. Engines differ in how they trade the cost of writes against the cost
of reads. [Log-structured merge trees](https://example.invalid) make writes cheap because they only append to files.

```python
raise SystemExit("A code line is never part of a summary.")
```

## Reads

| a | b |
| - | - |

- B-trees keep rows sorted on disk, which makes reads of ranges cheap.
- Bloom filters spare most reads of files that do not hold the row, e.g. after a compaction.

The weather was pleasant on that day. Many engines combine a log for writes with sorted files for reads, and merge the files in the
background.
Compaction merges sorted files so that reads have fewer files to look at. See also:
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def llm(place: Place) -> Iterator[Any]:
    resource = Harness("offline").open("llm", place)
    yield resource
    resource.close()


def test_what_nothing_can_answer_says_that_no_model_was_called(llm: Any) -> None:
    response = llm.generate("What is the meaning of life?")
    assert response.content.startswith(MARK)
    assert "summary" in response.content
    assert "classify" in response.content


@pytest.mark.parametrize("options", [Options(), Options(task="echo"), Options(output={"type": "object"}), Options(task="keywords")])
def test_every_answer_is_marked_estimated_and_free(llm: Any, options: Options) -> None:
    response = llm.generate("Some words about databases.", options)
    assert response.metadata["generated_by_model"] is False
    assert any(warning.kind == "offline" for warning in response.warnings)
    assert response.usage_stats.estimated
    assert response.usage_stats.input > 0
    assert response.cost == Decimal(0)
    assert response.model == "offline-rules-1"
    vectors = llm.embed(["a"])
    assert (vectors.metadata["lexical"], vectors.metadata["generated_by_model"], vectors.cost) == (True, False, Decimal(0))


def test_health_is_degraded(llm: Any) -> None:
    health = llm.health()
    assert health.status is Status.DEGRADED
    assert "rules" in health.message


def test_a_model_name_is_not_honoured_silently(llm: Any) -> None:
    response = llm.generate("hello", Options(model="gpt-9"))
    assert response.model == "offline-rules-1"
    assert any(warning.option == "model" for warning in response.warnings)


def test_a_summary_holds_whole_sentences_of_the_document_in_their_order() -> None:
    known = [sentence for block in blocks(DOCUMENT) if block.kind != "heading" for sentence in sentences(block.text)]
    summary = summarise(DOCUMENT, 3)
    chosen = [sentence for sentence in known if sentence in summary]
    assert " ".join(chosen) == summary
    assert len(chosen) == 3
    assert "A storage engine decides" in summary
    for absent in ("weather", "code line", "|", "ignored", "See also"):
        assert absent not in summary


def test_a_summary_says_nothing_twice() -> None:
    repeated = "The cache keeps answers of the model for one day. " * 5 + "Workers read jobs from the queue in small batches. " * 3
    assert summarise(repeated, 2).count("cache keeps answers") == 1


@pytest.mark.parametrize("document", ["", "# Only a title", "short", "| a |\n| - |", "```\ncode\n```", "a b. " * 3, "\n\n---\n---\n"])
def test_documents_without_sentences_are_no_trouble(document: str) -> None:
    assert isinstance(summarise(document), str)
    assert isinstance(keywords(document), list)


def test_a_long_document_is_summarised_in_a_moment() -> None:
    text = "\n\n".join(
        f"Paragraph {n} describes component number {n} of the system. It depends on part {n % 17} and on module {n % 23}."
        for n in range(3000)
    )
    started = time.process_time()
    assert len(sentences(summarise(text))) <= 6
    assert time.process_time() - started < 30


def test_markdown_is_read_as_its_reader_sees_it() -> None:
    assert (
        plain("**Bold** and *it*, `a_b*c`, [link](u(v)) ![no](x), snake_case, 2 * 3 * 4 <br>")
        == "Bold and it, a_b*c, link , snake_case, 2 * 3 * 4"
    )
    assert sentences("Dr. Who met J. Smith, e.g. in London. Then he left! Was it late? Yes") == [
        "Dr. Who met J. Smith, e.g. in London.",
        "Then he left!",
        "Was it late?",
        "Yes",
    ]


def test_keywords_are_phrases_of_the_document() -> None:
    found = keywords(DOCUMENT, 6)
    assert 0 < len(found) <= 6
    assert any("files" in phrase for phrase in found)
    assert all(phrase.lower() in " ".join(plain(DOCUMENT).lower().split()) for phrase in found)


def test_labels_are_chosen_by_words(llm: Any) -> None:
    labels = {"billing": "invoice payment refund charge card", "technical": "error crash bug login install"}
    assert classify("The app shows an error and crashes after login", labels) == "technical"
    prompt = Prompt("classify-ticket", template="Which of {{ labels }} is this? {{ text }}")
    asked = {"text": "I was charged twice, please refund my card", "labels": labels}
    assert llm.execute_prompt(prompt, asked).content == "billing"
    assert llm.generate("a bug in install", Options(task="classify", provider_options={"labels": "billing, install"})).content == "install"
    with pytest.raises(InvalidRequestError, match="needs labels"):
        llm.generate("x", Options(task="classify"))


def test_tasks_are_named_by_prompt_or_option(llm: Any) -> None:
    prompt = Prompt("summary-short", template="Summarise in {{ sentences }}: {{ document }}")
    response = llm.execute_prompt(prompt, {"document": DOCUMENT, "sentences": 2})
    assert response.content == summarise(DOCUMENT, 2)
    assert "summary" in response.metadata["method"]
    assert llm.generate(DOCUMENT, Options(task="summarize")).content == summarise(DOCUMENT)
    assert llm.generate("say it", Options(task="echo")).content == "say it"
    filled = Prompt("template", template="Dear {{ name }}")
    assert llm.execute_prompt(filled, {"name": "Ada"}).content == "Dear Ada"
    assert llm.generate("count me: one two", Options(task="keywords", provider_options={"count": "1"})).content
    with pytest.raises(InvalidRequestError, match="must be a number"):
        llm.generate("x", Options(task="summary", provider_options={"sentences": "many"}))


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Inner(BaseModel):
    city: str
    codes: list[int] = Field(min_length=2)


class Everything(BaseModel):
    name: str = Field(min_length=2)
    age: int = Field(gt=17)
    share: float = Field(ge=0.5, le=0.9)
    colour: Colour
    kind: Literal["fixed"]
    when: datetime
    day: date
    id: UUID
    inner: Inner
    tags: list[str]
    note: str | None
    maybe: int | str
    extra: dict[str, int]
    flag: bool
    given: str = "default"


def test_the_least_object_fits_its_schema() -> None:
    made = Everything.model_validate(fill(Everything.model_json_schema(), {}))
    assert (made.age, made.share, made.colour, made.note, made.tags) == (18, 0.5, Colour.RED, None, [])


def test_objects_are_filled_from_values_of_the_same_name_that_fit(llm: Any) -> None:
    values = {
        "name": "Ada",
        "age": "36",
        "colour": "blue",
        "city": "Paris",
        "note": "hi",
        "tags": ["a"],
        "flag": True,
        "share": 7,
        "maybe": "x",
    }
    made = Everything.model_validate(fill(Everything.model_json_schema(), values))
    assert (made.name, made.age, made.colour, made.inner.city, made.note, made.tags) == ("Ada", 36, Colour.BLUE, "Paris", "hi", ["a"])
    assert made.share == 0.5

    class Digest(BaseModel):
        title: str
        summary: str
        keywords: list[str]

    prompt = Prompt("digest", template="{{ title }} {{ document }}", output=Digest)
    digest = llm.execute_prompt(prompt, {"title": "Engines", "document": DOCUMENT}).parsed
    assert (digest.title, digest.summary) == ("Engines", summarise(DOCUMENT))
    assert digest.keywords == keywords(DOCUMENT)


def test_a_forced_tool_is_called_with_given_values(llm: Any) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}, "required": ["city", "days"]}
    options = Options(tools=[Tool(name="weather", parameters=schema)], tool_choice="weather")
    prompt = Prompt("w", template="Weather in {{ city }}", options=options)
    (call,) = llm.execute_prompt(prompt, {"city": "Rome"}).tool_calls
    assert call.decoded() == {"city": "Rome", "days": 0}
    with pytest.raises(InvalidRequestError, match="not among the tools"):
        llm.generate("x", Options(tools=[Tool(name="a")], tool_choice="b"))


def test_vectors_of_like_texts_are_alike() -> None:
    def likeness(one: str, other: str) -> float:
        return sum(a * b for a, b in zip(vector(one, 256), vector(other, 256), strict=True))

    assert likeness("the red car stops", "red cars stop") > likeness("the red car stops", "a blue ship sails")
    assert likeness("same words", "same words") == pytest.approx(1.0)


def test_rules_come_from_a_file_in_toml_or_json(place: Place, tmp_path: Path) -> None:
    toml = tmp_path / "rules.toml"
    toml.write_text('[[rule]]\nmatch = "order (?P<number>\\\\d+)"\nreply = "Order {{ number }} from {{ input }}."\n')
    listed = tmp_path / "rules.json"
    listed.write_text(json.dumps([{"task": "greet", "reply": "Hi {{ name }}"}]))
    with Harness("offline", settings={"rules": toml}).open("llm", place) as resource:
        assert resource.generate("where is order 42").content == "Order 42 from where is order 42."
    with Harness("offline", settings={"rules": listed}).open("llm", place) as resource:
        assert resource.execute_prompt(Prompt("greet", template="{{ name }}"), {"name": "Ada"}).content == "Hi Ada"
        with pytest.raises(InvalidRequestError, match="name is missing"):
            resource.generate("x", Options(task="greet"))


@pytest.mark.parametrize(
    ("rule", "match"),
    [
        ({"mach": "x"}, "mach is not a field; did you mean match"),
        ({"match": "("}, "script"),
        ({"finish": "never"}, "never"),
        ({"tool_calls": [{"arguments": {}}]}, "name"),
    ],
)
def test_a_rule_that_is_not_valid_is_named(place: Place, rule: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigurationError, match=match):
        Harness("offline", settings={"script": [rule]}).open("llm", place)


def test_a_missing_rules_file_is_an_error(place: Place, tmp_path: Path) -> None:
    with pytest.raises(InfraError, match="cannot read the rules"):
        Harness("offline", settings={"rules": tmp_path / "absent.toml"}).open("llm", place)


def test_latency_delays_answers_and_spreads_over_a_stream(place: Place) -> None:
    with Harness("offline", settings={"latency": "60ms"}).open("llm", place) as resource:
        started = time.monotonic()
        resource.generate("hello")
        assert time.monotonic() - started >= 0.06
        started = time.monotonic()
        assert sum(isinstance(event, TextDelta) for event in resource.stream("hello")) > 1
        assert time.monotonic() - started >= 0.05
