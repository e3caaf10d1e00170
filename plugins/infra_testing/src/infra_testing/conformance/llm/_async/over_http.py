"""What only shows on the wire: badly formed streams, failures by status, time limits, keys. For providers of the OpenAI protocol."""

from __future__ import annotations

# async-only: begin
import asyncio

# async-only: end
import json
import time
import traceback
from contextlib import aclosing
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from infra.errors import ErrorCode
from infra.llm import (
    AuthenticationError,
    Finish,
    FinishReason,
    InvalidResponseError,
    LLMError,
    LLMTimeoutError,
    ModelNotFoundError,
    Options,
    QuotaExhaustedError,
    RateLimitedError,
    Start,
    StreamInterruptedError,
    TextDelta,
    UnavailableError,
    Usage,
)
from infra.plugin import Secret
from infra.runtime.aio import sleep
from infra.runtime.deadline import Deadline
from infra_testing.conformance.llm._async.answers import collected
from infra_testing.conformance.llm._async.capacity import AsyncCapacityCases
from infra_testing.conformance.llm._async.serving import DONE, END, KEY, USAGE, WAYS, chunk, endless, words
from infra_testing.conformance.llm._async.tolerance import AsyncToleranceCases
from infra_testing.conformance.llm._async.tooling import WEATHER
from infra_testing.llm_server import ScriptedLLMServer, Session


async def left(session: Session) -> None:
    """Wait until the server is done with all answers: complete, or left by their reader."""
    deadline = Deadline(90)
    while session.answering:
        assert not deadline.passed
        await sleep(0.005)


