"""The tasks that are done by real algorithms. A task is named by `Options.task`, or by the name of an executed prompt.

A name counts by itself, or by its first word: ``summary`` and ``summary-short`` are the same task. The text to work on is the variable
named ``text``, ``document``, ``content``, ``article``, ``body``, ``message`` or ``input``; else the longest text among the variables; else
the last user message. Further values (``sentences``, ``count``, ``labels``, ``template``) come from ``provider_options``, else from the
variables.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

from infra.llm.driver import LLMRequest
from infra.llm.model import Role
from infra.llm.templates import render
from infra_local.llm.failures import OfflineFailure
from infra_local.llm.summary import summarise
from infra_local.llm.wording import classify, keywords

_SUBJECTS: Final = ("text", "document", "content", "article", "body", "message", "input")


def subject(request: LLMRequest) -> str:
    """The text that a task works on."""
    variables = request.variables
    for name in _SUBJECTS:
        if isinstance(value := variables.get(name), str):
            return value
    texts = [value for value in variables.values() if isinstance(value, str)]
    return max(texts, key=len) if texts else asked(request)


def asked(request: LLMRequest) -> str:
    """The last user message."""
    return next((message.text for message in reversed(request.messages) if message.role is Role.USER), "")


def value(request: LLMRequest, name: str) -> Any:
    """A further value for a task; None when it is not given."""
    found = (request.options.provider_options or {}).get(name)
    return request.variables.get(name) if found is None else found


def _number(request: LLMRequest, name: str) -> int | None:
    found = value(request, name)
    try:
        return None if found is None else max(1, int(found))
    except (TypeError, ValueError):
        raise OfflineFailure(f"{name} must be a number, not {found!r:.40}", status=400) from None


def _echo(request: LLMRequest) -> str:
    return subject(request)


def _template(request: LLMRequest) -> str:
    template = value(request, "template")
    return render(template, request.variables) if isinstance(template, str) else asked(request)


def _summary(request: LLMRequest) -> str:
    return summarise(subject(request), _number(request, "sentences"))


def _keywords(request: LLMRequest) -> str:
    return ", ".join(keywords(subject(request), _number(request, "count") or 8))


def _classify(request: LLMRequest) -> str:
    labels = value(request, "labels")
    if isinstance(labels, str):
        labels = [label.strip() for label in labels.split(",") if label.strip()]
    if not isinstance(labels, Sequence | Mapping) or not labels:
        raise OfflineFailure("the task classify needs labels: a list, or a mapping of labels to descriptions", status=400)
    return classify(subject(request), cast("Sequence[str] | Mapping[str, str]", labels))


TASKS: Final[Mapping[str, Callable[[LLMRequest], str]]] = {
    "classify": _classify,
    "echo": _echo,
    "keywords": _keywords,
    "summary": _summary,
    "template": _template,
}
_ALIASES: Final = {"summarise": "summary", "summarize": "summary", "classification": "classify"}


def named(task: str | None) -> str | None:
    """The task of that name; None when there is none."""
    if task is None:
        return None
    for word in (task.lower(), re.split(r"[-_./ ]", task.lower(), maxsplit=1)[0]):
        word = _ALIASES.get(word, word)
        if word in TASKS:
            return word
    return None


def results(request: LLMRequest, names: Sequence[str]) -> dict[str, Any]:
    """What tasks of these names give for the request's text, to fill an object's fields of the same names."""
    found: dict[str, Any] = {}
    if "summary" in names:
        found["summary"] = _summary(request)
    if "keywords" in names:
        found["keywords"] = keywords(subject(request), _number(request, "count") or 8)
    if "label" in names and value(request, "labels"):
        found["label"] = _classify(request)
    return found
