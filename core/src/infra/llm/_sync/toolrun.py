# Generated from toolrun.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""Carrying out the tools that a model asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from infra.llm.errors import InvalidResponseError
from infra.llm.model import Message, Options, Response, Tool, ToolCall, ToolResult
from infra.llm.tools import as_text
from infra.runtime.bridge import ThreadBridge
from infra.runtime.threads import call, gather

Ask = Callable[[tuple[Message, ...], Options], Response]


def run_tools_loop(
    ask: Ask,
    messages: tuple[Message, ...],
    options: Options,
    tools: Sequence[Tool],
    max_steps: int,
    bridge: ThreadBridge,
    redact: Callable[[str], str],
) -> Response:
    """Ask, carry out what the answer asks for, and ask again, until an answer asks for nothing."""
    known = {each.name: each for each in tools}
    options = replace(options, tools=tuple(tools))
    total: Response | None = None
    for _ in range(max_steps):
        response = ask(messages, options)
        total = response if total is None else added(total, response)
        calls = response.tool_calls
        if not calls:
            return total
        results = gather(*(partial(carry_out, one, known, bridge, redact) for one in calls))
        for result in results:
            if isinstance(result, BaseException):
                raise result
        messages = (*messages, response.message, Message.tool(*(one for one in results if isinstance(one, ToolResult))))
        if options.tool_choice not in (None, "auto", "none"):
            options = replace(options, tool_choice="auto")  # a forced choice holds for the first step, else it would never end
    raise InvalidResponseError(
        f"the model still asks for tools after {max_steps} steps",
        operation="run_tools",
        remedy="raise max_steps, or check that the tools' answers help",
    )


def added(total: Response, response: Response) -> Response:
    """The later response, with usage, cost, attempts and warnings of all."""
    return replace(
        response,
        usage_stats=total.usage_stats + response.usage_stats,
        cost=None if total.cost is None or response.cost is None else total.cost + response.cost,
        attempts=total.attempts + response.attempts,
        cached=total.cached and response.cached,
        warnings=tuple(dict.fromkeys((*total.warnings, *response.warnings))),
    )


def carry_out(asked: ToolCall, known: Mapping[str, Tool], bridge: ThreadBridge, redact: Callable[[str], str]) -> ToolResult:
    """One tool's answer. What goes wrong in it is told to the model, without secrets; it may try otherwise."""
    found = known.get(asked.name)
    if found is None or found.function is None:
        return ToolResult(asked.id, f"there is no tool {asked.name}", asked.name, is_error=True)
    try:
        arguments = asked.decoded() if found.convert is None else found.convert(asked.decoded())
        value = call(partial(found.function, **arguments), bridge=bridge)
        return ToolResult(asked.id, as_text(value), asked.name)
    except Exception as error:
        return ToolResult(asked.id, redact(f"{type(error).__name__}: {error}"), asked.name, is_error=True)
