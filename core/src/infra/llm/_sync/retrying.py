# Generated from retrying.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""The link that asks again."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import replace
from typing import TypeVar

from infra.errors import InfraError
from infra.llm._sync.step import Call, Step
from infra.llm.errors import LLMError
from infra.llm.events import CONTENT, Finish, Start, StreamEvent
from infra.llm.model import Response
from infra.llm.retry import RetryPolicy
from infra.runtime.deadline import Deadline
from infra.runtime.threads import sleep

T = TypeVar("T")


class Retrying:
    """Asks again after failures that may pass, within the call's deadline.

    Args:
        inner: The next link.
        policy: When, and after how long.
    """

    def __init__(self, inner: Step, policy: RetryPolicy) -> None:
        self._inner = inner
        self._policy = policy

    def generate(self, call: Call) -> Response:
        """One answer; its ``attempts`` counts all."""
        attempts = 0

        def attempt() -> Response:
            nonlocal attempts
            attempts += 1
            return self._inner.generate(call)

        response = self.run(call.deadline, attempt)
        return replace(response, attempts=attempts) if attempts > 1 else response

    def run(self, deadline: Deadline, attempt: Callable[[], T]) -> T:
        """The result of `attempt`, made again where its error allows."""
        attempts = 0
        while True:
            attempts += 1
            try:
                result = attempt()
            except InfraError as error:
                wait = self._give_up_or_wait(error, attempts, deadline)
                if wait is None:
                    raise
                sleep(wait)
            else:
                self._policy.budget.succeeded()
                return result

    def stream(self, call: Call) -> Generator[StreamEvent]:
        """One answer in pieces. It is asked again only before the first content; only the first attempt's `Start` is passed on."""
        attempts = 0
        started = False
        while True:
            attempts += 1
            begun = False
            try:
                with closing(self._inner.stream(call)) as events:
                    for event in events:
                        if isinstance(event, Start):
                            if started:
                                continue
                            started = True
                        elif isinstance(event, CONTENT):
                            begun = True
                        elif attempts > 1 and isinstance(event, Finish):
                            event = Finish(replace(event.response, attempts=attempts))
                        yield event
            except InfraError as error:
                wait = None if begun else self._give_up_or_wait(error, attempts, call.deadline)
                if wait is None:
                    raise
                sleep(wait)
            else:
                self._policy.budget.succeeded()
                return

    def _give_up_or_wait(self, error: InfraError, attempts: int, deadline: Deadline) -> float | None:
        if isinstance(error, LLMError):
            error.attempts = attempts if error.attempts else attempts - 1  # one that waited for its turn in vain asked nothing
        return self._policy.wait(error, attempts, deadline.remaining())
