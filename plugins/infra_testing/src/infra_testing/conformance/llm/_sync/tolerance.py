# Generated from tolerance.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""What servers that call themselves compatible send: read where it can be, never taken for more than it is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from pydantic import BaseModel

from infra.llm import FinishReason, InvalidResponseError, LLMError, ModelNotFoundError, Options, RateLimitedError, UnavailableError
from infra.llm.model import Reasoning
from infra_testing.conformance.llm._sync.answers import collected
from infra_testing.conformance.llm._sync.serving import DONE, END, WAYS, ServedCases, chunk
from infra_testing.conformance.llm._sync.tooling import CLOCK, WEATHER
from infra_testing.conformance.llm.sloppy import CALLS, CONTENTS, ENDINGS, FAILURES, FRAMINGS, PIECES, PROSE, USAGES, VECTORS, whole

KINDS: Mapping[str, type[LLMError]] = {
    "": LLMError,
    "limit": RateLimitedError,
    "model": ModelNotFoundError,
    "down": UnavailableError,
}
TOOLS = Options(tools=[WEATHER, CLOCK])


class Answer(BaseModel):
    """What is asked for."""

    n: int


def thoughts(response: Any) -> str:
    """What it says was thought."""
    return "".join(part.text for part in response.parts if isinstance(part, Reasoning))


def called(response: Any) -> list[tuple[str, Any]]:
    """The tools that it asks for, after a look at their ids."""
    assert len({call.id for call in response.tool_calls}) == len(response.tool_calls)
    return [(call.name, call.decoded()) for call in response.tool_calls]


