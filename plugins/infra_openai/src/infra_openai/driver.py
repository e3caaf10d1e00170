"""The drivers: one for threads, one for tasks. Each call is exactly one HTTP request of the openai package's client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from infra.driver import Cause
from infra.errors import ErrorCode
from infra.llm.driver import SPEC_VERSION, CallContext, DriverInfo, EmbedRequest, LLMRequest
from infra.llm.errors import Failure, code_of
from infra.llm.events import StreamEvent
from infra.llm.model import Embeddings, LLMFeature, Response
from infra.plugin import OpenContext
from infra.runtime.deadline import Deadline
from infra_openai.clients import asyncio_client, blocking_client, endpoint_of, identity_of
from infra_openai.failures import failure_of, reword
from infra_openai.reading import StreamReader, embeddings_of, response_of
from infra_openai.requests import Requests
from infra_openai.sdk import SDK, load_sdk
from infra_openai.settings import ProtocolSettings
from infra_openai.sse import EventDecoder
from infra_openai.watch import Guard, Watch
from infra_openai.wire import chat_body, embed_body

_CHAT: Final = "/chat/completions"
_EMBEDDINGS: Final = "/embeddings"
_LEFTOVER: Final = 0.1  # seconds for what follows a stream's end mark, so that the connection can be used again


class OpenAIBehaviour:
    """What both drivers are.

    Args:
        sdk: The openai package.
        settings: How to talk to the server.
        context: Where it is opened.
    """

    spec_version = SPEC_VERSION

    def __init__(self, sdk: SDK, settings: ProtocolSettings, context: OpenContext) -> None:
        self._sdk = sdk
        self._endpoint = endpoint_of(settings, context)
        row = self._endpoint.row
        self._limit = settings.limit_name or row.limit_name
        self._stream_usage = settings.stream_usage
        self.features = frozenset[LLMFeature](row.features - set(settings.lacks))
        self.info = DriverInfo(
            provider=row.telemetry,
            model=row.model,
            embedding_model=row.embedding_model,
            options=row.options,
            identity=identity_of(settings, self._endpoint),
            embed_batch=settings.embed_batch,
        )

    def classify(self, error: BaseException) -> ErrorCode | None:
        """What an exception stands for."""
        failure = failure_of(error, self._sdk)
        return None if failure is None else code_of(failure)

    def failure(self, error: BaseException) -> Failure | None:
        """What is known about an exception."""
        return failure_of(error, self._sdk)

    def explain(self, error: BaseException) -> Cause | None:
        """What `reword` made of it, which names the server even where no setting does."""
        return Cause(str(error)) if isinstance(error, self._sdk.openai.APIConnectionError) else None

    def _body(self, request: LLMRequest) -> dict[str, Any]:
        return chat_body(request, self.info.options, self._limit)

    def _stream_body(self, request: LLMRequest) -> dict[str, Any]:
        body = self._body(request)
        body["stream"] = True
        if self._stream_usage:
            body.setdefault("stream_options", {"include_usage": True})
        return body

    def _options(self, key: str | None, timeout: Any) -> dict[str, Any]:
        return {"headers": self._endpoint.headers(self._sdk, key), "timeout": timeout, "follow_redirects": False}

    def _alive(self, error: Any) -> bool:
        """Whether an error still shows a server that serves: keys may be barred from listing models."""
        return isinstance(error, self._sdk.openai.PermissionDeniedError)

    def _reword(self, error: Any, key: str | None) -> None:
        reword(error, self._sdk, self._endpoint.address, key)


class OpenAIDriver(OpenAIBehaviour):
    """For threads."""

    def __init__(self, sdk: SDK, settings: ProtocolSettings, context: OpenContext) -> None:
        super().__init__(sdk, settings, context)
        self._client = blocking_client(sdk, settings, self._endpoint)
        self._requests = Requests(sdk, self._client)
        self._watch = Watch()

    def unwrap(self) -> Sequence[object]:
        """The package's client; its key rotates as ours does, its retries are off."""
        return (self._client,)

    def ping(self, timeout: float) -> None:
        """List the models, which costs nothing."""
        key = self._endpoint.reveal()
        try:
            self._client.get("/models", cast_to=self._sdk.http.Response, options=self._options(key, timeout))
        except self._sdk.openai.OpenAIError as error:
            self._reword(error, key)
            if not self._alive(error):
                raise

    def generate(self, request: LLMRequest, context: CallContext) -> Response:
        """One answer."""
        return response_of(self._whole(_CHAT, request.model, self._body(request), context), request.model)

    def embed(self, request: EmbedRequest, context: CallContext) -> Embeddings:
        """One vector for each text."""
        return embeddings_of(self._whole(_EMBEDDINGS, request.model, embed_body(request), context), request)

    def stream(self, request: LLMRequest, context: CallContext) -> Generator[StreamEvent]:
        """One answer in pieces."""
        reader, decoder, total = StreamReader(request.model), EventDecoder(), Deadline(context.timeout)
        limit = context.first_event_timeout
        with self._sent(_CHAT, request.model, self._stream_body(request), context, limit) as (response, guard):
            packets: Iterator[bytes] = response.iter_bytes()
            waiting = Deadline(total.remaining(limit))
            while not reader.done:
                packet = self._next(packets, guard, waiting.remaining())
                events = [event for data in (decoder.flush() if packet is None else decoder.feed(packet)) for event in reader.feed(data)]
                yield from events
                if packet is None:
                    break
                if events:
                    waiting = Deadline(total.remaining(context.idle_timeout))
            else:
                self._drain(packets, guard)
        yield from reader.end()

    def close(self, timeout: float) -> None:  # noqa: ARG002
        """Close the connections."""
        self._client.close()
        self._watch.close()

    def _whole(self, operation: str, model: str, body: dict[str, Any], context: CallContext) -> bytes:
        """The body of an answer."""
        total = Deadline(context.timeout)
        with self._sent(operation, model, body, context, None) as (response, guard):
            guard.within(total.remaining())
            try:
                return response.read()
            except self._sdk.http.HTTPError:
                if guard.passed:
                    raise TimeoutError from None
                raise
            finally:
                guard.rest()

    @contextmanager
    def _sent(
        self, operation: str, model: str, body: dict[str, Any], context: CallContext, first: float | None
    ) -> Generator[tuple[Any, Guard]]:
        """A response whose headers have come; its connection is freed at the end. The guard limits what the body takes."""
        limits = [limit for limit in (context.timeout, first) if limit is not None]
        read = min(limits, default=None)
        reach = [limit for limit in (*limits, context.connect_timeout) if limit is not None]
        key = context.api_key or self._endpoint.reveal()
        connect = min(reach, default=None)
        request = self._requests.make(
            self._endpoint.path(operation, model),
            self._endpoint.headers(self._sdk, key),
            body,
            {"connect": connect, "read": read, "write": read, "pool": read},
        )
        try:
            response = self._send(request)
        except self._sdk.openai.OpenAIError as error:
            self._reword(error, key)
            raise
        guard = self._watch.guard(response)
        try:
            if guard.able:
                request.extensions["timeout"]["read"] = None  # from here on the guard keeps the time
            yield response, guard
        finally:
            self._watch.release(guard)
            response.close()

    def _send(self, request: Any) -> Any:
        """The open response to a request that was not refused."""
        try:
            response = self._client._client.send(request, stream=True, follow_redirects=False)
        except Exception as error:
            raise self._requests.unreached(request, error) from error
        if not response.is_success:
            try:
                response.read()
            finally:
                response.close()
            raise self._requests.refused(response)
        return response

    def _next(self, packets: Iterator[bytes], guard: Guard, seconds: float | None) -> bytes | None:
        """The next packet; None at the end of the connection."""
        guard.within(seconds)
        try:
            packet = next(packets, None)
        except self._sdk.http.HTTPError:
            if guard.passed:
                raise TimeoutError from None
            raise
        finally:
            guard.rest()
        if packet is None and guard.passed:
            raise TimeoutError
        return packet

    def _drain(self, packets: Iterator[bytes], guard: Guard) -> None:
        try:
            while self._next(packets, guard, _LEFTOVER) is not None:
                pass
        except (TimeoutError, self._sdk.http.HTTPError):
            pass  # the answer is complete; only the connection is lost


