"""The drivers: one for threads, one for tasks. Each call is exactly one HTTP request of the openai package's client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from infra.driver import Cause
from infra.errors import ErrorCode
from infra.llm.driver import SPEC_VERSION, CallContext, DriverInfo, EmbedRequest, LLMRequest
from infra.llm.errors import Failure, code_of
from infra.llm.events import CONTENT, StreamEvent
from infra.llm.model import Embeddings, LLMFeature, Response
from infra.plugin import OpenContext
from infra.runtime.deadline import Deadline
from infra_openai.adapting import Adapting
from infra_openai.clients import asyncio_client, blocking_client, endpoint_of, identity_of
from infra_openai.failures import AnswerError, failure_of, reword
from infra_openai.reading import embeddings_of, response_of
from infra_openai.requests import Requests
from infra_openai.sdk import SDK, load_sdk
from infra_openai.settings import ProtocolSettings
from infra_openai.sse import EventDecoder
from infra_openai.streaming import StreamReader
from infra_openai.watch import Guard, Watch
from infra_openai.wire import chat_body, embed_body

T = TypeVar("T")
_CHAT: Final = "/chat/completions"
_EMBEDDINGS: Final = "/embeddings"
_NO_LIST: Final = frozenset({400, 403, 404, 405, 410, 501})  # answers of a server that serves, but no list of models
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
        encoding = None if settings.embed_encoding == "auto" else settings.embed_encoding
        self._adapting = Adapting(settings.limit_name or row.limit_name, settings.stream_usage, encoding)
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
        return chat_body(request, self.info.options, self._adapting.limit)

    def _stream_body(self, request: LLMRequest) -> dict[str, Any]:
        body = self._body(request)
        body["stream"] = True
        if self._adapting.stream_usage:
            body.setdefault("stream_options", {"include_usage": True})
        return body

    def _embed_body(self, request: EmbedRequest) -> dict[str, Any]:
        return embed_body(request, self._adapting.encoding)

    def _reader(self, request: LLMRequest) -> StreamReader:
        return StreamReader(request.model, frozenset(tool.name for tool in request.options.tools or ()))

    def _events(self, reader: StreamReader, decoder: EventDecoder, packet: bytes | None, key: str | None) -> Iterator[StreamEvent]:
        """The events of a packet, or of the end of the connection."""
        try:
            for data in decoder.flush() if packet is None else decoder.feed(packet):
                yield from reader.feed(data)
                if reader.done:
                    return  # what follows is none of the answer
            if packet is None and decoder.whole is not None:
                yield from reader.body(bytes(decoder.whole))
        except AnswerError as error:
            error.mask(key)
            raise

    def _options(self, key: str | None, timeout: Any) -> dict[str, Any]:
        return {"headers": self._endpoint.headers(self._sdk, key), "timeout": timeout, "follow_redirects": False}

    def _alive(self, error: Any) -> bool:
        """Whether an error still shows a server that serves: compatible ones may have no list of models, and keys may be barred from it."""
        return isinstance(error, self._sdk.openai.APIStatusError) and error.status_code in _NO_LIST

    def _refuses_list_only(self, error: Any) -> bool:
        """Whether the server's answer to a request without contents shows that it takes the key, and only keeps the list of models."""
        return isinstance(error, self._sdk.openai.APIStatusError) and error.status_code in (400, 422)

    def _reword(self, error: Any, key: str | None) -> None:
        reword(error, self._sdk, self._endpoint.address, key)

    def _again(self, error: Any, body: dict[str, Any]) -> tuple[dict[str, Any], str] | None:
        """The request in other words, for a server that does not take one of its fields."""
        if not isinstance(error, self._sdk.openai.APIStatusError):
            return None
        return self._adapting.again(body, error.status_code, error.response.content.decode("utf-8", "replace"))


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
            if not self._alive(error) and not (isinstance(error, self._sdk.openai.AuthenticationError) and self._takes_key(key, timeout)):
                raise

    def _takes_key(self, key: str | None, timeout: float) -> bool:
        """Whether a request without contents, which is never carried out, is refused for that and not for its key."""
        path = self._endpoint.path(_CHAT, "none")
        try:
            self._client.post(path, cast_to=self._sdk.http.Response, body={}, options=self._options(key, timeout))
        except self._sdk.openai.OpenAIError as error:
            return self._refuses_list_only(error)
        return True

    def generate(self, request: LLMRequest, context: CallContext) -> Response:
        """One answer."""
        return self._whole(_CHAT, request.model, self._body(request), context, lambda data: response_of(data, request.model))

    def embed(self, request: EmbedRequest, context: CallContext) -> Embeddings:
        """One vector for each text."""
        return self._whole(_EMBEDDINGS, request.model, self._embed_body(request), context, lambda data: embeddings_of(data, request))

    def stream(self, request: LLMRequest, context: CallContext) -> Generator[StreamEvent]:
        """One answer in pieces."""
        reader, decoder, total = self._reader(request), EventDecoder(), Deadline(context.timeout)
        limit = context.first_event_timeout
        with self._sent(_CHAT, request.model, self._stream_body(request), context, limit) as (response, guard, key):
            packets: Iterator[bytes] = response.iter_bytes()
            waiting = Deadline(total.remaining(limit))  # the first content may take so long, however lively its beginning
            begun = False
            while not reader.done:
                packet = self._next(packets, guard, waiting.remaining(), reader)
                anything = False
                for event in self._events(reader, decoder, packet, key):
                    anything = True
                    begun = begun or isinstance(event, CONTENT)
                    yield event
                if packet is None:
                    break
                if begun and anything:
                    waiting = Deadline(total.remaining(context.idle_timeout))
            else:
                self._drain(packets, guard)
        yield from reader.end()

    def close(self, timeout: float) -> None:  # noqa: ARG002
        """Close the connections."""
        self._client.close()
        self._watch.close()

    def _whole(self, operation: str, model: str, body: dict[str, Any], context: CallContext, read: Callable[[bytes], T]) -> T:
        """What `read` makes of the body of an answer."""
        total = Deadline(context.timeout)
        with self._sent(operation, model, body, context, None) as (response, guard, key):
            guard.within(total.remaining())
            try:
                data = response.read()
            except self._sdk.http.HTTPError:
                if guard.passed:
                    raise TimeoutError from None
                raise
            finally:
                guard.rest()
        try:
            return read(data)
        except AnswerError as error:
            error.mask(key)
            raise

    @contextmanager
    def _sent(
        self, operation: str, model: str, body: dict[str, Any], context: CallContext, first: float | None
    ) -> Generator[tuple[Any, Guard, str | None]]:
        """A response whose headers have come, and the key; its connection is freed at the end. The guard limits what the body takes."""
        limits = [limit for limit in (context.timeout, first) if limit is not None]
        read = min(limits, default=None)
        reach = [limit for limit in (*limits, context.connect_timeout) if limit is not None]
        key = context.api_key or self._endpoint.reveal()
        connect = min(reach, default=None)
        path, headers = self._endpoint.path(operation, model), self._endpoint.headers(self._sdk, key)
        refused: list[str] = []
        while True:
            request = self._requests.make(path, headers, body, {"connect": connect, "read": read, "write": read, "pool": read})
            try:
                response = self._send(request)
                break
            except self._sdk.openai.OpenAIError as error:
                if (changed := self._again(error, body)) is None or changed[1] in refused or len(refused) > 2:
                    self._reword(error, key)
                    raise
                body = changed[0]
                refused.append(changed[1])
        if refused:
            self._adapting.learn(refused)
        guard = self._watch.guard(response)
        try:
            if guard.able:
                request.extensions["timeout"]["read"] = None  # from here on the guard keeps the time
            yield response, guard, key
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
            except self._sdk.http.HTTPError:
                response._content = b""  # its status says enough
            finally:
                response.close()
            raise self._requests.refused(response)
        return response

    def _next(self, packets: Iterator[bytes], guard: Guard, seconds: float | None, reader: StreamReader | None = None) -> bytes | None:
        """The next packet; None at the end of the connection, also one that breaks off after the answer has ended."""
        guard.within(seconds)
        try:
            packet = next(packets, None)
        except self._sdk.http.HTTPError:
            if reader is not None and reader.finished:
                return None
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
            if not self._alive(error) and not (
                isinstance(error, self._sdk.openai.AuthenticationError) and await self._takes_key(key, timeout)
            ):
                raise

    async def _takes_key(self, key: str | None, timeout: float) -> bool:
        """Whether a request without contents, which is never carried out, is refused for that and not for its key."""
        path = self._endpoint.path(_CHAT, "none")
        try:
            await self._client.post(path, cast_to=self._sdk.http.Response, body={}, options=self._options(key, timeout))
        except self._sdk.openai.OpenAIError as error:
            return self._refuses_list_only(error)
        return True

    async def generate(self, request: LLMRequest, context: CallContext) -> Response:
        """One answer."""
        return await self._whole(_CHAT, request.model, self._body(request), context, lambda data: response_of(data, request.model))

    async def embed(self, request: EmbedRequest, context: CallContext) -> Embeddings:
        """One vector for each text."""
        body = self._embed_body(request)
        return await self._whole(_EMBEDDINGS, request.model, body, context, lambda data: embeddings_of(data, request))

    async def stream(self, request: LLMRequest, context: CallContext) -> AsyncGenerator[StreamEvent]:
        """One answer in pieces."""
        reader, decoder = self._reader(request), EventDecoder()
        response, key = await self._sent(_CHAT, request.model, self._stream_body(request), context, stream=True)
        packets: AsyncGenerator[bytes] = response.aiter_bytes()
        try:
            while not reader.done:
                try:
                    packet = await anext(packets, None)
                except self._sdk.http.HTTPError:
                    if not reader.finished:
                        raise
                    packet = None  # it breaks off after the answer has ended
                for event in self._events(reader, decoder, packet, key):
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

    async def _whole(self, operation: str, model: str, body: dict[str, Any], context: CallContext, read: Callable[[bytes], T]) -> T:
        """What `read` makes of the body of an answer."""
        response, key = await self._sent(operation, model, body, context, stream=False)
        try:
            return read(response.content)
        except AnswerError as error:
            error.mask(key)
            raise

    async def _sent(
        self, operation: str, model: str, body: dict[str, Any], context: CallContext, *, stream: bool
    ) -> tuple[Any, str | None]:
        """The response, whole or open, and the key."""
        key = context.api_key or self._endpoint.reveal()
        path, headers = self._endpoint.path(operation, model), self._endpoint.headers(self._sdk, key)
        refused: list[str] = []
        while True:
            request = self._requests.make(
                path, headers, body, {"connect": context.connect_timeout, "read": None, "write": None, "pool": None}
            )
            try:
                response = await self._send(request, stream)
                break
            except self._sdk.openai.OpenAIError as error:
                if (changed := self._again(error, body)) is None or changed[1] in refused or len(refused) > 2:
                    self._reword(error, key)
                    raise
                body = changed[0]
                refused.append(changed[1])
        if refused:
            self._adapting.learn(refused)
        return response, key

    async def _send(self, request: Any, stream: bool) -> Any:
        """The response to a request that was not refused: whole, or open."""
        try:
            response = await self._client._client.send(request, stream=stream, follow_redirects=False)
        except Exception as error:
            raise self._requests.unreached(request, error) from error
        if not response.is_success:
            try:
                await response.aread()
            except self._sdk.http.HTTPError:
                response._content = b""  # its status says enough
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
