"""Checks of what callers pass, before anything is sent or a message pays for it."""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from infra.errors import ErrorCode
from infra.queue.errors import QueueError
from infra.queue.model import Backoff, ConsumerOptions, ConsumeSummary, KillSwitch, Message, RetryPolicy

#: Seconds; what is longer is a mistake, and beyond what some servers and clocks can count.
LONGEST: Final = 10 * 366 * 86400.0
_MOST_HANDLERS: Final = 10_000
_POSITIONAL: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Arguments:
    """Checks for one queue.

    Args:
        resource: Its full name.
        provider: Its provider's name.
    """

    def __init__(self, resource: str, provider: str) -> None:
        self._resource = resource
        self._provider = provider

    def wrong(self, operation: str, why: str, remedy: str | None = None) -> QueueError:
        """The error for an argument of `operation`."""
        return QueueError(
            f"{operation}: {why}",
            code=ErrorCode.INVALID_ARGUMENT,
            resource=self._resource,
            provider=self._provider,
            operation=operation,
            remedy=remedy or "correct the argument",
        )

    def duration(self, operation: str, name: str, value: object, *, positive: bool = False) -> float:
        """Seconds, from 0 (or above it) to ten years."""
        try:
            return _seconds(name, value, positive=positive)
        except ValueError as error:
            raise self.wrong(operation, str(error), "give seconds or a timedelta") from None

    def count(self, operation: str, name: str, value: object, most: int | None = None) -> int:
        """A whole number from 1."""
        if not isinstance(value, int) or isinstance(value, bool) or value < 1 or (most is not None and value > most):
            to = "" if most is None else f" to {most}"
            raise self.wrong(operation, f"`{name}` is {_shown(value)}, and must be a whole number from 1{to}")
        return value

    def text(self, operation: str, name: str, value: object) -> str:
        """Text."""
        if not isinstance(value, str):
            raise self.wrong(operation, f"`{name}` is {_shown(value)}, and must be text")
        return value

    def messages(self, items: object) -> None:
        """What `publish_many` goes through."""
        if isinstance(items, str | bytes | bytearray | Mapping) or not isinstance(items, Iterable):
            raise self.wrong("publish_many", f"it takes a list of messages, and not {_shown(items)}")  # pyright: ignore[reportUnknownArgumentType]

    def ids(self, operation: str, ids: object) -> Sequence[str] | None:
        """Ids of messages, or None for any."""
        if ids is None:
            return None
        if isinstance(ids, str | bytes) or not isinstance(ids, Sequence | set | frozenset):
            raise self.wrong(operation, f"`ids` is {_shown(ids)}, and must be a list of ids")
        found: list[object] = list(ids)  # pyright: ignore[reportUnknownArgumentType]
        return [self.text(operation, "ids", one) for one in found]

    def consuming(self, options: ConsumerOptions, summary: object, stops: Sequence[object]) -> None:
        """The arguments of `consume` that are no durations."""
        self.count("consume", "concurrency", options.concurrency, _MOST_HANDLERS)
        if options.prefetch is not None:
            self.count("consume", "prefetch", options.prefetch)
        if isinstance(options.until, str) and options.until != "empty":
            raise self.wrong("consume", '`until` is text, and must be "empty", seconds or a timedelta')
        if options.on_poison not in ("dead", "discard"):
            raise self.wrong("consume", f'`on_poison` is {_shown(options.on_poison)}, and must be "dead" or "discard"')
        for name, value, kind in (
            ("retry", options.retry, RetryPolicy),
            ("kill_switch", options.kill_switch, KillSwitch | None),
            ("summary", summary, ConsumeSummary | None),
        ):
            if not isinstance(value, kind):
                raise self.wrong("consume", f"`{name}` is {_shown(value)}")
        self.count("consume", "retry.max_attempts", options.retry.max_attempts)
        if not callable(options.retry.backoff):
            raise self.wrong("consume", f"`retry.backoff` is {_shown(options.retry.backoff)}, and must be a function")
        fatal: object = options.retry.fatal
        kinds: tuple[object, ...] = fatal if isinstance(fatal, tuple) else (fatal,)
        if not all(isinstance(one, type) and issubclass(one, BaseException) for one in kinds):
            raise self.wrong("consume", f"`retry.fatal` is {_shown(fatal)}, and must be a tuple of exception classes")
        switch = options.kill_switch
        if switch is not None:
            self.count("consume", "kill_switch.minimum", switch.minimum)
            self.duration("consume", "kill_switch.pause", switch.pause)
            if not 0 < self.duration("consume", "kill_switch.threshold", switch.threshold) <= 1:
                raise self.wrong("consume", f"`kill_switch.threshold` is {switch.threshold!r}, and must be a share up to 1")
        for one in stops:
            if one is not None and not callable(getattr(one, "on_set", None)):
                raise self.wrong("consume", f"`stop` or `abort` is {_shown(one)}, and must be a Stop")

    def takes_two(self, handler: Callable[..., Any]) -> bool:
        """Whether a handler also wants the delivery; it takes one or two values, and runs when it is called."""
        if not callable(handler):
            raise self.wrong("consume", f"the handler is {_shown(handler)}, and must be a function")
        for one in (handler, type(handler).__call__):
            if inspect.isgeneratorfunction(one) or inspect.isasyncgenfunction(one):
                raise self.wrong("consume", "the handler is a generator, which would not run", "take `yield` out of it")
        try:
            parameters = list(inspect.signature(handler).parameters.values())
        except (TypeError, ValueError):
            return False
        required = [one for one in parameters if one.kind in _POSITIONAL and one.default is one.empty]
        named = [one.name for one in parameters if one.kind is one.KEYWORD_ONLY and one.default is one.empty]
        takes_one = any(one.kind in (*_POSITIONAL, one.VAR_POSITIONAL) for one in parameters)
        if len(required) > 2 or named or not takes_one:
            how = "bind the other arguments with functools.partial"
            raise self.wrong("consume", f"a handler takes (value) or (value, delivery), and not {inspect.signature(handler)}", how)
        return len(required) == 2


