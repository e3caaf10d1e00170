"""The cache of answers."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import aclosing
from dataclasses import fields, replace
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from infra.errors import ErrorCode, ServiceError
from infra.llm import DriverInfo, Finish, LLMError, LLMRequest, Message, Options, OutputFormat, Prompt, Response, TextDelta, Tool
from infra.llm.cache_key import UNKEYED, cache_key
from infra.runtime.aio import gather
from infra_testing.conformance.llm import keys
from infra_testing.conformance.llm._async.answers import SAMPLES, collected
from infra_testing.conformance.llm._async.opening import AsyncLLMCases
from infra_testing.conformance.llm._async.tooling import Order
from infra_testing.conformance.llm.script import LONG

KEPT = Options(temperature=0)
ALWAYS = Options(cache="always")
_OTHERS: dict[str, Any] = {
    "tools": [Tool(name="t")],
    "provider_options": {"x": None},
    "task": "other",
    "namespace": "tenant-2",
}


class AsyncBrokenCache:
    """A cache that is down."""

    async def get(self, key: str) -> Any:
        """Fail."""
        raise ServiceError(f"no {key}", code=ErrorCode.UNAVAILABLE)

    async def set(self, key: str, value: object, ttl: float) -> bool:
        """Fail."""
        raise ServiceError(f"no {key} {value} {ttl}", code=ErrorCode.UNAVAILABLE)

    async def delete(self, key: str) -> bool:
        """Fail."""
        raise ServiceError(f"no {key}", code=ErrorCode.UNAVAILABLE)


class AsyncKeepingCases(AsyncLLMCases):
    """Cases 37 and 38, and what the page says of the cache."""

    async def test_a_kept_answer_keeps_its_usage_and_costs_nothing(self, counted: Any) -> None:
        llm = await counted(cache="main")
        first = await llm.generate("say hello", KEPT)
        again = await llm.generate("say hello", KEPT)
        assert llm.driver.asked == 1
        assert (first.cached, again.cached) == (False, True)
        assert again.cost == Decimal(0)
        assert replace(again, cached=False, cost=first.cost) == first

    async def test_auto_keeps_only_what_would_be_repeated(self, counted: Any) -> None:
        llm = await counted(cache="main")
        for options in (Options(), Options(temperature=0.7), Options(temperature=0, cache="never"), Options(temperature=0, sensitive=True)):
            before = llm.driver.asked
            await llm.generate("say hello", options)
            await llm.generate("say hello", options)
            assert llm.driver.asked == before + 2
        for options in (KEPT, Options(seed=1), ALWAYS):
            before = llm.driver.asked
            await llm.generate("say hello", options)
            await llm.generate("say hello", options)
            assert llm.driver.asked == before + 1

    async def test_refresh_asks_again_and_replaces(self, counted: Any) -> None:
        llm = await counted(cache="main", cache_mode="always")
        await llm.generate("say hello")
        assert not (await llm.generate("say hello", Options(cache="refresh"))).cached
        assert llm.driver.asked == 2
        assert (await llm.generate("say hello")).cached

    async def test_a_sensitive_prompt_is_never_kept(self, counted: Any) -> None:
        llm = await counted(cache="main", cache_mode="always")
        prompt = Prompt("hello", template="say hello to {{ name }}", sensitive=True)
        for _ in range(2):
            assert not (await llm.execute_prompt(prompt, {"name": "Ada"}, Options(sensitive=False))).cached
        assert llm.driver.asked == 2

    async def test_errors_and_truncated_or_filtered_answers_are_not_kept(self, counted: Any) -> None:
        llm = await counted(cache="main", cache_mode="always", retries=0)
        for asked, options in (("tell a long story", Options(max_output_tokens=3)), ("please be refused", Options())):
            for _ in range(2):
                assert not (await llm.generate(asked, options)).cached
        for _ in range(2):
            with pytest.raises(LLMError):
                await llm.generate("fail always")
        assert llm.driver.asked == 6

    async def test_invalidate_forgets_one_answer(self, counted: Any) -> None:
        llm = await counted(cache="main", cache_mode="always")
        prompt = Prompt("hello", template="say hello to {{ name }}")
        await llm.generate("count to five")
        await llm.execute_prompt(prompt, {"name": "Ada"})
        await llm.invalidate(prompt, context={"name": "Ada"})
        assert not (await llm.execute_prompt(prompt, {"name": "Ada"})).cached
        assert (await llm.generate("count to five")).cached
        await llm.invalidate("count to five")
        assert not (await llm.generate("count to five")).cached

    async def test_tenants_do_not_share_answers(self, counted: Any) -> None:
        llm = await counted(cache="main", cache_mode="always")
        await llm.generate("say hello", Options(namespace="one"))
        assert not (await llm.generate("say hello", Options(namespace="two"))).cached
        assert (await llm.generate("say hello", Options(namespace="one"))).cached

    async def test_a_failing_cache_is_a_miss(self, counted: Any) -> None:
        llm = await counted(cache="main", cache_mode="always", store=AsyncBrokenCache())
        assert (await llm.generate("say hello")).content == "Hello there."
        assert (await collected(llm, "say hello"))[-1].response.content == "Hello there."
        with pytest.raises(ServiceError):
            await llm.invalidate("say hello")

    async def test_a_thousand_equal_callers_make_one_call(self, counted: Any) -> None:
        llm = await counted(cache="main", cache_mode="always")
        answers = await gather(*[partial(llm.generate, "tell a long story")] * 1000, limit=1000)
        assert llm.driver.asked == 1
        assert {answer.content if isinstance(answer, Response) else repr(answer) for answer in answers} == {LONG}
        assert sum(isinstance(answer, Response) and not answer.cached for answer in answers) == 1

    async def test_concurrent_equal_streams_make_one_call_and_each_sees_all(self, counted: Any) -> None:
        llm = await counted(cache="main", cache_mode="always")
        streams = await gather(*[partial(collected, llm, "tell a long story")] * 20, limit=20)
        assert llm.driver.asked == 1
        for events in streams:
            assert isinstance(events, list)
            assert "".join(event.text for event in events if isinstance(event, TextDelta)) == LONG
        assert llm.driver.open_streams == 0

    async def test_a_stream_replays_what_is_kept_and_is_kept_itself(self, counted: Any) -> None:
        llm = await counted(cache="main", cache_mode="always")
        await collected(llm, "tell a long story")
        events = await collected(llm, "tell a long story")
        assert llm.driver.asked == 1
        assert isinstance(events[-1], Finish)
        assert events[-1].response.cached
        assert "".join(event.text for event in events if isinstance(event, TextDelta)) == LONG
        assert (await llm.generate("tell a long story")).cached

    async def test_one_of_two_readers_may_leave_a_shared_stream(self, counted: Any) -> None:
        llm = await counted(cache="main", cache_mode="always")
        async with aclosing(llm.stream("tell a long story")) as first, aclosing(llm.stream("tell a long story")) as second:
            assert await anext(first) == await anext(second)
            await first.aclose()
            rest = [event async for event in second]
        assert rest[-1].response.content == LONG
        assert llm.driver.asked == 1
        assert (await llm.generate("tell a long story")).cached

    async def test_a_kept_structured_answer_is_parsed_again(self, counted: Any) -> None:
        llm = await counted(cache="main", cache_mode="always")
        first = await llm.generate_as(Order, "a wrong order, mended")
        assert await llm.generate_as(Order, "a wrong order, mended") == first
        assert llm.driver.asked == 2

    @pytest.mark.parametrize("option", sorted(set(SAMPLES) | set(_OTHERS)))
    async def test_each_option_changes_the_key(self, option: str) -> None:
        if option == "model":
            assert key_of(model="another") != key_of()
        else:
            assert key_of(Options(**{option: {**SAMPLES, **_OTHERS}[option]})) != key_of()

    async def test_whatever_changes_the_answer_changes_the_key_and_nothing_else_does(self) -> None:
        named = {field.name for field in fields(Options)}
        assert named == set(SAMPLES) | set(_OTHERS) | UNKEYED | {"output"}
        keys_found = {
            key_of(),
            key_of(messages=(Message.user("hello", name="ada"),)),
            key_of(messages=(Message.system("hello"),)),
            key_of(variables={"a": 1}),
            key_of(output=OutputFormat.of(Order)),
            key_of(info=DriverInfo(provider="q", model="m")),
            key_of(info=DriverInfo(provider="p", model="m", identity={"base_url": "u"})),
            key_of(Options(provider_options={"x": None})),
        }
        assert len(keys_found) == 8
        others: dict[str, Any] = {"timeout": 3.0, "cache": "refresh", "sensitive": True, "strict": True, "metadata": {"trace": "1"}}
        assert set(others) == UNKEYED
        for name, value in others.items():
            assert key_of(Options(**{name: value})) == key_of()

    async def test_the_key_is_the_same_in_other_processes_and_orders(self) -> None:
        here = keys.sample()
        assert keys.sample(flip=True) == here
        assert here.startswith("llm:m:")
        assert len(here) == len("llm:m:") + 32
        env = {**os.environ, "PYTHONHASHSEED": "12345"}
        there = subprocess.run([sys.executable, "-m", keys.__name__], capture_output=True, text=True, check=True, env=env)  # noqa: S603
        assert there.stdout == here


def key_of(
    options: Options | None = None,
    *,
    model: str = "m",
    messages: tuple[Message, ...] = (Message.user("hello"),),
    variables: dict[str, Any] | None = None,
    output: OutputFormat | None = None,
    info: DriverInfo | None = None,
) -> str:
    """The cache key of a request."""
    request = LLMRequest(model=model, messages=messages, options=options or Options(), output=output, variables=variables or {})
    return cache_key(request, info or DriverInfo(provider="p", model="m")).key
