"""What a scripted server answers. The rules are those of `infra_testing.conformance.llm.SCRIPT`, and packets as they are."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_CHARACTERS = 4  # of English text for each token, on average


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What to send.

    Args:
        rule: The rule that matched; empty when none did.
        content: The words.
        calls: The tools to ask for.
        finish: Why it ends.
        usage: The tokens.
    """

    rule: Mapping[str, Any]
    content: str = ""
    calls: Sequence[Mapping[str, Any]] = ()
    finish: str = "stop"
    usage: Mapping[str, Any] | None = None


def texts(body: Mapping[str, Any], role: str) -> list[str]:
    """The texts of all messages of a role."""
    found: list[str] = []
    for message in body["messages"]:
        if message["role"] == role:
            content = message.get("content") or ""
            found.append(content if isinstance(content, str) else "".join(part.get("text", "") for part in content))
    return found


def results(body: Mapping[str, Any]) -> list[str]:
    """What tools have answered in the last turn."""
    found: list[str] = []
    for message in reversed(body["messages"]):
        if message["role"] != "tool":
            break
        found.insert(0, message["content"])
    return found


def choose(script: Sequence[Mapping[str, Any]], used: dict[int, int], body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The first rule that matches and is not used up; empty when there is none."""
    asked = (texts(body, "user") or [""])[-1]
    for index, rule in enumerate(script):
        if not re.search(rule.get("match", ""), asked, re.IGNORECASE):
            continue
        if "system" in rule and not re.search(rule["system"], "\n".join(texts(body, "system")), re.IGNORECASE):
            continue
        if rule.get("tool_calls") and not _callable(rule, body):
            continue
        if "times" in rule:
            if used.get(index, 0) >= rule["times"]:
                continue
            used[index] = used.get(index, 0) + 1
        return rule
    return {}


def _callable(rule: Mapping[str, Any], body: Mapping[str, Any]) -> bool:
    known = {tool["function"]["name"] for tool in body.get("tools", ())}
    if results(body) or body.get("tool_choice") == "none":
        return False
    return all(call["name"] in known for call in rule["tool_calls"])


def answer(rule: Mapping[str, Any], body: Mapping[str, Any]) -> Answer:
    """The answer that a rule gives; without one, the tool that must be asked for, or one sentence."""
    calls: list[Mapping[str, Any]] = list(rule.get("tool_calls", ()))
    choice: Any = body.get("tool_choice")
    if not rule and choice not in (None, "auto", "none"):
        named = body["tools"][0]["function"]["name"] if isinstance(choice, str) else choice["function"]["name"]
        calls = [{"name": named, "arguments": {}}]
    content = (
        "" if calls else str(rule.get("reply", "Hello from the scripted server.")).replace("{{ tool_result }}", "\n".join(results(body)))
    )
    finish = "tool_calls" if calls else "stop"
    for stop in body.get("stop") or ():
        content = content.partition(stop)[0]
    limit = body.get("max_completion_tokens", body.get("max_tokens"))
    if limit is not None and tokens(content) > limit:
        content, finish = content[: limit * _CHARACTERS], "length"
    thought = tokens(rule.get("reasoning", ""))
    written = tokens(content) + sum(tokens(json.dumps(call)) for call in calls) + thought
    read = sum(tokens(text) for message in ("user", "system", "assistant") for text in texts(body, message))
    usage: dict[str, Any] = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
    if thought:
        usage["completion_tokens_details"] = {"reasoning_tokens": thought}
    return Answer(rule=rule, content=content, calls=calls, finish=rule.get("finish", finish), usage=usage)


def tokens(text: str) -> int:
    """About how many tokens a text has."""
    return -(-len(text) // _CHARACTERS)


def message_of(made: Answer) -> dict[str, Any]:
    """The answer as one message."""
    message: dict[str, Any] = {"role": "assistant", "content": made.content or None, "refusal": None}
    if "reasoning" in made.rule:
        message["reasoning_content"] = made.rule["reasoning"]
    if made.calls:
        message["tool_calls"] = [
            {"id": f"call_{index}", "type": "function", "function": {"name": call["name"], "arguments": arguments(call)}}
            for index, call in enumerate(made.calls)
        ]
    return message


def arguments(call: Mapping[str, Any]) -> str:
    """A call's arguments as JSON text; none are empty text."""
    return json.dumps(call["arguments"], ensure_ascii=False) if call.get("arguments") else ""


def deltas_of(made: Answer) -> list[dict[str, Any]]:
    """The answer as the deltas of a stream; arguments in fragments."""
    found: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    if "reasoning" in made.rule:
        found.append({"reasoning_content": made.rule["reasoning"]})
    found += [{"content": piece} for piece in re.findall(r"\S+\s*|\s+", made.content)]
    for index, call in enumerate(made.calls):
        found.append(
            {
                "tool_calls": [
                    {"index": index, "id": f"call_{index}", "type": "function", "function": {"name": call["name"], "arguments": ""}}
                ]
            }
        )
        text = arguments(call)
        found += [{"tool_calls": [{"index": index, "function": {"arguments": text[at : at + 5]}}]} for at in range(0, len(text), 5)]
    return found
