# Generated from caching.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""The link that keeps answers, and lets concurrent equal calls share one."""

from __future__ import annotations

import json
import logging
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from typing import Any, Protocol

from infra.errors import InfraError
from infra.llm._sync.sharing import SharedStreams
from infra.llm._sync.step import Call, Step
from infra.llm.cache_key import KEY_VERSION, CacheKey, cache_key
from infra.llm.driver import DriverInfo, LLMRequest
from infra.llm.encoding import response_from_json, response_to_json
from infra.llm.errors import LLMTimeoutError
from infra.llm.events import Finish, StreamEvent, replayed
from infra.llm.model import FinishReason, Response
from infra.runtime.threads import SingleFlight, within

_FREE = Decimal(0)
_WHOLE = frozenset({FinishReason.STOP, FinishReason.TOOL_CALLS})


class AnswerStore(Protocol):
    """What is needed of a cache resource; values are text."""

    def get(self, key: str) -> Any:
        """The value, or None."""
        ...

    def set(self, key: str, value: object, ttl: float) -> object:
        """Keep a value for `ttl` seconds."""
        ...

    def delete(self, key: str) -> object:
        """Forget a value."""
        ...


class Caching:
    """Answers from the cache where that is allowed. A cache that fails costs its timeout, never the answer.

    Args:
        inner: The next link.
        store: The cache resource.
        info: The endpoint, part of the key.
        ttl: Seconds that an answer is kept.
        logger: Told when the cache fails; never of keys' contents or answers.
    """

    def __init__(self, inner: Step, store: AnswerStore, info: DriverInfo, ttl: float, logger: logging.Logger) -> None:
        self._inner = inner
        self._store = store
        self._info = info
        self._ttl = ttl
        self._log = logger
        self._flights: SingleFlight[str, Response] = SingleFlight(abandon=True)
        self._stored = 0  # answers so far: tells whether one may have come between a miss and what follows it
        self._streams = SharedStreams(info.provider)

    def generate(self, call: Call) -> Response:
        """One answer: a kept one, that of a concurrent equal call, or a new one."""
        if not may_keep(call):
            return self._inner.generate(call)
        key = cache_key(call.request, self._info)
        before = self._stored
        if (kept := self._read(key, call)) is not None:
            return kept
        asked = False

        def ask() -> Response:
            nonlocal asked
            # The equal call that was under way when we looked may have ended since.
            if self._stored != before and (kept := self._read(key, call)) is not None:
                return kept
            asked = True
            response = self._inner.generate(call)
            self._keep(key, response)
            return response

        while True:
            try:
                response = within(call.deadline.remaining(), self._flights.do, _flight(key, call), ask)
            except TimeoutError as error:
                raise LLMTimeoutError("timed out waiting for a concurrent equal call", operation="generate") from error
            except LLMTimeoutError:
                if asked or call.deadline.passed:
                    raise
                continue  # whoever asked had less time than this call has
            return response if asked else replace(response, cached=True, cost=_FREE)

    def stream(self, call: Call) -> Generator[StreamEvent]:
        """One answer in pieces; a kept one is replayed, and one under way is joined from its beginning."""
        return self._kept_or_shared(call) if may_keep(call) else self._inner.stream(call)

    def _kept_or_shared(self, call: Call) -> Generator[StreamEvent]:
        key = cache_key(call.request, self._info)
        before = self._stored
        if (kept := self._read(key, call)) is not None:
            for event in replayed(kept):
                yield event
            return
        with (
            self._streams.join(_flight(key, call), lambda: self._begin(key, call, before)) as shared,
            closing(shared.read()) as events,
        ):
            for event in events:
                if isinstance(event, Finish) and not event.response.cached:
                    if shared.claim():
                        self._keep(key, event.response)
                    else:
                        event = Finish(replace(event.response, cached=True, cost=_FREE))
                yield event

    def forget(self, request: LLMRequest) -> None:
        """Remove the answer to `request`. A failing cache raises here: the caller must know that the answer may still be served."""
        key = cache_key(request, self._info)
        self._streams.forget(key.digest)
        self._store.delete(key.key)

    def _begin(self, key: CacheKey, call: Call, before: int) -> Generator[StreamEvent]:
        if self._stored != before and (kept := self._read(key, call)) is not None:
            for event in replayed(kept):
                yield event
            return
        with closing(self._inner.stream(call)) as events:
            for event in events:
                yield event

    def _read(self, key: CacheKey, call: Call) -> Response | None:
        if call.cache == "refresh":
            return None
        request = call.request
        try:
            text = self._store.get(key.key)
        except InfraError as error:
            self._log.warning("the answer cache failed to read: %s", error.code)
            return None
        if text is None:
            return None
        try:
            value = json.loads(text)
            if value["version"] != KEY_VERSION or value["digest"] != key.digest:
                return None
            response = response_from_json(value["response"], cached=True, cost=_FREE)
            if request.output is not None and response.finish is FinishReason.STOP:
                response = replace(response, parsed=request.output.parse(response.content))
        except (LookupError, TypeError, ValueError):
            return None  # written by another version, or damaged
        return response

    def _keep(self, key: CacheKey, response: Response) -> None:
        if response.finish not in _WHOLE or not (response.content.strip() or response.tool_calls):
            return  # an empty answer is none to give again
        # As text: a cache then need not look into it.
        text = json.dumps({"version": KEY_VERSION, "digest": key.digest, "response": response_to_json(response)})
        try:
            self._store.set(key.key, text, ttl=self._ttl)
        except InfraError as error:
            self._log.warning("the answer cache failed to write: %s", error.code)
        self._stored += 1


def _flight(key: CacheKey, call: Call) -> str:
    """What calls that may share one answer have in common. A refresh must not be answered by a call that began before it."""
    return f"refresh:{key.digest}" if call.cache == "refresh" else key.digest


def may_keep(call: Call) -> bool:
    """Whether the answer may come from the cache and go there."""
    if call.cache == "never":
        return False
    options = call.request.options
    return call.cache != "auto" or options.temperature == 0 or options.seed is not None
