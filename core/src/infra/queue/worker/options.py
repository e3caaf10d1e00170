"""What a worker is told; it travels to the worker's processes, so it holds names, not objects."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from importlib import import_module
from typing import Any, Literal

from infra.errors import ConfigurationError
from infra.queue._async.delivery import AsyncDelivery
from infra.queue._sync.delivery import Delivery
from infra.queue.model import KillSwitch, Message


class Exit(IntEnum):
    """How a worker ends."""

    DONE = 0
    FAILED = 1
    CONFIGURATION = 2  #: it cannot start; starting it again would not help
    ABORTED = 130


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """What a worker does; durations in seconds.

    Args:
        handler: ``module:attribute``: what `AsyncQueue.consume` takes. Coroutine functions run in the loop, others in threads.
        opener: ``module:callable``: called with `arguments` in each process, it returns an async context manager of an `AsyncQueue`.
        arguments: Keyword arguments of the opener, plain values.
        message: ``module:Class`` to decode bodies to; when not given, what the handler's first parameter is annotated with.
        concurrency: Handlers at once, in each process.
        processes: How many processes; with more than one they are children, restarted when they die.
        max_attempts: Deliveries of a message before it is a dead letter.
        lease: The lease of a delivery; the queue's setting when not given.
        until: See `AsyncQueue.consume`.
        kill_switch: Pauses while too much fails; None never does.
        progress: A live line on the terminal; when not given, if standard error is one.
        report_every: Between two lines of the log, without a terminal.
    """

    handler: str
    opener: str
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    message: str | None = None
    concurrency: int = 8
    processes: int = 1
    max_attempts: int = 5
    lease: float | None = None
    until: Literal["empty"] | float | None = None
    kill_switch: KillSwitch | None = field(default_factory=KillSwitch)
    progress: bool | None = None
    report_every: float = 30.0


def load_name(reference: str, what: str) -> Any:
    """The object that ``module:attribute`` names.

    Raises:
        ConfigurationError: There is none.
    """
    module, colon, attribute = reference.partition(":")
    if not colon or not attribute:
        raise ConfigurationError(f"{what} {reference!r} is not of the form module:attribute", remedy="write it like app.tasks:handle")
    try:
        found: Any = import_module(module)
        for name in attribute.split("."):
            found = getattr(found, name)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(
            f"cannot load {what} {reference}: {error}", remedy="check the name, and that the module can be imported from here"
        ) from error
    return found


def model_of(handler: Callable[..., Any], message: str | None) -> Any:
    """What to decode bodies to: `message`, else the annotation of the handler's first parameter; None for the delivery itself."""
    if message is not None:
        return load_name(message, "message")
    function = handler if inspect.isroutine(handler) else type(handler).__call__
    try:
        hints = typing.get_type_hints(function)
        parameters = list(inspect.signature(handler).parameters)
    except (NameError, TypeError, ValueError):
        return None
    model = hints.get(parameters[0]) if parameters else None
    return None if model in (None, Any, object, AsyncDelivery, Delivery, Message) else model
