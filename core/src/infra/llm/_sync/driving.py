# Generated from driving.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""The innermost link: one attempt, with its timeouts, and errors of the tree instead of the SDK's."""

from __future__ import annotations

from collections.abc import Callable, Generator

from infra.errors import InfraError
from infra.llm._sync.step import Call
from infra.llm.driver import CallContext, LLMDriver
from infra.llm.errors import InvalidResponseError, LLMTimeoutError, StreamInterruptedError
from infra.llm.events import CONTENT, Finish, StreamEvent, TextDelta, UsageUpdate
from infra.llm.model import Response, Usage
from infra.llm.settings import LLMSettings
from infra.runtime.deadline import Deadline
from infra.runtime.threads import within


class Driving:
    """Asks the driver once.

    Args:
        driver: Whom to ask.
        settings: The timeouts.
        error: Makes an error of the tree from the driver's exception and the operation's name.
    """

    def __init__(self, driver: LLMDriver, settings: LLMSettings, error: Callable[[BaseException, str], InfraError]) -> None:
        self._driver = driver
        self._connect = settings.connect_timeout
        self._first = settings.first_event_timeout
        self._idle = settings.idle_timeout
        self._error = error

    def generate(self, call: Call) -> Response:
        """One answer."""
        context = self._context(call)
        try:
            return within(context.timeout, self._driver.generate, call.request, context)
        except Exception as error:
            raise self._error(error, "generate") from error

    def stream(self, call: Call) -> Generator[StreamEvent]:
        """One answer in pieces; an end without `Finish` is an error, and so is any failure after the first content."""
        context = self._context(call)
        events = self._driver.stream(call.request, context)
        words: list[str] = []
        usage: Usage | None = None
        begun = False
        first = Deadline(self._first)  # of the first content: until then the server may show life in any way
        try:
            while True:
                limit = self._idle if begun else first.remaining()
                try:
                    event: StreamEvent | None = within(call.deadline.remaining(limit), next, events, None)
                    if event is None:
                        raise InvalidResponseError("the stream ended before the provider's end mark", retryable=True)
                except TimeoutError as error:
                    which = "the deadline" if call.deadline.passed else "the next event" if begun else "the first content"
                    raise self._broken(LLMTimeoutError(f"timed out waiting for {which}"), begun, words, usage) from error
                except Exception as error:
                    raise self._broken(self._error(error, "stream"), begun, words, usage) from error
                if isinstance(event, TextDelta):
                    words.append(event.text)
                    begun = True
                elif isinstance(event, UsageUpdate):
                    usage = event.usage
                elif isinstance(event, CONTENT):
                    begun = True
                yield event
                if isinstance(event, Finish):
                    return
        finally:
            events.close()

    def _context(self, call: Call) -> CallContext:
        return CallContext(
            timeout=call.deadline.remaining(),
            connect_timeout=self._connect,
            first_event_timeout=self._first,
            idle_timeout=self._idle,
        )

    def _broken(self, error: InfraError, begun: bool, words: list[str], usage: Usage | None) -> InfraError:
        """What to raise for a failure in a stream: after content it cannot be repeated."""
        error = self._error(error, "stream")
        if not begun:
            return error
        return StreamInterruptedError(
            f"the stream broke off after {len(words)} pieces of text: {error.message}",
            partial="".join(words),
            usage=usage,
            code=error.code,
            resource=error.resource,
            provider=error.provider,
            operation="stream",
        )
