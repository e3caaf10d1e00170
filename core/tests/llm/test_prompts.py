"""Templates and prompts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from infra.errors import ConfigurationError
from infra.llm import InvalidRequestError, Message, Options, Prompt, PromptLibrary, Role, load_prompt
from infra.llm.templates import render, variables_of


class Person(BaseModel):
    name: str


def test_values_are_put_in_as_they_are_and_never_expanded_again() -> None:
    assert render("{{ a }}-{{b}}", {"a": "{{ b }}", "b": "\\1 {x} %s"}) == "{{ b }}-\\1 {x} %s"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(3, "3"), (True, "true"), ([1, "é"], '[1, "é"]'), ({"a": None}, '{"a": null}'), (Person(name="Ada"), '{"name": "Ada"}'), ("", "")],
)
def test_values_that_are_not_text_are_written_as_json(value: Any, shown: str) -> None:
    assert render("{{ v }}", {"v": value}) == shown


def test_double_braces_can_be_written_and_single_ones_mean_nothing() -> None:
    assert render('{"a": {{{{ x }}, {{ v }}}', {"v": "1"}) == '{"a": {{ x }}, 1}'


@pytest.mark.parametrize("template", ["{{ }}", "{{ a b }}", "{{ a.b }}", "{{ a", "{{ a|upper }}", "{{ 1a }}"])
def test_nothing_but_names_is_a_template(template: str) -> None:
    with pytest.raises(InvalidRequestError, match="line 1"):
        variables_of(template)


def test_a_missing_variable_is_an_error_that_names_the_nearest() -> None:
    prompt = Prompt("greeting", template="Dear {{ customer }}, {{ body }}")
    assert prompt.variables == ("customer", "body")
    with pytest.raises(InvalidRequestError, match=r"prompt greeting .*customer \(did you mean customers\?\), body"):
        prompt.values({"customers": "Ada"})
    with pytest.raises(InvalidRequestError, match="customer is None"):
        prompt.render({"customer": None, "body": "x"})
    with pytest.raises(InvalidRequestError, match="object, which cannot be written as JSON"):
        prompt.values({"customer": object(), "body": "x"})


def test_only_declared_variables_are_taken_from_the_context() -> None:
    prompt = Prompt("p", template="{{ a }}", variables=("a", "labels"))
    assert prompt.values({"a": "1", "labels": ["x"], "request_id": 7}) == {"a": "1", "labels": ["x"]}
    with pytest.raises(InvalidRequestError, match="uses b, not among its variables"):
        Prompt("p", template="{{ a }} {{ b }}", variables=("a",))
    with pytest.raises(InvalidRequestError, match="either a template or messages"):
        Prompt("p")


def test_a_prompt_may_be_a_conversation() -> None:
    prompt = Prompt("p", messages=[Message.system("You are {{ role }}."), Message.user("Hi", name="ada")])
    assert prompt.render({"role": "kind"}) == (Message.system("You are kind."), Message.user("Hi", name="ada"))


def test_options_of_a_call_beat_those_of_the_prompt_and_sensitive_stays() -> None:
    prompt = Prompt("summary", template="x", sensitive=True, options=Options(temperature=0, seed=1))
    asked = prompt.asked(Options(temperature=0.5, sensitive=False))
    assert (asked.temperature, asked.seed, asked.task, asked.sensitive) == (0.5, 1, "summary", True)
    assert prompt.asked(Options(task="other")).task == "other"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with a prompts folder."""
    folder = tmp_path / "host_with_prompts" / "prompts"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "host_with_prompts", raising=False)
    return folder


def test_prompts_load_from_a_package_newest_version_first(package: Path) -> None:
    (package / "summary.v2.md").write_text("Two: {{ text }}\n")
    (package / "summary.v10.md").write_text(
        '+++\nvariables = ["text", "tone"]\ntemperature = 0\nsensitive = true\ntask = "summary"\n+++\n[system]\nBe {{ tone }}.\n\n'
        "[user]\n{{ text }}\n"
    )
    (package / "notes.txt").write_text("not a prompt")
    library = PromptLibrary("host_with_prompts")
    assert list(library) == ["summary"]
    newest = library["summary"]
    assert (newest.version, newest.sensitive, newest.variables) == ("10", True, ("text", "tone"))
    assert newest.options == Options(temperature=0, task="summary")
    assert [message.role for message in newest.render({"text": "t", "tone": "kind"})] == [Role.SYSTEM, Role.USER]
    assert load_prompt("host_with_prompts", "summary", "2").template == "Two: {{ text }}"


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("+++\ntemprature = 0\n+++\nx", "temprature is not a field; did you mean temperature"),
        ("+++\n= 0\n+++\nx", "its header is not TOML"),
        ("before\n[user]\nx", "text stands before the first role"),
        ("{{ a b }}", "broken.v1.md: line 1"),
    ],
)
def test_a_file_that_is_not_valid_is_named(package: Path, text: str, match: str) -> None:
    (package / "broken.v1.md").write_text(text)
    with pytest.raises(ConfigurationError, match=match):
        PromptLibrary("host_with_prompts")


def test_an_unknown_prompt_version_or_package_says_what_there_is(package: Path) -> None:
    (package / "summary.v1.md").write_text("x")
    with pytest.raises(ConfigurationError, match="did you mean summary"):
        load_prompt("host_with_prompts", "sumary")
    with pytest.raises(ConfigurationError, match="it has: 1"):
        load_prompt("host_with_prompts", "summary", "3")
    with pytest.raises(ConfigurationError, match="no folder prompts"):
        PromptLibrary("json")
    with pytest.raises(KeyError):
        PromptLibrary("host_with_prompts")["absent"]
