# Generated from failing.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""Failures, retries and time limits."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Any

import pytest

from infra.errors import ErrorCode
from infra.llm import (
    AuthenticationError,
    ContentFilteredError,
    ContextTooLongError,
    Finish,
    InvalidRequestError,
    LLMError,
    LLMFeature,
    LLMTimeoutError,
    Message,
    ModelNotFoundError,
    Options,
    PermissionDeniedError,
    QuotaExhaustedError,
    RateLimitedError,
    Start,
    StreamInterruptedError,
    Text,
    TextDelta,
    Tool,
    UnavailableError,
)
from infra_testing.conformance.llm._sync.answers import collected
from infra_testing.conformance.llm._sync.opening import LLMCases
from infra_testing.conformance.llm.script import LONG

CANARY = "canary-7f3a9c-secret-prompt"
STATUSES: dict[str, type[LLMError]] = {
    "status 400": InvalidRequestError,
    "status 401": AuthenticationError,
    "status 403": PermissionDeniedError,
    "status 404": ModelNotFoundError,
    "status 408": LLMTimeoutError,
    "status 409": UnavailableError,
    "status 413": ContextTooLongError,
    "status 422": InvalidRequestError,
    "status 429": RateLimitedError,
    "status 500": UnavailableError,
    "status 502": UnavailableError,
    "status 503": UnavailableError,
    "quota is gone": QuotaExhaustedError,
    "context is full": ContextTooLongError,
    "filtered prompt": ContentFilteredError,
}


def gathered(llm: Any, asked: str, words: list[str]) -> None:
    """Add the words of a stream to `words` as they come."""
    with closing(llm.stream(asked)) as events:
        for event in events:
            if isinstance(event, TextDelta):
                words.append(event.text)  # noqa: PERF401  (what came before a failure counts)


