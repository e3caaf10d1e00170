# Generated from serving.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""A resource that asks a server which answers as it is told, and what that server may be told to send."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from infra_testing.conformance.llm._sync.answers import collected
from infra_testing.conformance.llm._sync.opening import LLMCases
from infra_testing.llm_server import ScriptedLLMServer, Session

KEY = "canary-key-5b1d0e77"
DONE = b"data: [DONE]\n\n"
USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}


def chunk(delta: Mapping[str, Any] | None = None, finish: str | None = None, **fields: Any) -> bytes:
    """One event of a stream, with one choice unless `fields` says otherwise."""
    choice: dict[str, Any] = {"index": 0, "finish_reason": finish}
    if delta is not None:
        choice["delta"] = dict(delta)
    value = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice], **fields}
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


def words(text: str) -> list[bytes]:
    """A text in chunks of one word."""
    return [chunk({"content": word}) for word in text.split(" ")]


def generated(llm: Any, asked: str) -> Any:
    """A whole answer."""
    return llm.generate(asked)


#: Both ways of asking.
WAYS: tuple[Callable[[Any, str], Any], ...] = (generated, collected)

END = [chunk({}, "stop"), DONE]


def endless() -> Iterator[bytes | float]:
    """A stream that ends when its reader leaves."""
    while True:
        yield chunk({"content": "on "})
        yield 0.01


class ServedCases(LLMCases):
    """The base of the cases on the wire."""

    def settings_at(self, url: str, key: object) -> dict[str, object]:
        """The settings that point the provider at the server."""
        return {"base_url": f"{url}/v1", "api_key": key}

    @pytest.fixture
    def served(self, opened: Any, llm_server: ScriptedLLMServer) -> Callable[..., tuple[Any, Session]]:
        """``llm, session = served(rule, ..., **settings)``: a resource that asks once, at a server with these rules."""

        def open_one(*rules: Mapping[str, Any], models: Sequence[str] | None = None, **settings: Any) -> tuple[Any, Session]:
            session, url = llm_server.session(rules, key=KEY, models=models)
            llm = opened(**{"retries": 0, "model": "m", "embedding_model": "m", **self.settings_at(url, KEY), **settings})
            return llm, session

        return open_one
