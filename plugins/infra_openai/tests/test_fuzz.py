"""Answers with anything in them: they end in an `LLMError` or are read, and a cut one is never told as whole."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.llm import LLMError, Options, Tool
from infra_testing.harness import Harness, Place
from infra_testing.llm_server import ScriptedLLMServer, Session

CALL = {"index": 0, "id": "a", "type": "function", "function": {"name": "clock", "arguments": '{"zone": "CET"}'}}
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 1}}
HEAD = {"id": "c", "model": "m", "usage": USAGE}
MESSAGE = {"role": "assistant", "content": [{"type": "text", "text": "Hi"}], "reasoning_content": "Hm.", "tool_calls": [CALL]}
BODY = {**HEAD, "choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop"}]}
CHUNKS = [
    {**HEAD, "choices": [{"index": 0, "delta": MESSAGE}]},
    {**HEAD, "choices": [{"index": 0, "delta": {"content": " Ada", "tool_calls": [{"index": 0, "function": {"arguments": ""}}]}}]},
    {**HEAD, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
]
VECTORS = {"data": [{"index": 0, "embedding": [1.0, 2.0]}], "model": "m", "usage": USAGE}
ASKED = Options(tools=[Tool(name="clock", description="The time.")])

NUMBERS: list[Any] = [True, 0, -1, 7, 2**70, 10**400, 1.5, float("nan"), float("inf")]
OTHERS: list[Any] = [None, "", "error", "\ud800", "429", [], [[]], {}, {"error": "x"}, [1], {"a": []}]
VALUES = st.sampled_from([*NUMBERS, *OTHERS]) | st.text(max_size=5) | st.lists(st.integers() | st.text(max_size=3), max_size=2)
RUN = settings(derandomize=True, deadline=None, database=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """All places of a value, as container and key."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from places(value[key])


@st.composite
def mutated(draw: Any, original: Any) -> Any:
    """A value with some of its parts replaced, dropped or joined by others."""
    value = copy.deepcopy(original)
    for _ in range(draw(st.integers(1, 3))):
        found = list(places(value))
        if not found:
            break
        container, key = found[draw(st.integers(0, len(found) - 1))]
        how = draw(st.sampled_from(["replace", "replace", "drop", "insert"]))
        if how == "drop":
            del container[key]
        elif how == "insert" and isinstance(container, list):
            container.insert(key, draw(VALUES))
        else:
            container[key] = draw(VALUES)
    return value


class Doors:
    """A resource of each kind at one session."""

    def __init__(self, session: Session, blocking: Any, tasks: Any, runner: asyncio.Runner) -> None:
        self.session = session
        self._blocking = blocking
        self._tasks = tasks
        self._runner = runner

    def ask(self, **rule: Any) -> list[Any]:
        """What both doors and both ways make of an answer: each a response, or None for an `LLMError`."""
        self.session.script = [rule]

        async def both() -> tuple[Any, Any]:
            return await told_async(self._tasks.generate("x", ASKED)), await told_async(streamed())

        async def streamed() -> Any:
            return [event async for event in self._tasks.stream("x", ASKED)][-1].response

        async def told_async(asked: Any) -> Any:
            try:
                return await asked
            except LLMError:
                return None

        found: list[Any] = list(self._runner.run(both()))
        for ask in (lambda: self._blocking.generate("x", ASKED), lambda: list(self._blocking.stream("x", ASKED))[-1].response):
            try:
                found.append(ask())
            except LLMError:
                found.append(None)
        return found

    def embed(self, body: str) -> None:
        """Ask for a vector."""
        self.session.vectors = body
        with contextlib.suppress(LLMError):
            self._blocking.embed(["x"])
        with contextlib.suppress(LLMError):
            self._runner.run(self._tasks.embed(["x"]))


@pytest.fixture
def doors(tmp_path: Path, llm_server: ScriptedLLMServer) -> Iterator[Doors]:
    session, url = llm_server.session([])
    opening: dict[str, Any] = {"base_url": f"{url}/v1", "retries": 0, "model": "m", "embedding_model": "m", "transport": "httpx"}
    harness = Harness("openai", plugin="infra_openai")
    blocking = harness.open("llm", Place(tmp_path), **opening)
    with asyncio.Runner() as runner:
        tasks = runner.run(harness.open_async("llm", Place(tmp_path), **opening))
        yield Doors(session, blocking, tasks, runner)
        runner.run(tasks.close())
    blocking.close()


def events(chunks: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks)


@RUN
@given(body=mutated(BODY))
def test_any_body_is_read_or_refused(doors: Doors, body: Any) -> None:
    doors.ask(body=json.dumps(body))


@RUN
@given(chunks=mutated(CHUNKS))
def test_any_chunks_are_read_or_refused(doors: Doors, chunks: Any) -> None:
    doors.ask(packets=[events(chunks) + b"data: [DONE]\n\n"])


@RUN
@given(body=mutated(VECTORS))
def test_any_vectors_are_read_or_refused(doors: Doors, body: Any) -> None:
    doors.embed(json.dumps(body))


@RUN
@given(error=mutated({"error": {"message": "busy", "code": 429, "type": "x", "details": [{"loc": ["a"], "msg": "b"}]}}))
def test_any_failure_is_one(doors: Doors, error: Any) -> None:
    doors.ask(packets=[b"event: error\n" + events([error])])
    doors.ask(body=json.dumps(error))


@RUN
@given(data=st.data(), broken=st.booleans())
def test_a_cut_answer_is_never_whole(doors: Doors, data: Any, broken: bool) -> None:
    body, stream = json.dumps(BODY).encode(), events(CHUNKS[:2])
    for whole in (body, stream):
        cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
        assert doors.ask(packets=[cut, *([None] if broken else [])]) == [None] * 4


@RUN
@given(garbage=st.binary(max_size=40), at=st.integers(0, 400))
def test_garbage_among_it_is_read_or_refused(doors: Doors, garbage: bytes, at: int) -> None:
    stream = events(CHUNKS) + b"data: [DONE]\n\n"
    doors.ask(packets=[stream[:at] + garbage + stream[at:]])