class FailureCases(LLMCases):
    """Cases 16 to 18, 20, 39, 40, 42, 43 and 45, as far as they need no HTTP."""

    @pytest.mark.parametrize("asked", sorted(STATUSES))
    def test_each_failure_has_its_error(self, counted: Any, asked: str) -> None:
        llm = counted(retries=0)
        with pytest.raises(LLMError) as caught:
            llm.generate(asked)
        error = caught.value
        assert type(error) is STATUSES[asked]
        assert (error.resource, error.provider, error.operation) == ("llm.main", llm.provider, "generate")
        assert error.remedy
        assert error.__cause__ is not None
        assert llm.driver.classify(error.__cause__) is error.code
        with pytest.raises(STATUSES[asked]):
            collected(llm, asked)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"temperature": float("nan")},
            {"temperature": -1},
            {"top_p": 2.0},
            {"max_output_tokens": 0},
            {"max_output_tokens": True},
            {"stop": "end"},
            {"timeout": 0},
            {"timeout": float("inf")},
            {"cache": "sometimes"},
            {"tools": [len]},
            {"tools": [Tool(name="a"), Tool(name="a")]},
            {"tools": [Tool(name="two words")]},
            {"provider_options": {"x": float("nan")}},
        ],
        ids=repr,
    )
    def test_a_wrong_option_is_told_before_anything_is_asked(self, counted: Any, wrong: dict[str, Any]) -> None:
        llm = counted()
        with pytest.raises(InvalidRequestError) as caught:
            llm.generate("say hello", Options(**wrong))
        assert caught.value.attempts == 0
        with pytest.raises(InvalidRequestError):
            collected(llm, "say hello", Options(**wrong))
        assert llm.driver.asked == 0

    @pytest.mark.parametrize("asked", ["", " \n", [], None, 5, [Message.user("")], [Message.user([Text(5)])], "\ud800"], ids=repr)  # type: ignore[arg-type]
    def test_a_prompt_that_is_none_is_told_before_anything_is_asked(self, counted: Any, asked: Any) -> None:
        llm = counted()
        with pytest.raises(InvalidRequestError):
            llm.generate(asked)
        with pytest.raises(InvalidRequestError):
            llm.run_tools(asked, tools=[])
        assert llm.driver.asked == 0

    @pytest.mark.parametrize("texts", ["", ["a", ""], ["a", None], 5, [b"a"]], ids=repr)
    def test_texts_without_a_vector_are_told(self, opened: Any, texts: Any) -> None:
        llm = opened()
        if llm.supports(LLMFeature.EMBEDDINGS):
            with pytest.raises(InvalidRequestError):
                llm.embed(texts)

    def test_what_may_pass_is_asked_again(self, counted: Any, quick: Any) -> None:
        llm = counted(**quick)
        response = llm.generate("fail once")
        assert (response.content, response.attempts, llm.driver.asked) == ("Recovered.", 2, 2)

    def test_a_stream_is_asked_again_before_its_first_content(self, counted: Any, quick: Any) -> None:
        llm = counted(**quick)
        events = collected(llm, "fail once")
        assert sum(isinstance(event, Start) for event in events) == 1
        assert isinstance(events[-1], Finish)
        assert (events[-1].response.content, events[-1].response.attempts) == ("Recovered.", 2)

    def test_retries_end(self, counted: Any, quick: Any) -> None:
        llm = counted(**quick)
        with pytest.raises(UnavailableError) as caught:
            llm.generate("fail always")
        assert caught.value.attempts == llm.driver.asked == 3

    @pytest.mark.parametrize("asked", ["status 400", "status 401", "status 404", "quota is gone", "filtered prompt"])
    def test_what_cannot_pass_is_asked_once(self, counted: Any, quick: Any, asked: str) -> None:
        llm = counted(**quick)
        with pytest.raises(LLMError):
            llm.generate(asked)
        assert llm.driver.asked == 1

    def test_retry_after_is_obeyed_within_the_deadline(self, counted: Any) -> None:
        llm = counted(retry_delay=0.0)
        started = time.monotonic()
        assert (llm.generate("limit once")).content == "Within the limit."
        assert time.monotonic() - started >= 0.05
        with pytest.raises(RateLimitedError) as caught:
            llm.generate("limit for an hour", Options(timeout=60.0))
        assert caught.value.retry_after == 3600.0
        assert caught.value.attempts == 1

    def test_a_stream_that_breaks_off_tells_what_it_had_delivered(self, counted: Any, quick: Any) -> None:
        llm = counted(**quick)
        words: list[str] = []
        with pytest.raises(StreamInterruptedError) as caught:
            gathered(llm, "break off", words)
        assert words
        assert caught.value.partial == "".join(words)
        assert LONG.startswith(caught.value.partial)
        assert not caught.value.retryable
        assert llm.driver.asked == 1
        assert llm.driver.open_streams == 0

    def test_the_whole_call_has_a_limit(self, counted: Any) -> None:
        llm = counted(retries=0)
        with pytest.raises(LLMTimeoutError) as caught:
            llm.generate("slow answer", Options(timeout=0.05))
        assert caught.value.code is ErrorCode.TIMEOUT
        assert llm.driver.contexts[0].timeout <= 0.05

    def test_the_first_event_has_a_limit(self, counted: Any) -> None:
        llm = counted(retries=0, first_event_timeout=0.05)
        with pytest.raises(LLMTimeoutError):
            collected(llm, "slow answer")
        assert llm.driver.open_streams == 0

    def test_each_further_event_has_a_limit(self, counted: Any) -> None:
        llm = counted(retries=0, idle_timeout=0.05)
        with pytest.raises(StreamInterruptedError) as caught:
            collected(llm, "stall in the middle")
        assert caught.value.partial
        assert caught.value.code is ErrorCode.TIMEOUT
        assert llm.driver.open_streams == 0

    def test_prompts_and_answers_are_in_no_error_and_no_log(self, counted: Any, caplog: Any) -> None:
        caplog.set_level(0)
        llm = counted(retries=0, cache="main", cache_mode="always")
        llm.generate(f"say hello {CANARY}")
        for asked in ("status 400", "status 503", "break off"):
            with pytest.raises(LLMError) as caught:
                collected(llm, f"{asked} {CANARY}")
            error = caught.value
            assert CANARY not in f"{error} {error!r} {error.to_dict(public=False)}"
        assert CANARY not in caplog.text
