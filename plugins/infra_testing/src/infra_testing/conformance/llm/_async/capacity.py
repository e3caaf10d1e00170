"""How much is asked at once, how often, and with which fields."""

from __future__ import annotations

# async-only: begin
import asyncio

# async-only: end
import re
from contextlib import aclosing
from functools import partial
from typing import Any

import pytest

from infra.llm import LLMTimeoutError, Options, RateLimitedError, TextDelta, UnavailableError
from infra.runtime.aio import gather
from infra_testing.conformance.llm._async.answers import collected
from infra_testing.conformance.llm._async.serving import WAYS, AsyncServedCases, endless

QUICK: dict[str, Any] = {"retry_delay": 0.001, "retry_delay_max": 0.002}


class AsyncCapacityCases(AsyncServedCases):
    """Concurrency, retries, and servers that take less than others."""

    @pytest.mark.parametrize("way", WAYS)
    async def test_no_more_requests_are_under_way_than_allowed(self, served: Any, way: Any) -> None:
        llm, session = await served({"packets": [0.02, b'{"choices": [{"message": {"content": "Hi"}}]}']}, max_concurrency=3)
        assert len(await gather(*[partial(way, llm, "x")] * 12, limit=12)) == 12
        assert session.most <= 3

    async def test_a_left_stream_gives_its_slot_back(self, served: Any) -> None:
        llm, _ = await served({"match": "endless", "packets": endless()}, max_concurrency=1)
        for _ in range(2):
            async with aclosing(llm.stream("endless")) as events:
                async for event in events:
                    if isinstance(event, TextDelta):
                        break
                with pytest.raises(LLMTimeoutError, match="slots") as caught:
                    await llm.generate("x", Options(timeout=0.05))
                assert caught.value.attempts == 0
            assert (await llm.generate("x")).content

    # async-only: begin
    async def test_a_cancelled_call_gives_its_slot_back(self, served: Any) -> None:
        llm, session = await served({"match": "endless", "packets": endless()}, max_concurrency=1)
        for way in WAYS:
            task = asyncio.create_task(way(llm, "endless"))
            async with asyncio.timeout(90):
                while not session.answering:  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (await llm.generate("x")).content

    # async-only: end
    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize("retries", [0, 1, 4])
    @pytest.mark.parametrize(
        ("rule", "kind"), [({"status": 503}, UnavailableError), ({"status": 429, "retry_after": 0.001}, RateLimitedError)]
    )
    async def test_a_failure_is_asked_for_again_so_often(self, served: Any, way: Any, retries: int, rule: Any, kind: Any) -> None:
        llm, session = await served(rule, retries=retries, **QUICK)
        with pytest.raises(kind) as caught:
            await way(llm, "x")
        assert len(session.seen) == caught.value.attempts == retries + 1

    @pytest.mark.parametrize("way", WAYS)
    async def test_a_batch_survives_a_rate_limit(self, served: Any, way: Any) -> None:
        texts = [f"text {number}." for number in range(50)]
        rules = [{"match": f"^{re.escape(text)}$", "status": 429, "retry_after": 0.001, "times": 1} for text in texts]
        llm, session = await served(*rules, retries=1, max_concurrency=10, **QUICK)
        answers = await gather(*(partial(way, llm, text) for text in texts), limit=50)
        assert [answer for answer in answers if isinstance(answer, BaseException)] == []
        assert len(session.seen) == 100
        assert session.most <= 10

    @pytest.mark.parametrize(
        "refusal",
        [
            (400, "Unrecognized request argument supplied: {}"),
            (400, "{} is not supported"),
            (422, '[{{"type": "extra_forbidden", "loc": ["body", "{}"], "msg": "Extra inputs are not permitted"}}]'),
            (400, "Unknown parameter: '{}'."),
            (400, "Unsupported parameter: '{}' is not supported with this model."),
        ],
    )
    async def test_a_field_that_the_server_lacks_is_left_out_from_then_on(self, served: Any, refusal: tuple[int, str]) -> None:
        llm, session = await served()
        status, said = refusal
        for name in ("stream_options", "encoding_format", "max_completion_tokens"):
            session.refuses[name] = (status, said.format(name))
        for refused in (3, 0):
            before = len(session.seen)
            assert (await collected(llm, "x", Options(max_output_tokens=50)))[-1].response.content
            assert len(await llm.embed(["a", "b"])) == 2
            assert len(session.seen) - before == refused + 2

    @pytest.mark.parametrize("status", [400, 403, 404, 405, 501])
    async def test_a_server_without_a_list_of_models_serves(self, served: Any, status: int) -> None:
        llm, session = await served()
        session.list_status = status
        assert await llm.ping() >= 0
