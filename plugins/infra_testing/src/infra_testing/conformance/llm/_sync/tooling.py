# Generated from tooling.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""Tools and structured output."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from infra.errors import UnsupportedError
from infra.llm import (
    ContentFilteredError,
    Finish,
    FinishReason,
    InvalidResponseError,
    LLMFeature,
    Message,
    Options,
    Prompt,
    Tool,
    ToolCallDelta,
    ToolCallEnd,
    ToolCallStart,
    ToolResult,
)
from infra_testing.conformance.llm._sync.answers import collected
from infra_testing.conformance.llm._sync.opening import LLMCases
from infra_testing.conformance.llm.script import UNICODE


class Customer(BaseModel):
    """Who buys."""

    name: str
    city: str | None = None


class Order(BaseModel):
    """What is bought."""

    id: int = Field(ge=1)
    customer: Customer
    items: list[str]
    state: Literal["open", "paid"] = "open"


WEATHER = Tool(
    name="weather",
    description="The weather of a city.",
    parameters={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
CLOCK = Tool(name="clock", description="The time.")


def weather(city: str) -> str:
    """The weather of a city."""
    return f"sunny {city}"


def clock() -> dict[str, int]:
    """The time."""
    return {"hour": 12}


def broken() -> str:
    """Fails."""
    raise RuntimeError("out of order")


class ToolCases(LLMCases):
    """Cases 26 to 34."""

    @pytest.fixture
    def tooled(self, opened: Any) -> Any:
        """Opens a resource; with tools declared missing, checks that they are refused, and gives None."""

        def open_one() -> Any:
            llm = opened()
            if llm.supports(LLMFeature.TOOLS):
                return llm
            with pytest.raises(UnsupportedError):
                llm.generate("weather in Paris", Options(tools=[WEATHER]))
            return None

        return open_one

    def test_a_tool_is_asked_for_with_its_arguments(self, tooled: Any) -> None:
        if llm := tooled():
            response = llm.generate("weather in Paris", Options(tools=[WEATHER]))
            assert response.finish is FinishReason.TOOL_CALLS
            (call,) = response.tool_calls
            assert (call.name, call.decoded()) == ("weather", {"city": "Paris"})
            assert call.id

    def test_a_tool_without_arguments_decodes_to_none(self, tooled: Any) -> None:
        if llm := tooled():
            (call,) = (llm.generate("what is the time", Options(tools=[CLOCK]))).tool_calls
            assert call.decoded() == {}

    def test_several_tools_are_asked_for_at_once(self, tooled: Any) -> None:
        if llm := tooled():
            calls = (llm.generate("weather in two cities", Options(tools=[WEATHER]))).tool_calls
            assert [call.decoded()["city"] for call in calls] == ["Rome", "Oslo"]
            assert len({call.id for call in calls}) == 2

    def test_a_streamed_call_joins_to_the_whole(self, tooled: Any) -> None:
        if llm := tooled():
            events = collected(llm, "weather in two cities", Options(tools=[WEATHER]))
            starts = [event for event in events if isinstance(event, ToolCallStart)]
            ends = [event for event in events if isinstance(event, ToolCallEnd)]
            assert [start.name for start in starts] == ["weather", "weather"]
            for end in ends:
                pieces = [event.arguments for event in events if isinstance(event, ToolCallDelta) and event.index == end.index]
                assert json.loads("".join(pieces)) == end.call.decoded()
            assert isinstance(events[-1], Finish)
            assert [end.call for end in ends] == list(events[-1].response.tool_calls)

    def test_unicode_arguments_arrive_unharmed(self, tooled: Any) -> None:
        if llm := tooled():
            (call,) = (llm.generate("weather in unicode", Options(tools=[WEATHER]))).tool_calls
            assert call.decoded() == {"city": UNICODE}

    def test_a_result_leads_to_an_answer(self, tooled: Any) -> None:
        if llm := tooled():
            first = llm.generate("weather in Paris", Options(tools=[WEATHER]))
            result = Message.tool(ToolResult(first.tool_calls[0].id, "rainy", "weather"))
            response = llm.generate([Message.user("weather in Paris"), first.message, result], Options(tools=[WEATHER]))
            assert response.content == "It is rainy in Paris."

    def test_run_tools_calls_what_is_asked_for_and_sums_usage(self, tooled: Any) -> None:
        if llm := tooled():
            response = llm.run_tools("weather in two cities", tools=[weather, clock])
            assert response.content == "sunny Rome\nsunny Oslo"
            assert response.attempts == 2
            assert (llm.run_tools("what is the time", tools=[clock])).content == 'It is {"hour": 12}.'

    def test_a_failing_tool_is_told_to_the_model(self, tooled: Any) -> None:
        if llm := tooled():
            response = llm.run_tools("use the broken tool", tools=[broken])
            assert response.content == "It failed: RuntimeError: out of order"

    def test_tools_end_after_max_steps(self, tooled: Any) -> None:
        if llm := tooled():
            with pytest.raises(InvalidResponseError, match="after 1 steps"):
                llm.run_tools("weather in Paris", tools=[weather], max_steps=1)

    def test_tool_choice_is_obeyed(self, tooled: Any) -> None:
        if llm := tooled():
            none = llm.generate("weather in Paris", Options(tools=[WEATHER], tool_choice="none"))
            assert not none.tool_calls
            for choice in ("clock", "required"):
                forced = llm.generate("say something", Options(tools=[CLOCK, WEATHER], tool_choice=choice))
                assert [call.name for call in forced.tool_calls] == ["clock"]

    def test_structured_output_is_nested_and_optional(self, opened: Any) -> None:
        llm = opened()
        order = llm.generate_as(Order, "an order for Ada")
        assert order == Order(id=7, customer=Customer(name="Ada"), items=["pen", "ink"])
        response = llm.generate("an order for Ada", Options(output=Order))
        assert response.parsed == order
        assert json.loads(response.content)["id"] == 7
        plain = llm.generate("an order for Ada", Options(output=Order.model_json_schema()))
        assert plain.parsed["customer"]["name"] == "Ada"

    def test_a_stream_parses_at_its_end(self, opened: Any) -> None:
        events = collected(opened(), "an order for Ada", Options(output=Order))
        assert events[-1].response.parsed == Order(id=7, customer=Customer(name="Ada"), items=["pen", "ink"])

    def test_a_prompt_with_an_output_is_parsed(self, opened: Any) -> None:
        prompt = Prompt("order", template="an order for {{ who }}", output=Order)
        response = (opened()).execute_prompt(prompt, {"who": "Ada"})
        assert response.parsed.customer.name == "Ada"

    def test_an_answer_that_does_not_fit_is_corrected_once_and_all_usage_counted(self, counted: Any) -> None:
        llm = counted()
        response = llm.generate("a wrong order, mended", Options(output=Order))
        assert response.parsed == Order(id=8, customer=Customer(name="Bob"), items=[])
        assert response.attempts == llm.driver.asked == 2
        alone = llm.generate("a wrong order, mended")
        assert alone.usage_stats.output is None or response.usage_stats.output > alone.usage_stats.output

    def test_an_answer_that_never_fits_is_an_error(self, counted: Any) -> None:
        llm = counted()
        with pytest.raises(InvalidResponseError, match="Order") as caught:
            llm.generate_as(Order, "say hello. It does say hello")
        assert llm.driver.asked == 2
        assert caught.value.attempts == 2

    def test_a_cut_or_refused_answer_is_never_half_read(self, opened: Any) -> None:
        llm = opened()
        with pytest.raises(InvalidResponseError, match="cut off"):
            llm.generate_as(Order, "an order for Ada", Options(max_output_tokens=2))
        with pytest.raises(ContentFilteredError):
            llm.generate_as(Order, "please be refused")
