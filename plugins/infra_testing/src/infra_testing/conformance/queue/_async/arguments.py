"""Cases of wrong arguments: told before a message pays, in the same way by every provider."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from infra.errors import ErrorCode
from infra.queue import Backoff, KillSwitch, Message, PublishError, QueueError, QueueFeature, RetryPolicy
from infra_testing.conformance.queue._async.steps import AsyncQueueCases, receive_all

CENTURY = 36525 * 86400
DURATIONS: tuple[Any, ...] = (-1, math.nan, math.inf, CENTURY, timedelta(days=-1), 10**400, True, "1", [1])
COUNTS: tuple[Any, ...] = (0, -1, 1.0, True, "1", None)


def nobody(_delivery: Any) -> None:
    """A handler that must never run."""
    raise AssertionError("a handler ran")


def without_value() -> None:
    """Takes nothing."""


def of_three(_one: Any, _two: Any, _three: Any) -> None:
    """Takes too much."""


def by_name(_one: Any, *, _two: Any) -> None:
    """Takes what nobody gives."""


def generator(_one: Any) -> Iterator[int]:
    """Runs nothing when it is called."""
    yield 1


class AsyncArgumentCases(AsyncQueueCases):
    """What `QueueError` and `PublishError` say of values that fit nowhere."""

    async def refused(self, use: Any, kind: type[QueueError] = QueueError) -> None:
        """`use` raises that the argument is wrong, with a remedy, and not worth another try."""
        with pytest.raises(kind) as caught:
            await use()
        assert (caught.value.code, caught.value.retryable) == (ErrorCode.INVALID_ARGUMENT, False)
        assert caught.value.remedy
        assert caught.value.resource

    @pytest.mark.parametrize("wrong", DURATIONS, ids=repr)
    async def test_wrong_durations_are_told_before_a_message_pays(self, opened: Any, wrong: Any) -> None:
        queue = await opened()
        await queue.publish(b"x")
        await self.refused(lambda: queue.receive(wait=wrong))
        await self.refused(lambda: queue.receive(lease=wrong))
        await self.refused(lambda: queue.consume(nobody, lease=wrong))
        await self.refused(lambda: queue.consume(nobody, until=wrong))
        await self.refused(lambda: queue.consume(nobody, kill_switch=KillSwitch(pause=wrong)))
        await self.refused(lambda: queue.publish(b"x", timeout=wrong))
        await self.refused(lambda: queue.publish_many([b"x"], timeout=wrong))
        await self.refused(lambda: queue.publish(b"x", delay=wrong), PublishError)
        (delivery,) = await receive_all(queue, 1)
        assert delivery.attempt == 1
        await self.refused(lambda: delivery.retry(delay=wrong))
        await self.refused(lambda: delivery.extend(wrong))
        await delivery.ack()

    async def test_a_lease_of_nothing_is_wrong(self, opened: Any) -> None:
        queue = await opened()
        await queue.publish(b"x")
        await self.refused(lambda: queue.receive(lease=0))
        await self.refused(lambda: queue.consume(nobody, lease=timedelta(0)))
        (delivery,) = await receive_all(queue, 1)
        await self.refused(lambda: delivery.extend(0))
        await self.refused(lambda: delivery.dead(None))  # type: ignore[arg-type]
        await delivery.ack()

    @pytest.mark.parametrize("wrong", COUNTS, ids=repr)
    async def test_wrong_numbers_are_told_before_a_message_pays(self, opened: Any, wrong: Any) -> None:
        queue = await opened()
        await self.refused(lambda: queue.receive(max=wrong))
        await self.refused(lambda: queue.peek(wrong))
        await self.refused(lambda: queue.dead_letters.list(wrong))
        await self.refused(lambda: queue.dead_letters.redrive(most=wrong))
        await self.refused(lambda: queue.consume(nobody, concurrency=wrong))
        await self.refused(lambda: queue.consume(nobody, retry=RetryPolicy(max_attempts=wrong)))
        await self.refused(lambda: queue.consume(nobody, kill_switch=KillSwitch(minimum=wrong)))
        if wrong is not None:
            await self.refused(lambda: queue.consume(nobody, prefetch=wrong))

    @pytest.mark.parametrize(
        "wrong",
        [
            {"handler": None},
            {"handler": "app.tasks:handle"},
            {"handler": without_value},
            {"handler": of_three},
            {"handler": by_name},
            {"handler": generator},
            {"on_poison": "drop"},
            {"until": "forever"},
            {"message": 5},
            {"retry": 3},
            {"retry": RetryPolicy(backoff=1.0)},  # type: ignore[arg-type]
            {"retry": RetryPolicy(fatal=("ValueError",))},  # type: ignore[arg-type]
            {"kill_switch": True},
            {"kill_switch": KillSwitch(threshold=2)},
            {"summary": {}},
            {"stop": True},
        ],
        ids=lambda wrong: next(iter(wrong)),
    )
    async def test_consuming_in_a_wrong_way_begins_nothing(self, opened: Any, wrong: dict[str, Any]) -> None:
        queue = await opened()
        await queue.publish(b"x")
        await self.refused(lambda: queue.consume(**{"handler": nobody, "until": "empty", **wrong}))
        (delivery,) = await receive_all(queue, 1)
        assert delivery.attempt == 1

    @pytest.mark.parametrize(
        "wrong",
        [
            {"key": 1},
            {"key": "\ud800"},
            {"dedup_key": b"x"},
            {"dedup_key": "\udfff"},
            {"headers": {"a": 1}},
            {"headers": {1: "a"}},
            {"headers": {"a": "\ud800"}},
            {"headers": [("a", "b")]},
        ],
        ids=ascii,
    )
    async def test_what_is_no_text_is_no_part_of_a_message(self, opened: Any, wrong: dict[str, Any]) -> None:
        queue = await opened()
        await self.refused(lambda: queue.publish(b"x", **wrong), PublishError)
        (answer,) = await queue.publish_many([queue.message(b"x", **wrong)])
        assert (type(answer), answer.outcome) == (PublishError, "refused")

    @pytest.mark.parametrize(
        "wrong",
        [
            {"id": ""},
            {"id": 7},
            {"content_type": None},
            {"created_at": "today"},
            {"created_at": datetime(2030, 1, 1)},
            {"deliver_at": 5.0},
        ],
        ids=repr,
    )
    async def test_an_envelope_of_the_hosts_own_is_checked_too(self, opened: Any, wrong: dict[str, Any]) -> None:
        queue = await opened()
        await self.refused(lambda: queue.publish(Message(b"x", **wrong)), PublishError)

    async def test_a_list_is_not_taken_apart_where_it_is_none(self, opened: Any) -> None:
        queue = await opened()
        for wrong in ("text", b"bytes", {"a": 1}, 5):
            await self.refused(lambda wrong=wrong: queue.publish_many(wrong))
        await self.refused(lambda: queue.dead_letters.redrive("an-id"))

    async def test_a_backoff_that_is_none_does_not_cost_the_message(self, opened: Any) -> None:
        queue = await opened()
        if not queue.supports(QueueFeature.RETRY_DELAY):
            assert "retry_delay" not in queue.features
            return
        await queue.publish(b"x")
        seen: list[int] = []

        def backoff(attempt: int) -> float:
            return math.nan if attempt == 1 else Backoff(first=0.0)(attempt)

        async def handle(delivery: Any) -> None:
            seen.append(delivery.attempt)
            if len(seen) == 1:
                raise ValueError("once")

        while len(seen) < 2:
            await queue.consume(handle, until=0.5, retry=RetryPolicy(backoff=backoff))
        assert seen[0] == 1 < seen[1]  # some count what was fetched and not begun
