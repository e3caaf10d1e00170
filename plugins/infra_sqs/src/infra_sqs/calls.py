"""Batch calls: ten entries each, several under way at once, an answer for every entry."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Literal, TypeVar, cast

from infra.errors import ErrorCode
from infra_sqs.client import Clients
from infra_sqs.failures import Refusal, of_entry

T = TypeVar("T")

#: The most entries of one call.
MOST: Final = 10
#: What became of one entry: its part of the answer, or why it failed.
Answer = Mapping[str, Any] | BaseException
Operation = Literal["SendMessageBatch", "DeleteMessageBatch", "ChangeMessageVisibilityBatch"]
_METHODS: Final[Mapping[Operation, str]] = {
    "SendMessageBatch": "send_message_batch",
    "DeleteMessageBatch": "delete_message_batch",
    "ChangeMessageVisibilityBatch": "change_message_visibility_batch",
}


class Calls:
    """Makes the calls of one driver.

    Args:
        clients: Of the driver.
        parallel: How many calls of one batch are under way at once.
    """

    def __init__(self, clients: Clients, parallel: int) -> None:
        self._clients = clients
        self._parallel = parallel
        self._lock = threading.Lock()
        self._executor: ThreadPoolExecutor | None = None
        self._closed = False

    def batch(self, operation: Operation, url: str, entries: Sequence[Mapping[str, Any]]) -> list[Answer]:
        """One call with up to ten entries, which need no ids; an answer for each, in order."""
        numbered = [{**entry, "Id": str(number)} for number, entry in enumerate(entries)]
        try:
            answer: Mapping[str, Any] = getattr(self._clients.main(), _METHODS[operation])(QueueUrl=url, Entries=numbered)
        except Exception as error:
            return [error] * len(entries)
        found: dict[str, Answer] = {one["Id"]: one for one in answer.get("Successful", ())}
        for failed in answer.get("Failed", ()):
            found[failed["Id"]] = of_entry(failed, answer, operation)
        missing = Refusal(ErrorCode.UNAVAILABLE, f"the answer of {operation} does not mention the entry")
        return [found.get(entry["Id"], missing) for entry in numbered]

    def batches(self, operation: Operation, url: str, entries: Sequence[Mapping[str, Any]]) -> list[Answer]:
        """As many calls as that takes, at once as far as allowed."""
        parts = [entries[start : start + MOST] for start in range(0, len(entries), MOST)]
        done = self.together([lambda part=part: self.batch(operation, url, part) for part in parts])
        return [answer for answers in done for answer in answers]

    def together(self, tasks: Sequence[Callable[[], T]]) -> list[T]:
        """Run all; the results in order."""
        if len(tasks) == 1:
            return [tasks[0]()]
        others = [self._pool().submit(task) for task in tasks[1:]]
        first = [task() for task in tasks[:1]]
        return first + [future.result() for future in others]

    def later(self, task: Callable[[], object]) -> None:
        """Run it soon, in another thread; in this one when closed."""
        with self._lock:
            closed = self._closed
        if closed:
            task()
        else:
            self._pool().submit(task)

    def close(self) -> None:
        """Let what runs end; nothing in parallel from now on."""
        with self._lock:
            self._closed = True
            executor = self._executor
        if executor is not None:
            executor.shutdown(wait=False)

    def _pool(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._executor is None:
                self._executor = ThreadPoolExecutor(self._parallel, thread_name_prefix="infra-sqs-calls")
            return self._executor


def succeeded(answer: Answer) -> bool:
    """Whether an entry was done."""
    return not isinstance(answer, BaseException)


def failure(answer: Answer) -> BaseException:
    """Why an entry was not done."""
    return cast(BaseException, answer)