class AsyncOpenAIDriver(OpenAIBehaviour):
    """For the tasks of the event loop that opened it. Time limits other than the connection's are its caller's."""

    def __init__(self, sdk: SDK, settings: ProtocolSettings, context: OpenContext) -> None:
        super().__init__(sdk, settings, context)
        self._client = asyncio_client(sdk, settings, self._endpoint)
        self._requests = Requests(sdk, self._client)

    def unwrap(self) -> Sequence[object]:
        """The package's client; its key rotates as ours does, its retries are off."""
        return (self._client,)

    async def ping(self, timeout: float) -> None:
        """List the models, which costs nothing."""
        key = self._endpoint.reveal()
        try:
            await self._client.get("/models", cast_to=self._sdk.http.Response, options=self._options(key, timeout))
        except self._sdk.openai.OpenAIError as error:
            self._reword(error, key)
            if not self._alive(error):
                raise

    async def generate(self, request: LLMRequest, context: CallContext) -> Response:
        """One answer."""
        response = await self._sent(_CHAT, request.model, self._body(request), context, stream=False)
        return response_of(response.content, request.model)

    async def embed(self, request: EmbedRequest, context: CallContext) -> Embeddings:
        """One vector for each text."""
        response = await self._sent(_EMBEDDINGS, request.model, embed_body(request), context, stream=False)
        return embeddings_of(response.content, request)

    async def stream(self, request: LLMRequest, context: CallContext) -> AsyncGenerator[StreamEvent]:
        """One answer in pieces."""
        reader, decoder = StreamReader(request.model), EventDecoder()
        response = await self._sent(_CHAT, request.model, self._stream_body(request), context, stream=True)
        packets: AsyncGenerator[bytes] = response.aiter_bytes()
        try:
            while not reader.done:
                packet = await anext(packets, None)
                for data in decoder.flush() if packet is None else decoder.feed(packet):
                    for event in reader.feed(data):
                        yield event
                if packet is None:
                    break
            else:
                await self._drain(packets)
        finally:
            await packets.aclose()
            await response.aclose()
        for event in reader.end():
            yield event

    async def close(self, timeout: float) -> None:
        """Close the connections."""
        async with asyncio.timeout(timeout):
            await self._client.close()

    async def _sent(self, operation: str, model: str, body: dict[str, Any], context: CallContext, *, stream: bool) -> Any:
        key = context.api_key or self._endpoint.reveal()
        request = self._requests.make(
            self._endpoint.path(operation, model),
            self._endpoint.headers(self._sdk, key),
            body,
            {"connect": context.connect_timeout, "read": None, "write": None, "pool": None},
        )
        try:
            return await self._send(request, stream)
        except self._sdk.openai.OpenAIError as error:
            self._reword(error, key)
            raise

    async def _send(self, request: Any, stream: bool) -> Any:
        """The response to a request that was not refused: whole, or open."""
        try:
            response = await self._client._client.send(request, stream=stream, follow_redirects=False)
        except Exception as error:
            raise self._requests.unreached(request, error) from error
        if not response.is_success:
            try:
                await response.aread()
            finally:
                await response.aclose()
            raise self._requests.refused(response)
        return response

    async def _drain(self, packets: AsyncGenerator[bytes]) -> None:
        try:
            async with asyncio.timeout(_LEFTOVER):
                async for _ in packets:
                    pass
        except (TimeoutError, self._sdk.http.HTTPError):
            pass  # the answer is complete; only the connection is lost


def open_driver(settings: ProtocolSettings, context: OpenContext) -> OpenAIDriver:
    """The blocking driver."""
    return OpenAIDriver(load_sdk(), settings, context)


async def open_driver_async(settings: ProtocolSettings, context: OpenContext) -> AsyncOpenAIDriver:
    """The asyncio driver."""
    return AsyncOpenAIDriver(load_sdk(), settings, context)
