# Generated from answers.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""Answers and streams."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import fields, replace
from functools import partial
from typing import Any

import pytest

from infra.errors import ClosedError, UnsupportedError
from infra.llm import (
    Finish,
    FinishReason,
    Message,
    Options,
    Response,
    Role,
    Start,
    TextDelta,
    UsageUpdate,
    message_from_json,
    message_to_json,
    response_from_json,
    response_to_json,
)
from infra.llm.model import PORTABLE_OPTIONS
from infra.runtime.threads import gather
from infra_testing.conformance.llm._sync.opening import LLMCases
from infra_testing.conformance.llm.script import LONG, SCRIPT

SAMPLES: dict[str, Any] = {
    "model": "another-model",
    "max_output_tokens": 7,
    "temperature": 0.5,
    "top_p": 0.5,
    "top_k": 5,
    "stop": ["xyzzy"],
    "seed": 7,
    "frequency_penalty": 0.5,
    "presence_penalty": 0.5,
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "reasoning": "low",
}


def collected(llm: Any, *asked: Any) -> list[Any]:
    """All events of a stream."""
    with closing(llm.stream(*asked)) as events:
        return [event for event in events]


class AnswerCases(LLMCases):
    """Cases 3 to 10, 14, 19 to 25, 34, 36 and 45 to 51."""

    def test_an_answer_has_content_a_reason_a_model_and_usage(self, opened: Any) -> None:
        response = (opened()).generate("say hello")
        assert response.content == "Hello there."
        assert response.message == Message.assistant("Hello there.")
        assert response.finish is FinishReason.STOP
        assert response.model
        assert response.attempts == 1
        assert not response.cached
        usage = response.usage_stats
        assert usage.prompt_tokens is None or usage.prompt_tokens > 0
        assert usage.completion_tokens is None or usage.completion_tokens > 0

    def test_joined_deltas_equal_the_answer(self, opened: Any) -> None:
        llm = opened()
        events = collected(llm, "tell a long story")
        assert "".join(event.text for event in events if isinstance(event, TextDelta)) == LONG
        whole = llm.generate("tell a long story")
        assert whole.content == LONG
        assert replace(events[-1].response, id=None) == replace(whole, id=None)

    def test_a_stream_starts_once_and_finishes_once_at_its_end(self, opened: Any) -> None:
        events = collected(opened(), "say hello")
        assert isinstance(events[0], Start)
        assert sum(isinstance(event, Start) for event in events) == 1
        assert isinstance(events[-1], Finish)
        assert sum(isinstance(event, Finish) for event in events) == 1

    def test_a_long_text_comes_in_several_deltas_none_of_them_empty(self, opened: Any) -> None:
        deltas = [event for event in collected(opened(), "tell a long story") if isinstance(event, TextDelta)]
        assert len(deltas) >= 2
        assert all(delta.text for delta in deltas)

    def test_the_usage_of_a_stream_is_known_or_none_and_counted_once(self, opened: Any) -> None:
        llm = opened()
        events = collected(llm, "say hello")
        usage = events[-1].response.usage_stats
        assert usage.output is None or usage.output > 0
        updates = [event.usage for event in events if isinstance(event, UsageUpdate)]
        assert not updates or updates[-1] == usage
        assert usage == (llm.generate("say hello")).usage_stats

    def test_cached_and_reasoning_tokens_are_within_the_totals(self, opened: Any) -> None:
        usage = ((opened()).generate("think first")).usage_stats
        assert (usage.cached_input or 0) <= (usage.input or 0)
        assert (usage.reasoning or 0) <= (usage.output or 0)
        assert usage.total_tokens is None or usage.total_tokens == usage.input + usage.output

    def test_many_equal_pieces_pass(self, opened: Any) -> None:
        events = collected(opened(), "repeat the same word")
        assert events[-1].response.content == "same " * 400

    def test_leaving_a_stream_early_frees_its_connection(self, counted: Any) -> None:
        llm = counted()
        with closing(llm.stream("tell a long story")) as events:
            for event in events:
                if isinstance(event, TextDelta):
                    break
        assert llm.driver.open_streams == 0
        assert (llm.generate("say hello")).content == "Hello there."

    def test_a_system_message_is_heard(self, opened: Any) -> None:
        llm = opened()
        response = llm.generate([Message.system("You are a pirate."), Message.user("who are you?")])
        assert response.content == "A pirate."

    def test_several_turns_are_one_conversation(self, opened: Any) -> None:
        llm = opened()
        first = llm.generate("say hello")
        turns = [Message.user("say hello"), first.message, Message.user("count to five")]
        assert (llm.generate(turns)).content == "one two three four five"

    def test_two_messages_of_one_role_in_a_row_are_accepted(self, opened: Any) -> None:
        turns = [Message.user("Please do this:", name="ada"), Message.user("say hello", name="bob")]
        assert ((opened()).generate(turns)).content == "Hello there."

    def test_a_stop_text_ends_the_answer_and_is_not_in_it(self, opened: Any) -> None:
        llm = opened()
        response = llm.generate("count to five", Options(stop=[" three"]))
        ignored = [warning.option for warning in response.warnings if warning.kind == "unsupported-option"]
        assert response.content == "one two" or "stop" in ignored

    def test_the_token_limit_cuts_the_answer_and_says_so(self, opened: Any) -> None:
        response = (opened()).generate("tell a long story", Options(max_output_tokens=8))
        assert response.finish is FinishReason.LENGTH
        assert LONG.startswith(response.content)
        assert len(response.content) < len(LONG)

    def test_a_refusal_is_told_by_its_reason(self, opened: Any) -> None:
        response = (opened()).generate("please be refused")
        assert response.finish is FinishReason.CONTENT_FILTER
        assert response.finish_raw is not None

    @pytest.mark.parametrize("option", sorted(SAMPLES))
    def test_every_option_is_honoured_or_warned_of_and_refused_under_strict(self, opened: Any, option: str) -> None:
        llm = opened()
        options = Options(**{option: SAMPLES[option]})
        if option in llm.driver.info.options:
            response = llm.generate("say hello", replace(options, strict=True))
            assert not any(warning.option == option for warning in response.warnings)
            return
        response = llm.generate("say hello", options)
        assert any(warning.kind == "unsupported-option" and warning.option == option for warning in response.warnings)
        events = collected(llm, "say hello", options)
        assert any(warning.option == option for warning in events[0].warnings)
        with pytest.raises(UnsupportedError, match=option):
            llm.generate("say hello", replace(options, strict=True))

    def test_the_samples_of_options_are_complete(self) -> None:
        assert {field.name for field in fields(Options)} == set(SAMPLES) | PORTABLE_OPTIONS

    def test_provider_options_reach_the_provider_as_they_are(self, counted: Any) -> None:
        llm = counted()
        llm.generate("say hello", Options(provider_options={"x_nested": {"a": [1, None]}}))
        assert llm.driver.requests[0].options.provider_options == {"x_nested": {"a": [1, None]}}

    def test_concurrent_calls_each_get_their_own_answer(self, opened: Any) -> None:
        llm = opened()
        asked = ["say hello", "count to five", "tell a long story", "think first"] * 8
        wanted = {entry["match"]: entry["reply"] for entry in SCRIPT if "reply" in entry}
        answers = gather(*(partial(llm.generate, each) for each in asked), limit=32)
        assert [answer.content for answer in answers if isinstance(answer, Response)] == [wanted[each] for each in asked]

    def test_inputs_are_not_changed(self, opened: Any) -> None:
        messages = [Message.user("say hello")]
        extra: dict[str, Any] = {"x": {"y": [1]}}
        before = json.dumps(extra)
        (opened()).generate(messages, Options(provider_options=extra, temperature=0))
        assert messages == [Message.user("say hello")]
        assert json.dumps(extra) == before

    def test_responses_and_messages_survive_json(self, opened: Any) -> None:
        llm = opened()
        for asked in ("say hello", "think first"):
            response = llm.generate(asked)
            assert response_from_json(json.loads(json.dumps(response_to_json(response)))) == response
            turn = response.message
            assert message_from_json(json.loads(json.dumps(message_to_json(turn)))) == turn
            assert turn.role is Role.ASSISTANT

    def test_the_raw_reason_is_kept(self, opened: Any) -> None:
        response = (opened()).generate("say hello")
        assert isinstance(response.finish_raw, str)
        assert response.finish_raw

    def test_embeddings_keep_order_and_length_over_batches(self, opened: Any) -> None:
        llm = opened()
        if not llm.supports("embeddings"):
            with pytest.raises(UnsupportedError):
                llm.embed(["a"])
            return
        texts = [f"text number {number}" for number in range(llm.driver.info.embed_batch + 3)]
        made = llm.embed(texts)
        assert len(made) == len(texts)
        assert {len(vector) for vector in made} == {made.dimensions}
        alone = (llm.embed(texts[-1]))[0]
        assert made[-1] == pytest.approx(alone, abs=1e-3)
        assert made[0] != pytest.approx(alone, abs=1e-3)
        assert made.usage_stats.input is None or made.usage_stats.input > 0

    def test_a_closed_resource_refuses_every_call(self, opened: Any) -> None:
        llm = opened()
        llm.close()
        with pytest.raises(ClosedError):
            llm.generate("say hello")
        with pytest.raises(ClosedError):
            collected(llm, "say hello")
