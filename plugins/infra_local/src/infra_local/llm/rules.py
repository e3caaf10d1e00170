"""Scripted answers: what to say, or how to fail, when a request matches."""

from __future__ import annotations

import json
import re
import threading
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, cast

from infra.errors import ConfigurationError, nearest
from infra.llm.driver import LLMRequest
from infra.llm.model import FinishReason, Role, ToolResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One scripted answer. All conditions that are given must hold; the first rule that matches is used.

    Args:
        match: A regular expression, searched for in the last user message without regard to case. Its named groups are variables.
        system: The same, searched for in the system messages.
        task: The task's name.
        times: How often it is used; None for always.
        reply: The answer, a template over the prompt's variables, named groups, ``input`` (the user's words) and ``tool_result``.
        reasoning: What it shows as reasoning.
        tool_calls: Tools to ask for, each with ``name`` and ``arguments``. Such a rule does not match the turn after a tool's result.
        finish: Why the answer ends.
        status: Fail with this HTTP status instead.
        code: The provider's code of that failure.
        retry_after: Seconds that the failure asks to wait.
        break_after: Break a stream off after this many events.
        delay: Seconds to wait before the answer.
        delay_after: In a stream, the number of events to give before that wait.
    """

    match: str | None = None
    system: str | None = None
    task: str | None = None
    times: int | None = None
    reply: str | None = None
    reasoning: str | None = None
    tool_calls: Sequence[Mapping[str, Any]] = ()
    finish: str | None = None
    status: int | None = None
    code: str | None = None
    retry_after: float | None = None
    break_after: int | None = None
    delay: float = 0.0
    delay_after: int = 0

    def __post_init__(self) -> None:
        for pattern in (self.match, self.system):
            if pattern is not None:
                re.compile(pattern)
        if self.finish is not None:
            FinishReason(self.finish)
        for call in self.tool_calls:
            call["name"]

    def found(self, request: LLMRequest) -> dict[str, Any] | None:
        """The variables of the match; None when it does not match."""
        if self.task is not None and request.options.task != self.task:
            return None
        if self.tool_calls and not self._callable(request):
            return None
        variables: dict[str, Any] = {}
        for pattern, role in ((self.match, Role.USER), (self.system, Role.SYSTEM)):
            if pattern is not None:
                texts = [message.text for message in request.messages if message.role is role]
                hit = re.search(pattern, (texts[-1] if role is Role.USER else "\n".join(texts)) if texts else "", re.IGNORECASE)
                if hit is None:
                    return None
                variables |= {name: value for name, value in hit.groupdict().items() if value is not None}
        return variables

    def _callable(self, request: LLMRequest) -> bool:
        known = {tool.name for tool in request.options.tools or ()}
        if any(isinstance(part, ToolResult) for part in request.messages[-1].parts) or request.options.tool_choice == "none":
            return False
        return all(call["name"] in known for call in self.tool_calls)


_FIELDS = frozenset(each.name for each in fields(Rule))


@dataclass(slots=True)
class Script:
    """The rules of one driver, and how often each was used. Thread-safe."""

    rules: tuple[Rule, ...]
    _used: dict[int, int] = field(default_factory=dict[int, int])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def choose(self, request: LLMRequest) -> tuple[Rule, dict[str, Any]] | None:
        """The first rule that matches and is not used up, with the match's variables."""
        for index, rule in enumerate(self.rules):
            variables = rule.found(request)
            if variables is None:
                continue
            if rule.times is not None:
                with self._lock:
                    if self._used.get(index, 0) >= rule.times:
                        continue
                    self._used[index] = self._used.get(index, 0) + 1
            return rule, variables
        return None


def load_script(path: Path | None, inline: Sequence[Mapping[str, Any]], resource: str) -> Script:
    """The rules given in settings, then those of a file: TOML with ``[[rule]]``, or a JSON list.

    Raises:
        ConfigurationError: The file cannot be read, or a rule is not valid; the message names it.
    """
    listed: list[tuple[str, Any]] = [(f"script[{index}]", rule) for index, rule in enumerate(inline)]
    if path is not None:
        try:
            text = path.read_text(encoding="utf-8")
            content: Any = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"cannot read the rules in {path}: {error}", resource=resource, remedy="correct the file or `rules`"
            ) from None
        if isinstance(content, dict):
            content = cast("dict[str, Any]", content).get("rule", [])
        listed += [(f"{path}, rule {index + 1}", rule) for index, rule in enumerate(cast("list[Any]", content))]
    return Script(tuple(_rule(place, rule, resource) for place, rule in listed))


def _rule(place: str, rule: Any, resource: str) -> Rule:
    if not isinstance(rule, Mapping):
        raise ConfigurationError(f"{place}: a rule is a table of fields", resource=resource)
    given = dict(cast("Mapping[str, Any]", rule))
    for name in given.keys() - _FIELDS:
        like = nearest(name, _FIELDS)
        raise ConfigurationError(f"{place}: {name} is not a field", resource=resource, remedy=f"did you mean {like}?" if like else None)
    try:
        return Rule(**given)
    except (re.error, ValueError, TypeError, KeyError) as error:
        raise ConfigurationError(f"{place}: {error}", resource=resource, remedy="see docs/providers/offline.md") from None
