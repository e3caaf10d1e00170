"""The portable LLM."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from pydantic import BaseModel

from infra.errors import ConfigurationError, ErrorCode, InfraError, UnsupportedError
from infra.llm._async.caching import AsyncCaching
from infra.llm._async.driving import AsyncDriving
from infra.llm._async.limiting import AsyncLimiting, AsyncSlots
from infra.llm._async.retrying import AsyncRetrying
from infra.llm._async.step import AsyncStep, Call
from infra.llm._async.structured import AsyncStructured
from infra.llm._async.toolrun import run_tools_loop
from infra.llm.checking import check_messages, check_options, check_steps, check_texts, check_timeout, check_tools
from infra.llm.driver import SPEC_VERSION, AsyncLLMDriver, CallContext, EmbedRequest, LLMRequest
from infra.llm.errors import InvalidRequestError, InvalidResponseError, LLMError, LLMTimeoutError, error_type
from infra.llm.events import Finish, Start, StreamEvent
from infra.llm.model import (
    OPTION_NAMES,
    PORTABLE_OPTIONS,
    Embeddings,
    File,
    Image,
    Input,
    LLMFeature,
    LLMWarning,
    Message,
    Options,
    Response,
    Tool,
    messages_of,
)
from infra.llm.output import OutputFormat, OutputMode
from infra.llm.prompts import Prompt
from infra.llm.retry import RetryPolicy
from infra.llm.settings import LLMSettings
from infra.llm.tools import tool
from infra.plugin import OpenContext
from infra.resource import AsyncResource
from infra.resource.causes import advice
from infra.resource.model import Health, Status
from infra.runtime.aio import within
from infra.runtime.bridge import ThreadBridge
from infra.runtime.deadline import Deadline

ModelT = TypeVar("ModelT", bound=BaseModel)
_DEFAULTS = Options()
_MEANS = ((LLMFeature.JSON_SCHEMA, OutputMode.SCHEMA), (LLMFeature.JSON_MODE, OutputMode.JSON), (LLMFeature.TOOLS, OutputMode.TOOL))


class AsyncLLM(AsyncResource[AsyncLLMDriver, LLMSettings]):
    """A language model: answers, streams, structured answers, tools, embeddings; with retries, timeouts and a cache of answers."""

    error_type = LLMError

    def __init__(self, driver: AsyncLLMDriver, settings: LLMSettings, context: OpenContext, *, owned: bool = True) -> None:
        super().__init__(driver, settings, context, owned=owned)
        base = Options(temperature=settings.temperature, max_output_tokens=settings.max_output_tokens, namespace=settings.namespace)
        self._base = None if base == _DEFAULTS else base
        self._ignored = tuple(name for name in OPTION_NAMES if name not in driver.info.options and name not in PORTABLE_OPTIONS)
        self._means = next((mode for feature, mode in _MEANS if feature in self.features), None)
        self._formats: WeakKeyDictionary[type[BaseModel], OutputFormat] = WeakKeyDictionary()
        self._bridge = ThreadBridge(f"{context.resource}-tools", settings.threads)
        policy = RetryPolicy(settings.retries, settings.retry_delay, settings.retry_delay_max)
        self._slots = AsyncSlots(settings.max_concurrency)
        asking: AsyncStep = AsyncDriving(driver, settings, self.error)
        if settings.max_concurrency is not None:
            asking = AsyncLimiting(asking, self._slots)
        self._retrying = AsyncRetrying(asking, policy)
        self._caching: AsyncCaching | None = None
        self._chain: AsyncStep = AsyncStructured(self._retrying)

    async def start(self) -> None:
        """Check the driver and put the chain together.

        Raises:
            ConfigurationError: The driver speaks another version of the contract, or the cache resource is not there.
        """
        await super().start()
        if self.driver.spec_version != SPEC_VERSION:
            raise ConfigurationError(
                f"its driver speaks version {self.driver.spec_version} of the LLM contract, this kernel {SPEC_VERSION}",
                resource=self.name,
                provider=self.provider,
                remedy="install matching versions of the plugin and infra-kernel",
            )
        name = self.settings.cache
        if name is not None:
            if self.context.services is None:
                raise ConfigurationError(
                    f"cache.{name} cannot be looked up outside a kernel",
                    resource=self.name,
                    remedy="open it through Infra, or unset `cache`",
                )
            store = self.context.services("cache", name)
            self._caching = AsyncCaching(self._chain, store, self.driver.info, self.settings.cache_ttl, self.context.logger)
            self._chain = self._caching

    async def release(self, timeout: float) -> None:  # noqa: ARG002
        """Let the tools' threads end."""
        self._bridge.close()

    async def health(self, timeout: float = 5.0) -> Health:
        """Whether it serves now; degraded when its provider is not a real language model. Never billed."""
        health = await super().health(timeout)
        reason = self.driver.info.degraded
        return health if reason is None or health.status is not Status.UP else replace(health, status=Status.DEGRADED, message=reason)

    async def generate(self, asked: Input, options: Options | None = None) -> Response:
        """One answer.

        Args:
            asked: A user's words, a message, or a conversation.
            options: How to answer; what it leaves open follows the settings.

        Raises:
            InvalidRequestError: It is refused as it is; `ContextTooLongError` and `ContentFilteredError` are narrower.
            AuthenticationError, PermissionDeniedError, ModelNotFoundError: The resource is not set up rightly.
            RateLimitedError, QuotaExhaustedError, LLMTimeoutError, UnavailableError: The provider does not serve now.
            InvalidResponseError: The answer cannot be used.
            UnsupportedError: The provider lacks what was asked for.
        """
        return await self._generate(self._messages(asked), self._asked(options), {})

    async def stream(self, asked: Input, options: Options | None = None) -> AsyncGenerator[StreamEvent]:
        """One answer in pieces: `Start`, deltas, and exactly one `Finish` with the whole response.

        Leave it early with ``async with contextlib.aclosing(llm.stream(...)) as events``, which frees the connection at once.

        Raises:
            StreamInterruptedError: It broke off after the first content; what was delivered is in ``partial``.
            LLMError: As `generate`, before the first content.
        """
        call, warnings = self._prepare(self._messages(asked), self._asked(options), {})
        async with aclosing(self._chain.stream(call)) as events:
            try:
                async for event in events:
                    if warnings:
                        if isinstance(event, Start):
                            event = replace(event, warnings=(*event.warnings, *warnings))
                        elif isinstance(event, Finish):
                            event = Finish(event.response.with_warnings(*warnings))
                    yield event
            except InfraError as error:
                raise self._named(error, "stream") from error.__cause__

    async def execute_prompt(self, prompt: Prompt, context: Mapping[str, Any] | None = None, options: Options | None = None) -> Response:
        """The answer to a prompt filled with the values of `context`; with `parsed` when the prompt has an output.

        Raises:
            InvalidRequestError: A variable is missing.
            LLMError: As `generate`.
        """
        try:
            if not isinstance(prompt, Prompt) or not isinstance(context or {}, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise InvalidRequestError("execute_prompt takes a Prompt and a mapping of its variables", remedy="give them so")
            values = prompt.values(context or {})
        except InvalidRequestError as error:
            raise self._refused(error, "generate") from None
        self._asked(options)
        return await self._generate(prompt.render(values), prompt.asked(options).over(self._base), values)

    async def generate_as(self, output: type[ModelT], asked: Input | Prompt, options: Options | None = None, **context: Any) -> ModelT:
        """The answer as an instance of a pydantic model.

        By the provider's strict schema where it has one, else its JSON mode, else a tool; an answer that does not fit is corrected once.

        Args:
            output: The model class.
            asked: As for `generate`, or a prompt, whose variables are then keywords.
            options: How to answer.
            context: The prompt's variables.

        Raises:
            InvalidResponseError: Neither the answer nor its correction fits, or it was cut off.
            ContentFilteredError: The provider refused.
            LLMError: As `generate`.
        """
        self._asked(options)
        options = replace(options or _DEFAULTS, output=output)
        if isinstance(asked, Prompt):
            response = await self.execute_prompt(asked, context, options)
        else:
            if context:
                raise InvalidRequestError(
                    f"{', '.join(context)}: only a Prompt takes variables", resource=self.name, operation="generate_as"
                )
            response = await self.generate(asked, options)
        if not isinstance(response.parsed, output):
            raise InvalidResponseError(
                "the model asked for a tool instead of answering", resource=self.name, operation="generate_as", remedy="use run_tools"
            )
        return response.parsed

    async def run_tools(
        self, asked: Input, options: Options | None = None, *, tools: Sequence[Tool | Callable[..., Any]], max_steps: int = 8
    ) -> Response:
        """Answer with the help of tools: those that the model asks for are called, and their results given back to it.

        Tools of one step run concurrently; plain functions run in threads under asyncio. What a tool raises is told to the model. The
        response's usage, cost and attempts are those of all steps; ``options.timeout`` holds for each step.

        Args:
            asked: As for `generate`.
            options: How to answer.
            tools: `Tool` objects with a function, or functions with annotations and a docstring.
            max_steps: How often the model may be asked.

        Raises:
            InvalidResponseError: It still asks for tools after `max_steps`.
            LLMError: As `generate`.
        """
        self.check()
        try:
            check_steps(max_steps)
            made = [each if isinstance(each, Tool) else tool(each) for each in tools]
            check_tools(made)
        except InvalidRequestError as error:
            raise self._refused(error, "run_tools") from None
        options = self._asked(options)

        async def ask(messages: tuple[Message, ...], asked_options: Options) -> Response:
            return await self._generate(messages, asked_options, {})

        try:
            return await run_tools_loop(ask, self._messages(asked), options, made, max_steps, self._bridge, self.context.redact)
        except InfraError as error:
            raise self._named(error, "run_tools") from error.__cause__

    async def embed(
        self, texts: Sequence[str] | str, *, model: str | None = None, dimensions: int | None = None, timeout: float | None = None
    ) -> Embeddings:
        """One vector for each text, in order; long lists travel in several batches.

        Args:
            texts: One text or several.
            model: The model's name; else the settings', else the provider's default.
            dimensions: The length of the vectors, where the model can choose.
            timeout: Seconds for all batches; else the settings'.

        Raises:
            UnsupportedError: The provider has no embeddings.
            LLMError: As `generate`.
        """
        self.check()
        self.need(LLMFeature.EMBEDDINGS, "choose a provider with embeddings for this resource")
        try:
            listed = [texts] if isinstance(texts, str) else list(texts)
            check_texts(listed, dimensions, model)
            if timeout is not None:
                check_timeout(timeout)
        except TypeError:
            raise self._refused(InvalidRequestError(f"a {type(texts).__name__} is no list of texts"), "embed") from None
        except InvalidRequestError as error:
            raise self._refused(error, "embed") from None
        info = self.driver.info
        named = model or self.settings.embedding_model or info.embedding_model
        deadline = Deadline(self.settings.timeout if timeout is None else timeout)
        made = Embeddings(vectors=(), model=named)
        for start in range(0, len(listed), info.embed_batch):
            request = EmbedRequest(model=named, texts=listed[start : start + info.embed_batch], dimensions=dimensions)

            async def attempt(request: EmbedRequest = request) -> Embeddings:
                async with self._slots.one(deadline):
                    context = CallContext(timeout=deadline.remaining(), connect_timeout=self.settings.connect_timeout)
                    try:
                        return await within(context.timeout, self.driver.embed, request, context)
                    except Exception as error:
                        raise self.error(error, "embed") from error

            try:
                batch = await self._retrying.run(deadline, attempt)
            except InfraError as error:
                raise self._named(error, "embed") from error.__cause__
            if len(batch) != len(request.texts):
                raise InvalidResponseError(
                    f"{len(batch)} vectors came for {len(request.texts)} texts",
                    resource=self.name,
                    provider=self.provider,
                    operation="embed",
                )
            made = batch if not start else joined(made, batch)
        return made

    async def invalidate(self, asked: Input | Prompt, options: Options | None = None, *, context: Mapping[str, Any] | None = None) -> None:
        """Forget the kept answer to a question; the arguments are those that it was asked with. Without a cache this does nothing.

        Raises:
            ServiceError: The cache cannot forget it now.
        """
        self.check()
        if self._caching is None:
            return
        if isinstance(asked, Prompt):
            values = asked.values(context or {})
            call, _ = self._prepare(asked.render(values), asked.asked(options).over(self._base), values)
        else:
            call, _ = self._prepare(self._messages(asked), self._asked(options), {})
        await self._caching.forget(call.request)

    async def _generate(self, messages: tuple[Message, ...], options: Options, variables: Mapping[str, Any]) -> Response:
        call, warnings = self._prepare(messages, options, variables)
        try:
            response = await self._chain.generate(call)
        except InfraError as error:
            raise self._named(error, "generate") from error.__cause__
        return response.with_warnings(*warnings)

    def _prepare(
        self, messages: tuple[Message, ...], options: Options, variables: Mapping[str, Any]
    ) -> tuple[Call, tuple[LLMWarning, ...]]:
        """The call for the chain, and warnings for the options that the provider ignores."""
        self.check()
        try:
            check_options(options)
            check_messages(messages)
        except InvalidRequestError as error:
            raise self._refused(error, "generate") from None
        settings, info = self.settings, self.driver.info
        warnings: tuple[LLMWarning, ...] = ()
        ignored = [name for name in self._ignored if getattr(options, name) is not None]
        if ignored:
            if options.strict or (options.strict is None and settings.strict):
                raise UnsupportedError(
                    f"provider {self.provider} ignores {', '.join(ignored)}",
                    resource=self.name,
                    provider=self.provider,
                    operation="generate",
                    remedy="leave them out, or unset strict",
                )
            warnings = tuple(LLMWarning("unsupported-option", f"provider {self.provider} ignores {name}", name) for name in ignored)
        if options.tools:
            self.need(LLMFeature.TOOLS, "choose a provider with tools for this resource")
        for message in messages:
            for part in message.parts:
                if isinstance(part, Image):
                    self.need(LLMFeature.IMAGES, "choose a provider that reads images for this resource")
                elif isinstance(part, File):
                    self.need(LLMFeature.FILES, "choose a provider that reads files for this resource")
        request = LLMRequest(
            model=options.model or settings.model or info.model,
            messages=messages,
            options=options,
            output=None if options.output is None else self._format(options.output),
            variables=variables,
        )
        mode = "never" if options.sensitive else options.cache or settings.cache_mode
        return Call(request, Deadline(settings.timeout if options.timeout is None else options.timeout), mode), warnings

    def _format(self, output: type[BaseModel] | Mapping[str, Any]) -> OutputFormat:
        if self._means is None:
            raise UnsupportedError(
                f"provider {self.provider} has neither a JSON schema, nor a JSON mode, nor tools",
                resource=self.name,
                provider=self.provider,
                operation="generate_as",
                remedy="choose a provider with one of them",
            )
        if not isinstance(output, type):
            return OutputFormat.of(output, self._means)
        found = self._formats.get(output)
        if found is None:
            found = self._formats[output] = OutputFormat.of(output, self._means)
        return found

    def _messages(self, asked: Input) -> tuple[Message, ...]:
        try:
            return messages_of(asked)
        except InvalidRequestError as error:
            raise self._refused(error, "generate") from None

    def _asked(self, options: Options | None) -> Options:
        """The options of a call, over those of the settings."""
        if options is None:
            return _DEFAULTS.over(self._base)
        if not isinstance(options, Options):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise self._refused(InvalidRequestError(f"options are an Options, not a {type(options).__name__}"), "generate")
        return options.over(self._base)

    def _refused(self, error: InvalidRequestError, operation: str) -> InfraError:
        """What is wrong with a call, found before anything was asked."""
        error.attempts = 0
        return self._named(error, operation)

    def _named(self, error: InfraError, operation: str) -> InfraError:
        """An error raised inside the chain, with the resource that it is about."""
        if error.resource is None:
            error.resource, error.provider = self.name, self.provider
        error.operation = error.operation or operation
        return error

    def error(self, cause: BaseException, operation: str, **details: Any) -> InfraError:
        """The leaf for an exception of the driver: by status, then code, then type."""
        if isinstance(cause, InfraError):
            return self._named(cause, operation)
        failure = self.driver.failure(cause)
        where: dict[str, Any] = {"resource": self.name, "provider": self.provider, "operation": operation, "details": details}
        if failure is None:
            if isinstance(cause, TimeoutError):
                return LLMTimeoutError(f"{operation} on {self.provider} took longer than its timeout", **where)
            return super().error(cause, operation, **details)
        kind = error_type(failure)
        return kind(
            self.describe(cause, operation),
            status=failure.status,
            retry_after=failure.retry_after,
            request_id=failure.request_id,
            remedy=self._advice(cause, kind.default_code, operation, answered=failure.status is not None),
            **where,
        )

    def _advice(self, cause: BaseException, code: ErrorCode, operation: str, *, answered: bool) -> str | None:
        if answered and code is ErrorCode.UNAVAILABLE:
            return None  # no setting is to blame
        if answered and code is ErrorCode.NOT_FOUND and operation == "ping":  # asked for the list of models, not for one
            return advice(code, self.context.origins(("base_url", "endpoint")))
        return self.advise(cause, code)

    def remedy(self, code: ErrorCode) -> str | None:  # noqa: ARG002
        """The leaves know their own."""
        return None


def joined(made: Embeddings, batch: Embeddings) -> Embeddings:
    """Two batches as one."""
    return replace(
        batch,
        vectors=(*made.vectors, *batch.vectors),
        usage_stats=made.usage_stats + batch.usage_stats,
        cost=None if made.cost is None or batch.cost is None else made.cost + batch.cost,
        warnings=tuple(dict.fromkeys((*made.warnings, *batch.warnings))),
    )
