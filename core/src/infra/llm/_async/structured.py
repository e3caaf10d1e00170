"""The link that makes an answer fit the form that was asked for."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from infra.llm._async.step import AsyncStep, Call
from infra.llm.driver import LLMRequest
from infra.llm.errors import ContentFilteredError, InvalidResponseError
from infra.llm.events import Finish, StreamEvent
from infra.llm.model import FinishReason, Message, Response, Text, Tool, ToolCall
from infra.llm.output import OutputFormat, OutputMismatchError, OutputMode


class AsyncStructured:
    """Asks by the means that the provider has, reads the answer, and has it corrected once.

    Args:
        inner: The next link.
    """

    def __init__(self, inner: AsyncStep) -> None:
        self._inner = inner

    async def generate(self, call: Call) -> Response:
        """One answer, with `parsed`; usage and attempts are those of both askings."""
        output = call.request.output
        if output is None:
            return await self._inner.generate(call)
        asked = prepared(call.request, output)
        response = await self._inner.generate(replace(call, request=asked))
        try:
            return read(response, output)
        except OutputMismatchError as problem:
            again = replace(asked, messages=(*asked.messages, *correction(response, problem)))
            repaired = await self._inner.generate(replace(call, request=again))
            total = replace(
                repaired,
                usage_stats=response.usage_stats + repaired.usage_stats,
                cost=None if response.cost is None or repaired.cost is None else response.cost + repaired.cost,
                attempts=response.attempts + repaired.attempts,
                warnings=tuple(dict.fromkeys((*response.warnings, *repaired.warnings))),
            )
            try:
                return read(total, output)
            except OutputMismatchError as still:
                raise InvalidResponseError(
                    f"the answer does not fit {output.name}, and neither does its correction: {still}",
                    attempts=total.attempts,
                    operation="generate",
                    remedy="simplify the schema, or say in the prompt what each field means",
                ) from None

    def stream(self, call: Call) -> AsyncGenerator[StreamEvent]:
        """One answer in pieces, with `parsed` in its end. It is not corrected: its reader has seen it."""
        output = call.request.output
        return self._inner.stream(call) if output is None else self._parsed(call, output)

    async def _parsed(self, call: Call, output: OutputFormat) -> AsyncGenerator[StreamEvent]:
        asked = replace(call, request=prepared(call.request, output))
        async with aclosing(self._inner.stream(asked)) as events:
            async for event in events:
                if isinstance(event, Finish):
                    try:
                        event = Finish(read(event.response, output))
                    except OutputMismatchError as problem:
                        raise InvalidResponseError(f"the answer does not fit {output.name}: {problem}", operation="stream") from None
                yield event


def prepared(request: LLMRequest, output: OutputFormat) -> LLMRequest:
    """The request that asks for `output` by its means."""
    if output.mode is OutputMode.SCHEMA:
        return request
    if output.mode is OutputMode.JSON:
        schema = json.dumps(output.schema, ensure_ascii=False)
        words = f"Answer with one JSON object and nothing else. It must fit this JSON schema:\n{schema}"
        return replace(request, messages=(Message.system(words), *request.messages))
    tool = Tool(name=output.name, description="Give the answer in this form.", parameters=output.schema)
    options = replace(request.options, tools=(*(request.options.tools or ()), tool), tool_choice=output.name)
    return replace(request, options=options)


def read(response: Response, output: OutputFormat) -> Response:
    """The response with what its content stands for.

    Raises:
        InvalidResponseError: It was cut off.
        ContentFilteredError: It was refused.
        OutputMismatchError: It does not fit.
    """
    if response.finish is FinishReason.LENGTH:
        raise InvalidResponseError(
            f"the answer was cut off before {output.name} was complete", attempts=response.attempts, remedy="raise max_output_tokens"
        )
    if response.finish is FinishReason.CONTENT_FILTER:
        raise ContentFilteredError("the provider refused to answer", attempts=response.attempts)
    if output.mode is OutputMode.TOOL:
        for call in response.tool_calls:
            if call.name == output.name:
                parts = (*(part for part in response.parts if not isinstance(part, ToolCall | Text)), Text(call.arguments))
                parsed = output.parse(call.arguments or "{}")
                return replace(response, content=call.arguments, parts=parts, parsed=parsed, finish=FinishReason.STOP)
    elif response.finish is FinishReason.TOOL_CALLS:
        return response  # it asks for one of the host's tools first
    return replace(response, parsed=output.parse(response.content))


def correction(response: Response, problem: OutputMismatchError) -> tuple[Message, ...]:
    """The turns that ask for a corrected answer. Tool calls are repeated as text: not every provider takes one without its result."""
    words = response.content or "".join(call.arguments for call in response.tool_calls)
    request = Message.user(f"That does not fit the schema: {problem}. Answer again with the whole corrected JSON object and nothing else.")
    return (Message.assistant(words), request) if words else (request,)
