"""Messages, usage, events, tools, structured output, errors and retries, without a provider."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from infra.errors import ErrorCode, InfraError
from infra.llm import (
    Assembler,
    ContextTooLongError,
    Failure,
    File,
    Finish,
    Image,
    InvalidRequestError,
    InvalidResponseError,
    LLMError,
    LLMSettings,
    LLMTimeoutError,
    Message,
    OutputFormat,
    QuotaExhaustedError,
    RateLimitedError,
    Reasoning,
    Response,
    Text,
    TextDelta,
    ToolCall,
    ToolResult,
    UnavailableError,
    Usage,
    message_from_json,
    message_to_json,
    tool,
)
from infra.llm.errors import error_type
from infra.llm.events import pieces, replayed
from infra.llm.model import messages_of
from infra.llm.output import OutputMismatchError
from infra.llm.retry import RetryBudget, RetryPolicy


class Answer(BaseModel):
    number: int = Field(ge=1)
    words: list[str]


def test_what_is_not_known_is_none_and_a_sum_without_a_part_is_estimated() -> None:
    assert (Usage().prompt_tokens, Usage().completion_tokens, Usage().total_tokens) == (None, None, None)
    assert Usage(input=1, output=2) + Usage(input=3, output=4, cached_input=1) == Usage(input=4, output=6, cached_input=1)
    assert (Usage() + Usage(input=1, output=2)).estimated
    assert Usage() + Usage() == Usage()


def test_conversations_are_text_messages_or_lists_and_nothing_else() -> None:
    assert messages_of("hi") == messages_of(Message.user("hi")) == messages_of([Message.user("hi")])
    for wrong in ([], ["hi"], [{"role": "user"}]):
        with pytest.raises(InvalidRequestError, match="Message.user"):
            messages_of(wrong)  # type: ignore[arg-type]


def test_every_kind_of_part_survives_json() -> None:
    parts = [
        Text("é\u2028"),
        Image(b"\x00\xff"),
        Image(url="https://example.invalid/a.png"),
        File(b"%PDF", name="a.pdf"),
        ToolCall("1", "t", '{"a":1}'),
        ToolResult("1", "x", "t", is_error=True),
        Reasoning("hm", "sig"),
    ]
    message = Message("user", parts, "ada")
    assert message_from_json(message_to_json(message)) == message
    with pytest.raises(ValueError, match="not a kind of part"):
        message_from_json({"role": "user", "parts": [{"type": "video"}]})


@given(st.text(max_size=300), st.integers(1, 40))
def test_pieces_join_to_the_text_and_are_never_empty(text: str, size: int) -> None:
    cut = list(pieces(text, size))
    assert "".join(cut) == text
    assert all(cut)


def test_events_assemble_to_the_response_they_came_from() -> None:
    response = Response(
        content="one two",
        parts=(Reasoning("hm"), Text("one two"), ToolCall("a", "t", '{"x":1}'), ToolCall("b", "u")),
        usage_stats=Usage(input=1),
    )
    assembler = Assembler()
    events = list(replayed(response))
    for event in events:
        assembler.add(event)
    assert assembler.response() == response
    assert isinstance(events[-1], Finish)
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "one two"


@pytest.mark.parametrize("arguments", ["[1]", "{", "3"])
def test_arguments_that_are_no_object_are_an_invalid_response(arguments: str) -> None:
    with pytest.raises(InvalidResponseError, match="tool call t"):
        ToolCall("1", "t", arguments).decoded()


def test_a_function_becomes_a_tool() -> None:
    def find(query: Annotated[str, Field(description="What to look for.")], limit: int = 3) -> str:
        """Find things."""
        return f"{query}{limit}"

    made = tool(find)
    assert (made.name, made.description, made.function) == ("find", "Find things.", find)
    assert made.parameters["required"] == ["query"]
    assert made.parameters["properties"]["query"]["description"] == "What to look for."

    def variable(*names: str) -> None: ...

    with pytest.raises(InvalidRequestError, match="names cannot be given by name"):
        tool(variable)


def test_structured_answers_are_read_strictly_but_fences_are_forgiven() -> None:
    output = OutputFormat.of(Answer)
    assert output.parse('```json\n{"number": 1, "words": []}\n```') == Answer(number=1, words=[])
    with pytest.raises(OutputMismatchError, match=r"number: .*; words: Field required"):
        output.parse('{"number": 0}')
    plain = OutputFormat.of({"title": "T", "type": "object", "required": ["a"]})
    assert plain.parse('{"a": 1}') == {"a": 1}
    for wrong in ("{}", "[]", "no"):
        with pytest.raises(OutputMismatchError):
            plain.parse(wrong)
    with pytest.raises(InvalidRequestError, match="the class, not an instance"):
        OutputFormat.of(Answer(number=1, words=[]))


def test_a_mismatch_does_not_repeat_what_the_model_wrote() -> None:
    with pytest.raises(OutputMismatchError) as caught:
        OutputFormat.of(Answer).parse('{"number": "canary", "words": []}')
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (Failure(status=400), InvalidRequestError),
        (Failure(status=400, code="context_length_exceeded"), ContextTooLongError),
        (Failure(status=418), InvalidRequestError),
        (Failure(status=429), RateLimitedError),
        (Failure(status=429, type="insufficient_quota"), QuotaExhaustedError),
        (Failure(status=529), UnavailableError),
        (Failure(timeout=True), LLMTimeoutError),
        (Failure(connection=True), UnavailableError),
        (Failure(malformed=True), InvalidResponseError),
        (Failure(), LLMError),
    ],
)
def test_errors_follow_status_then_code_then_type(failure: Failure, kind: type[LLMError]) -> None:
    assert error_type(failure) is kind


def test_retries_have_jitter_obey_the_server_and_end_with_the_deadline() -> None:
    policy = RetryPolicy(retries=2, delay=1.0, delay_max=1.5, budget=RetryBudget(saved=10_000))
    down = UnavailableError("down")
    waits = [policy.wait(down, 2, None) for _ in range(30)]
    assert all(wait is not None and 0 <= wait <= 1.5 for wait in waits)
    assert len(set(waits)) > 1
    assert policy.wait(down, 3, None) is None
    assert policy.wait(QuotaExhaustedError("no credit"), 1, None) is None
    assert policy.wait(RateLimitedError("slow", retry_after=7.0), 1, None) == 7.0
    late = RateLimitedError("slow", retry_after=7.0)
    assert policy.wait(late, 1, 5.0) is None
    assert "7 s" in str(late)
    assert policy.wait(InfraError("x", code=ErrorCode.INTERNAL), 1, None) is None


def test_a_spent_budget_slows_retries_until_calls_succeed_and_named_waits_cost_it_nothing() -> None:
    policy = RetryPolicy(retries=5, delay=0.001, delay_max=8.0)
    assert [policy.wait(RateLimitedError("slow", retry_after=0.2), 1, None) for _ in range(50)] == [0.2] * 50
    down = UnavailableError("down")
    waits = [policy.wait(down, 1, None) or 0.0 for _ in range(50)]
    assert all(wait <= 0.001 for wait in waits[:10])
    assert all(4.0 <= wait <= 8.0 for wait in waits[10:])
    assert policy.wait(down, 1, 2.0) == 0.5  # never beyond the deadline
    for _ in range(10):
        policy.budget.succeeded()
    assert (policy.wait(down, 1, None) or 0.0) <= 0.001


def test_the_cache_resource_opens_first() -> None:
    assert LLMSettings(cache="answers", depends_on=["queue.a"]).dependencies() == ["queue.a", "cache.answers"]
    assert LLMSettings().dependencies() == []


def test_options_are_not_shared_by_accident() -> None:
    from infra.llm import Options

    defaults = Options(temperature=0.5, namespace="a")
    assert Options(temperature=0.0).over(defaults) == Options(temperature=0.0, namespace="a")
    assert Options().over(defaults) is defaults
    assert Options(seed=1).over(None) == Options(seed=1)


def test_bytes_do_not_show_in_a_repr() -> None:
    values: list[Any] = [Image(b"canary"), File(b"canary")]
    assert "canary" not in repr(values)
