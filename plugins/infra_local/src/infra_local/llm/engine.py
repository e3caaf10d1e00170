"""What to answer: a scripted rule, else an object for a schema, else a forced tool call, else a task, else that there is no model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from infra.errors import InfraError
from infra.llm.driver import EmbedRequest, LLMRequest
from infra.llm.model import (
    Embeddings,
    FinishReason,
    LLMWarning,
    Part,
    Reasoning,
    Response,
    Text,
    ToolCall,
    ToolResult,
    Usage,
)
from infra.llm.templates import render
from infra_local.llm.failures import OfflineFailure
from infra_local.llm.objects import fill
from infra_local.llm.rules import Rule, Script
from infra_local.llm.tasks import TASKS, asked, named, results
from infra_local.llm.wording import vector

MODEL: Final = "offline-rules-1"
EMBEDDING_MODEL: Final = "offline-hashing-1"
MARK: Final = "[offline: no language model was called]"
_FREE: Final = Decimal(0)
_HONEST: Final = (
    f"{MARK} This provider does the tasks {', '.join(sorted(TASKS))}; name one in Options(task=...) or as the prompt's name, "
    "script an answer in `rules`, or configure a real provider."
)
_CHARACTERS = 4  # of English text for each token, on average


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, and how it is to be delivered."""

    response: Response
    rule: Rule | None = None


def answer(request: LLMRequest, script: Script) -> Answer:
    """The answer to a request; the same for equal requests, apart from rules that are used up.

    Raises:
        OfflineFailure: A rule says so, or a task lacks what it needs.
    """
    chosen = script.choose(request)
    rule = chosen[0] if chosen else None
    try:
        parts, method = _scripted(request, *chosen) if chosen else _computed(request)
    except InfraError as error:  # a template without its variable
        raise OfflineFailure(error.message, status=400) from error
    finish = FinishReason(rule.finish) if rule is not None and rule.finish is not None else None
    parts, cut = _bounded(parts, request)
    if finish is None:
        finish = FinishReason.TOOL_CALLS if any(isinstance(part, ToolCall) for part in parts) else cut
    content = "".join(part.text for part in parts if isinstance(part, Text))
    response = Response(
        content=content,
        parts=tuple(parts),
        finish=finish,
        finish_raw=finish.value,
        usage_stats=_usage(request, parts),
        cost=_FREE,
        metadata={"generated_by_model": False, "method": method},
        warnings=(LLMWarning("offline", f"no language model was called; the answer is {method}"),),
        model=MODEL,
    )
    return Answer(response, rule)


def _scripted(request: LLMRequest, rule: Rule, found: Mapping[str, Any]) -> tuple[list[Part], str]:
    if rule.status is not None:
        raise OfflineFailure(
            rule.reply or f"a rule fails with status {rule.status}", status=rule.status, code=rule.code, retry_after=rule.retry_after
        )
    tool_results = [part.content for part in request.messages[-1].parts if isinstance(part, ToolResult)]
    variables = {"input": asked(request), "tool_result": "\n".join(tool_results), **request.variables, **found}
    parts: list[Part] = []
    if rule.reasoning is not None:
        parts.append(Reasoning(rule.reasoning))
    if rule.reply is not None:
        parts.append(Text(render(rule.reply, variables)))
    options = request.options
    calls = [
        ToolCall(f"call_{index}", call["name"], json.dumps(call["arguments"], ensure_ascii=False) if call.get("arguments") else "")
        for index, call in enumerate(rule.tool_calls)
        if options.tool_choice in (None, "auto", "required", call["name"])
    ]
    return [*parts, *(calls[:1] if options.parallel_tool_calls is False else calls)], "a scripted rule"


def _computed(request: LLMRequest) -> tuple[list[Part], str]:
    options, output = request.options, request.output
    if output is not None:
        names = tuple(output.schema.get("properties", ()))
        values = {**results(request, names), **request.variables}
        return [
            Text(json.dumps(fill(output.schema, values), ensure_ascii=False))
        ], "the least that fits the schema, with given values of the same names"
    if options.tools and options.tool_choice not in (None, "auto", "none") and not _answered(request):
        forced = next((tool for tool in options.tools if tool.name == options.tool_choice), None)
        if forced is None and options.tool_choice != "required":
            raise OfflineFailure(f"tool_choice names {options.tool_choice}, which is not among the tools", status=400)
        forced = forced or options.tools[0]
        arguments = json.dumps(fill(forced.parameters, request.variables), ensure_ascii=False)
        return [ToolCall("call_0", forced.name, arguments)], "the least that fits the tool, with given values of the same names"
    task = named(options.task)
    if task is not None:
        return [Text(TASKS[task](request))], f"the task {task}, done by an algorithm"
    return [Text(_HONEST)], "only a notice"


def _answered(request: LLMRequest) -> bool:
    return any(isinstance(part, ToolResult) for part in request.messages[-1].parts)


def _bounded(parts: list[Part], request: LLMRequest) -> tuple[list[Part], FinishReason]:
    """The parts within `stop` and `max_output_tokens`, and why they end."""
    bounded: list[Part] = []
    finish = FinishReason.STOP
    left = request.options.max_output_tokens
    for part in parts:
        if isinstance(part, Text):
            text = part.text
            ends = [found for stop in request.options.stop or () if stop and (found := text.find(stop)) >= 0]
            if ends:
                text = text[: min(ends)]
            if left is not None and tokens(text) > left:
                text = text[: left * _CHARACTERS]
                finish = FinishReason.LENGTH
            if left is not None:
                left -= tokens(text)
            if text != part.text:
                if text:
                    bounded.append(Text(text))
                break
        bounded.append(part)
    return bounded, finish


def tokens(text: str) -> int:
    """About how many tokens a text has."""
    return -(-len(text) // _CHARACTERS)


def _usage(request: LLMRequest, parts: list[Part]) -> Usage:
    read = sum(tokens(_words(part)) for message in request.messages for part in message.parts)
    thought = sum(tokens(part.text) for part in parts if isinstance(part, Reasoning))
    return Usage(input=read, output=sum(tokens(_words(part)) for part in parts), reasoning=thought or None, estimated=True)


def _words(part: Part) -> str:
    if isinstance(part, Text | Reasoning):
        return part.text
    if isinstance(part, ToolCall):
        return part.name + part.arguments
    return part.content if isinstance(part, ToolResult) else ""


def embeddings(request: EmbedRequest, dimensions: int) -> Embeddings:
    """Hashed words, labelled so."""
    length = request.dimensions or dimensions
    return Embeddings(
        vectors=tuple(vector(text, length) for text in request.texts),
        model=EMBEDDING_MODEL,
        usage_stats=Usage(input=sum(tokens(text) for text in request.texts), estimated=True),
        cost=_FREE,
        metadata={"generated_by_model": False, "lexical": True},
        warnings=(LLMWarning("offline", "these vectors compare words, not meaning"),),
    )