def _seconds(name: str, value: object, *, positive: bool = False) -> float:
    if isinstance(value, timedelta):
        found = value.total_seconds()
    elif isinstance(value, int | float) and not isinstance(value, bool):
        found = float(value) if abs(value) < 1e18 else math.inf
    else:
        raise ValueError(f"`{name}` is {_shown(value)}, and must be seconds or a timedelta")
    if not 0 <= found <= LONGEST or (positive and not found):  # so is NaN
        raise ValueError(f"`{name}` is {found:g} seconds, and must be {'above 0' if positive else 'from 0'} to ten years")
    return found


def delay_of(value: object) -> float:
    """Seconds of a delay; ValueError says what is wrong with it."""
    return _seconds("delay", value)


def pause_after(policy: RetryPolicy, attempt: int, queue: str, log: logging.Logger) -> float:
    """Seconds until the next attempt; where the policy has no sound answer, those of the usual one."""
    try:
        return delay_of(policy.backoff(attempt))
    except Exception as error:
        log.error("%s: `retry.backoff` failed, so the usual one counts: %s", queue, type(error).__name__)
        return Backoff()(attempt)


def flaw(message: Message) -> str | None:
    """What prevents an envelope from being published anywhere; None when nothing does."""
    for name, text in (("id", message.id), ("content_type", message.content_type)):
        if not _is_text(text) or not text:
            return f"its `{name}` is {_shown(text)}, and must be text"
    for name, text in (("key", message.key), ("dedup_key", message.dedup_key), ("traceparent", message.traceparent)):
        if text is not None and not _is_text(text):
            return f"its `{name}` is {_shown(text)}, and must be text"
    for name, time in (("created_at", message.created_at), ("deliver_at", message.deliver_at)):
        if not isinstance(time, datetime) and (time is not None or name == "created_at"):
            return f"its `{name}` is {_shown(time)}, and must be a datetime"
        if isinstance(time, datetime) and time.tzinfo is None:
            return f"its `{name}` has no time zone"
    if message.deliver_at is not None and (message.deliver_at - datetime.now(message.deliver_at.tzinfo)).total_seconds() > LONGEST:
        return "its `deliver_at` is more than ten years away"
    headers: object = message.headers
    if not isinstance(headers, Mapping):
        return f"its `headers` are {_shown(headers)}, and must be a mapping"
    for name, value in message.headers.items():
        if not _is_text(name) or not _is_text(value):
            return "a header is not text"
    return None


def _is_text(value: object) -> bool:
    if not isinstance(value, str):
        return False
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(value: object) -> str:
    """A value for a message, short, and without what it may hold."""
    if value is None or isinstance(value, bool | int | float):
        return repr(value)[:40]
    if isinstance(value, str):
        return "empty text" if not value else "text that is not Unicode" if not _is_text(value) else "text"
    return f"a {type(value).__name__}"