class ToleranceCases(ServedCases):
    """Forms of answers that the protocol does not know."""

    @pytest.mark.parametrize(("message", "deltas", "expected"), CONTENTS)
    def test_contents_of_any_form_are_read(self, served: Any, message: Any, deltas: Any, expected: tuple[str, str, str]) -> None:
        content, thought, finish = expected
        streamed = {"match": "stream", "packets": [*map(chunk, deltas), *END]}
        llm, _ = served(streamed, {"body": whole(message)})
        for response in (llm.generate("x"), (collected(llm, "stream"))[-1].response):
            assert (response.content, thoughts(response), response.finish) == (content, thought, FinishReason(finish))

    @pytest.mark.parametrize(("message", "expected"), CALLS)
    def test_calls_of_any_form_are_read(self, served: Any, message: Any, expected: Any) -> None:
        llm, _ = served({"match": "stream", "packets": [chunk(message), *END]}, {"body": whole(message)})
        for response in (llm.generate("x", TOOLS), (collected(llm, "stream", TOOLS))[-1].response):
            assert called(response) == expected
            assert response.finish is FinishReason.TOOL_CALLS

    @pytest.mark.parametrize(("pieces", "expected"), PIECES)
    def test_pieces_of_calls_are_put_together(self, served: Any, pieces: Sequence[Any], expected: Any) -> None:
        llm, _ = served({"packets": [*(chunk({"tool_calls": [piece]}) for piece in pieces), chunk({}, "tool_calls"), DONE]})
        events = collected(llm, "x", TOOLS)
        assert called(events[-1].response) == expected

    def test_a_call_without_a_name_is_none(self, served: Any) -> None:
        message = {"tool_calls": [{"id": "a", "function": {"arguments": '{"city": "Rome"}'}}]}
        llm, _ = served({"match": "stream", "packets": [chunk(message), *END]}, {"body": whole(message)})
        for way, asked in zip(WAYS, ("x", "stream"), strict=True):
            with pytest.raises(LLMError, match="no name"):
                way(llm, asked)

    @pytest.mark.parametrize(("usage", "expected"), USAGES)
    def test_counts_of_any_form_are_read(self, served: Any, usage: Any, expected: tuple[Any, ...]) -> None:
        message = {"content": "Hi"}
        streamed = {"match": "stream", "packets": [chunk(message), chunk({}, "stop", usage=usage), DONE]}
        llm, _ = served(streamed, {"body": whole(message, usage=usage)})
        for response in (llm.generate("x"), (collected(llm, "stream"))[-1].response):
            found = response.usage_stats
            assert (found.input, found.output, found.cached_input, found.reasoning) == expected

    @pytest.mark.parametrize(("raw", "expected"), ENDINGS)
    def test_the_reason_of_an_end_may_be_any_word(self, served: Any, raw: Any, expected: str | None) -> None:
        streamed = {"match": "stream", "packets": [chunk({"content": "Hi"}), chunk({}, raw), DONE]}
        llm, _ = served(streamed, {"body": whole({"content": "Hi"}, raw)})
        for way, asked in zip(WAYS, ("x", "stream"), strict=True):
            if expected is None:
                with pytest.raises(LLMError):
                    way(llm, asked)
                continue
            found = way(llm, asked)
            response = found if asked == "x" else found[-1].response
            assert (response.finish, response.finish_raw) == (FinishReason(expected), raw or None)

    @pytest.mark.parametrize(("told", "kind"), FAILURES)
    def test_a_failure_under_status_200_is_one(self, served: Any, told: Any, kind: str) -> None:
        text = told if isinstance(told, str) else json.dumps(told)
        event = f"data: {text}\n\n".encode()
        forms = {
            "stream as a body": {"body": text},
            "stream as data": {"packets": [event]},
            "stream as an event": {"packets": [b"event: error\n", event, DONE]},
            "stream after words": {"packets": [chunk({"content": "Hi"}), event, DONE]},
            "": {"body": text},
        }
        llm, _ = served(*({"match": f"^{form}$", **rule} for form, rule in forms.items() if form), forms[""])
        for asked in forms:
            with pytest.raises(LLMError, match="in so many words") as caught:
                WAYS[asked != ""](llm, asked or "x")
            if asked != "stream after words":
                assert isinstance(caught.value, KINDS[kind])

    @pytest.mark.parametrize("packets", FRAMINGS)
    def test_events_in_any_frame_are_read(self, served: Any, packets: list[Any]) -> None:
        data = b"".join(packet for packet in packets if packet)
        llm, _ = served(
            {"match": "by bytes", "packets": [data[at : at + 1] for at in range(len(data))]},
            {"match": "by three", "packets": [data[at : at + 3] for at in range(0, len(data), 3)]},
            {"packets": packets},
        )
        for asked in ("x", "by bytes", "by three"):
            assert (collected(llm, asked))[-1].response.content == "Hi Ada"

    @pytest.mark.parametrize("part", [0.0, 0.3, 0.6, 0.9, 0.99])
    def test_a_cut_answer_is_never_told_as_whole(self, served: Any, part: float) -> None:
        body = whole({"content": "Hi Ada"}).encode()
        cut = body[: int(len(body) * part)]
        stream = b"".join([chunk({"content": "Hi "}), chunk({"content": "Ada"})])
        cut_stream = stream[: int(len(stream) * part)]
        short = {"content-length": str(len(body) + 9), "connection": "close"}
        llm, _ = served(
            {"match": "short stream", "body": cut_stream.decode(), "headers": {**short, "content-type": "text/event-stream"}},
            {"match": "short", "body": cut.decode(), "headers": short},
            {"match": "ended stream", "packets": [cut_stream]},
            {"match": "ended", "packets": [cut]},
            {"match": "broken stream", "packets": [cut_stream, None]},
            {"packets": [cut, None]},
        )
        for ending in ("short", "ended", "broken"):
            with pytest.raises(LLMError):
                llm.generate(ending)
            with pytest.raises(LLMError):
                collected(llm, f"{ending} stream")

    @pytest.mark.parametrize("text", PROSE)
    def test_an_object_among_prose_is_found(self, served: Any, text: str) -> None:
        llm, session = served({"body": whole({"content": text})})
        assert (llm.generate_as(Answer, "x")).n == 3
        assert len(session.seen) == 1

    @pytest.mark.parametrize(("vectors", "expected"), VECTORS)
    def test_vectors_of_any_form_are_read(self, served: Any, vectors: Any, expected: Any) -> None:
        llm, session = served()
        session.vectors = json.dumps(vectors)
        if expected is None:
            with pytest.raises(InvalidResponseError):
                llm.embed(["a", "b"])
        else:
            assert list(llm.embed(["a", "b"])) == expected