class AsyncLLMOverHTTPCases(AsyncToleranceCases, AsyncCapacityCases):
    """Cases 11 to 20, 29, 39 to 42, 44 and 51, against a server that answers as it is told."""

    # Streams

    async def test_a_first_chunk_without_choices_is_no_trouble(self, served: Any) -> None:
        filtered = chunk(choices=[], id="", model="", prompt_filter_results=[{"prompt_index": 0}])
        llm, _ = await served({"packets": [filtered, chunk({"role": "assistant"}), chunk({"content": "Hi"}), *END]})
        events = await collected(llm, "x")
        assert sum(isinstance(event, Start) for event in events) == 1
        assert (events[-1].response.content, events[-1].response.model, events[-1].response.id) == ("Hi", "m", "c1")

    async def test_a_chunk_without_a_delta_is_no_trouble(self, served: Any) -> None:
        llm, _ = await served({"packets": [chunk({"content": "Hi"}), chunk(), chunk(None, "stop"), DONE]})
        response = (await collected(llm, "x"))[-1].response
        assert (response.content, response.finish) == ("Hi", FinishReason.STOP)

    async def test_a_last_chunk_with_usage_only_is_counted_once(self, served: Any) -> None:
        closing = chunk(choices=[], usage=USAGE)
        llm, session = await served({"packets": [chunk({"content": "Hi"}, usage=None), chunk({}, "stop"), closing, DONE]})
        usage = (await collected(llm, "x"))[-1].response.usage_stats
        assert (usage.input, usage.output, usage.raw) == (11, 7, USAGE)
        assert session.seen[0].body["stream_options"] == {"include_usage": True}

    @pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}])
    async def test_usage_that_was_not_counted_is_none(self, served: Any, usage: Any) -> None:
        whole = {"id": "c", "model": "m", "choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}], "usage": usage}
        streamed = {"match": "stream", "packets": [chunk({"content": "Hi"}), chunk({}, "stop", usage=usage), DONE]}
        llm, _ = await served(streamed, {"body": json.dumps(whole)})
        assert (await llm.generate("x")).usage_stats == Usage()
        assert (await collected(llm, "stream"))[-1].response.usage_stats == Usage()

    async def test_two_hundred_identical_chunks_pass(self, served: Any) -> None:
        llm, _ = await served({"packets": [b"".join([chunk({"content": "same "})] * 200), *END]})
        assert (await collected(llm, "x"))[-1].response.content == "same " * 200

    @pytest.mark.parametrize("size", [1, 2, 7])
    @pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
    async def test_packets_may_be_cut_anywhere(self, served: Any, size: int, ending: bytes) -> None:
        text = 'Zürich 東京 🚀 "quoted"\u2028 end'
        data = b": a comment\n\nevent: message\n" + b"".join([*words(text.replace(" ", "_ ")), *END])
        data = data.replace(b"\n", ending)
        llm, _ = await served({"packets": [data[at : at + size] for at in range(0, len(data), size)]})
        assert (await collected(llm, "x"))[-1].response.content == text.replace(" ", "_")

    @pytest.mark.parametrize("cut", [None, b""])
    async def test_a_truncated_stream_raises(self, served: Any, cut: bytes | None) -> None:
        ending = [cut] if cut is None else []  # the connection breaks off, or ends in good order
        llm, session = await served({"match": "at once", "packets": ending}, {"packets": [*words("one two"), *ending]})
        with pytest.raises(StreamInterruptedError) as caught:
            await collected(llm, "x")
        assert caught.value.partial == "onetwo"
        with pytest.raises(UnavailableError) as caught_early:
            await collected(llm, "at once")
        assert caught_early.value.retryable
        assert len(session.seen) == 2

    @pytest.mark.parametrize("bad", [b"data: {not json\n\n", b"data: [1]\n\n", b'data: {"choices": [3]}\n\n', b"data: \xff\xfe\n\n"])
    async def test_a_chunk_that_is_none_raises(self, served: Any, bad: bytes) -> None:
        llm, _ = await served({"packets": [bad, *END]})
        with pytest.raises(InvalidResponseError):
            await collected(llm, "x")

    async def test_a_failure_told_within_a_stream_raises_what_it_stands_for(self, served: Any) -> None:
        told = b'data: {"error": {"message": "slow down", "code": 429, "type": "rate_limit"}}\n\n'
        llm, _ = await served({"match": "early", "packets": [told]}, {"packets": [*words("a b"), told]})
        with pytest.raises(RateLimitedError, match="slow down"):
            await collected(llm, "early")
        with pytest.raises(StreamInterruptedError, match="slow down") as caught:
            await collected(llm, "x")
        assert caught.value.partial == "ab"

    async def test_silence_before_the_first_event_has_a_limit(self, served: Any) -> None:
        llm, session = await served({"packets": [30.0, *END]}, first_event_timeout=0.1)
        started = time.monotonic()
        with pytest.raises(LLMTimeoutError):
            await collected(llm, "x")
        assert time.monotonic() - started < 20
        assert len(session.seen) == 1

    @pytest.mark.parametrize("sign", [b": still here\n\n", chunk({"content": ""}), chunk({}), chunk(choices=[]), b"data:\n\n"])
    async def test_silence_between_contents_has_a_limit_that_signs_of_life_do_not_extend(self, served: Any, sign: bytes) -> None:
        signs: list[Any] = [sign, 0.05] * 600
        llm, _ = await served({"packets": [b"".join(words("one two")), *signs, *END]}, idle_timeout=0.2)
        started = time.monotonic()
        with pytest.raises(StreamInterruptedError) as caught:
            await collected(llm, "x")
        assert caught.value.partial == "onetwo"
        assert time.monotonic() - started < 20

    async def test_the_first_event_may_take_longer_than_the_later_ones(self, served: Any) -> None:
        llm, _ = await served({"packets": [0.4, b"".join([*words("late"), *END])]}, first_event_timeout=60, idle_timeout=0.2)
        for _ in range(20):  # a machine that stands still is silence too
            try:
                events = await collected(llm, "x")
            except StreamInterruptedError:
                continue
            assert events[-1].response.content == "late"
            return
        raise AssertionError("the first event is held to the limit of the later ones")

    async def test_an_answer_that_trickles_in_is_within_the_whole_limit(self, served: Any) -> None:
        llm, _ = await served({"packets": [b" ", 0.05] * 600})
        started = time.monotonic()
        with pytest.raises(LLMTimeoutError):
            await llm.generate("x", Options(timeout=0.3))
        assert time.monotonic() - started < 20

    async def test_a_stream_that_goes_on_is_within_the_whole_limit(self, served: Any) -> None:
        llm, session = await served({"packets": endless()})
        with pytest.raises(LLMError) as caught:
            await collected(llm, "x", Options(timeout=0.3))
        assert caught.value.code is ErrorCode.TIMEOUT
        await left(session)

    async def test_leaving_a_stream_ends_it_at_the_server(self, served: Any) -> None:
        llm, session = await served({"match": "endless", "packets": endless()})
        async with aclosing(llm.stream("endless")) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    break
        await left(session)
        assert (await llm.generate("x")).content

    # async-only: begin
    async def test_a_cancelled_stream_ends_at_the_server(self, served: Any) -> None:
        llm, session = await served({"match": "endless", "packets": endless()})
        task = asyncio.create_task(collected(llm, "endless"))
        async with asyncio.timeout(90):
            while not session.answering:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await left(session)
        assert (await llm.generate("x")).content

    # async-only: end
    async def test_a_connection_is_used_again_after_a_stream(self, served: Any) -> None:
        llm, session = await served({"match": "early", "packets": [*words("a b"), chunk({}, "stop"), DONE]})
        for asked in ("early", "x", "early"):
            assert isinstance((await collected(llm, asked))[-1], Finish)
        await llm.generate("x")
        assert len(session.connections) == 1

    async def test_tool_calls_come_in_any_pieces(self, served: Any) -> None:
        def piece(index: int | None, arguments: str | None, id_: str | None = None) -> bytes:
            function: dict[str, Any] = {"arguments": arguments} if arguments is not None else {}
            if id_:
                function["name"] = "weather"
            call: dict[str, Any] = {"index": index, "function": function, **({"id": id_} if id_ else {})}
            return chunk({"tool_calls": [call]})

        pieces = {
            "numbered": [piece(0, "", "a"), piece(1, "", "b"), piece(1, '{"city": "O'), piece(0, '{"city": "Rome"}'), piece(1, 'slo"}')],
            "unnumbered": [piece(None, '{"city": ', "a"), piece(None, '"Rome"}'), piece(None, '{"city": "Oslo"}', "b")],
            "one number": [piece(0, '{"city": "Rome"}', "a"), piece(0, '{"city": "Oslo"}', "b")],
        }
        rules = [{"match": name, "packets": [*found, chunk({}, "tool_calls"), DONE]} for name, found in pieces.items()]
        llm, _ = await served(*rules)
        for name in pieces:
            response = (await collected(llm, name, Options(tools=[WEATHER])))[-1].response
            assert response.finish is FinishReason.TOOL_CALLS
            assert [(call.id, call.decoded()["city"]) for call in response.tool_calls] == [("a", "Rome"), ("b", "Oslo")]

    # Whole answers

    @pytest.mark.parametrize("body", ["<html>busy</html>", "[]", "{}", '{"choices": []}', '{"choices": [{"message": null}]}'])
    async def test_an_answer_that_is_none_raises(self, served: Any, body: str) -> None:
        llm, _ = await served({"body": body})
        with pytest.raises(InvalidResponseError):
            await llm.generate("x")

    async def test_a_refusal_in_its_own_field_is_told(self, served: Any) -> None:
        message = {"content": None, "refusal": "I will not."}
        body = {"model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        streamed = {"match": "stream", "packets": [chunk({"refusal": "I will "}), chunk({"refusal": "not."}), *END]}
        llm, _ = await served(streamed, {"body": json.dumps(body)})
        for response in (await llm.generate("x"), (await collected(llm, "stream"))[-1].response):
            assert (response.content, response.finish, response.finish_raw) == ("I will not.", FinishReason.CONTENT_FILTER, "stop")

    async def test_the_protocol_names_of_options_are_sent(self, served: Any) -> None:
        llm, session = await served()
        extra = {"x_nested": {"a": [1, None]}}
        await llm.generate("x", Options(temperature=0, stop=["s"], seed=3, reasoning="low", provider_options=extra))
        body = dict(session.seen[0].body)
        assert body.pop("messages") == [{"role": "user", "content": "x"}]
        assert body == {"model": "m", "temperature": 0, "stop": ["s"], "seed": 3, "reasoning_effort": "low", **extra}

    # Failures

    @pytest.mark.parametrize(
        ("rule", "kind"),
        [
            ({"status": 500}, UnavailableError),
            ({"status": 529}, UnavailableError),
            ({"status": 418}, LLMError),
            ({"status": 429, "code": "insufficient_quota"}, QuotaExhaustedError),
            ({"status": 307, "headers": {"location": "/elsewhere"}}, LLMError),
        ],
    )
    async def test_a_failure_is_asked_for_once_and_keeps_its_status(self, served: Any, rule: Any, kind: type[LLMError]) -> None:
        llm, session = await served(rule)
        for number, call in enumerate(WAYS, 1):
            with pytest.raises(kind) as caught:
                await call(llm, "x")
            assert caught.value.status == rule["status"]
            assert caught.value.request_id == "req-scripted"
            assert len(session.seen) == number

    @pytest.mark.parametrize(
        ("headers", "least", "most"),
        [
            ({"retry-after": "7"}, 7, 7),
            ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5, 1.5),
            ({"retry-after": formatdate(time.time() + 3600, usegmt=True)}, 1800, 3601),
            ({"retry-after": "0.5"}, 0.5, 0.5),
            ({"retry-after": "-3"}, 0, 0),
            ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0, 0),
            ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m2.5s"}, 62.5, 62.5),
            ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "20ms"}, 0.02, 0.02),
            *(({"retry-after": value}, None, None) for value in ("soon", "", "nan", "inf", "1e999", "Wed, 99 Foo 2015")),
        ],
    )
    async def test_retry_after_is_read(self, served: Any, headers: Any, least: float | None, most: float | None) -> None:
        llm, _ = await served({"status": 429, "headers": headers})
        with pytest.raises(RateLimitedError) as caught:
            await llm.generate("x")
        found = caught.value.retry_after
        if least is None or most is None:
            assert found is None
        else:
            assert found is not None
            assert least <= found <= most

    async def test_common_mistakes_have_one_clear_line(self, served: Any, llm_server: ScriptedLLMServer) -> None:
        _, url = llm_server.session([])
        nowhere = url.replace(f"127.0.0.1:{llm_server.port}", "host.invalid")
        refused = url.replace(f":{llm_server.port}", ":1")
        mistakes: list[tuple[dict[str, object], type[LLMError], str]] = [
            ({"api_key": "wrong"}, AuthenticationError, "Incorrect API key"),
            ({"model": "m9"}, ModelNotFoundError, "m9"),
            (self.settings_at(refused, KEY), UnavailableError, "cannot reach 127.0.0.1:1: connection refused"),
            (self.settings_at(nowhere, KEY), UnavailableError, "cannot reach host.invalid: unknown host"),
        ]
        for settings, kind, expected in mistakes:
            llm, _ = await served(models=["m"], **settings)
            for call in WAYS:
                with pytest.raises(kind) as caught:
                    await call(llm, "x")
                assert expected in caught.value.message
                assert "\n" not in caught.value.message
                assert caught.value.remedy

    # Keys

    async def test_the_key_is_nowhere_to_be_seen(self, served: Any, caplog: Any) -> None:
        caplog.set_level(0)
        llm, session = await served({"match": "fail", "status": 401, "reply": "Incorrect key:", "echo_key": True})
        await llm.generate("x")
        await llm.ping()
        driver: Any = llm.driver
        objects: list[Any] = [llm, driver, llm.settings, driver.info, vars(driver), *driver.unwrap()]
        shown = [repr(each) for each in objects]
        for call in WAYS:
            with pytest.raises(AuthenticationError) as caught:
                await call(llm, "fail")
            error = caught.value
            shown += [str(error), repr(error), repr(error.to_dict(public=False)), "".join(traceback.format_exception(error))]
        assert any(KEY in value for value in session.seen[0].headers.values())
        assert all(KEY not in text for text in shown)
        assert KEY not in caplog.text

    async def test_the_key_rotates_without_a_restart(self, served: Any, tmp_path: Path) -> None:
        file = tmp_path / "key"
        file.write_text(KEY)
        llm, session = await served(api_key=Secret(f"file:{file}"))
        assert (await llm.generate("x")).content
        session.key = "another-key-entirely"
        with pytest.raises(AuthenticationError):
            await llm.generate("x")
        file.write_text(session.key)
        assert (await llm.generate("x")).content
        assert (await collected(llm, "x"))[-1].response.content
        assert await llm.ping() >= 0
        file.unlink()
        with pytest.raises(AuthenticationError, match="cannot be read"):
            await llm.generate("x")

    async def test_a_ping_tells_a_wrong_key(self, served: Any) -> None:
        llm, _ = await served(api_key="wrong")
        with pytest.raises(AuthenticationError):
            await llm.ping()

    async def test_vectors_travel_in_batches(self, served: Any) -> None:
        llm, session = await served()
        size = llm.driver.info.embed_batch
        made = await llm.embed([f"text {number}" for number in range(size + 1)], dimensions=4)
        assert (len(made), made.dimensions) == (size + 1, 4)
        assert [len(seen.body["input"]) for seen in session.seen] == [size, 1]
