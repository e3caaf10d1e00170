"""Queues that were broken on purpose: each turns the suite red, with the case that says why."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator
from functools import wraps
from typing import Any

import pytest

from infra.errors import ErrorCode
from infra.queue import PublishOutcome
from infra.queue.model import ACK, Durability, Receipt, Retry, SendFailure, Settled
from infra_testing.conformance.queue import AsyncQueueConformance
from infra_testing.conformance.queue._async import faults, steps
from infra_testing.harness import Harness
from infra_testing.private import PrivateServer
from infra_testing.services import RedisServer


def replace(driver: Any, **methods: Any) -> None:
    """``replace(driver, send=wrapper)``: each wrapper gets the method it takes the place of."""
    for name, wrapper in methods.items():
        original = getattr(driver, name)
        setattr(driver, name, wraps(original)(wrapper(original)))


def hasty(driver: Any) -> None:
    """A receipt before the message is stored."""
    jobs = set[asyncio.Future[Any]]()

    def send(method: Any) -> Any:
        async def store(*args: Any) -> None:
            await asyncio.sleep(0.002)
            await method(*args)

        async def call(queue: str, batch: Any, timeout: float) -> Any:
            jobs.add(asyncio.ensure_future(store(queue, batch, timeout)))
            return [Receipt(one.id, Durability.DISK) for one in batch]

        return call

    replace(driver, send=send)


def sends(**changes: Any) -> Any:
    """Change each message before it is sent."""

    def plant(driver: Any) -> None:
        def send(method: Any) -> Any:
            async def call(queue: str, batch: Any, timeout: float) -> Any:
                return await method(queue, [dataclasses.replace(one, **changes) for one in batch], timeout)

            return call

        replace(driver, send=send)

    return plant


def unshielded(driver: Any) -> None:
    def settle(method: Any) -> Any:
        async def call(*args: Any) -> Any:
            for _ in range(10):
                await asyncio.sleep(0)
            return await method(*args)

        return call

    replace(driver, settle=settle)


def settles(answer: Any = None, **changes: Any) -> Any:
    """Answer settlements so, or change the retries among them."""

    def plant(driver: Any) -> None:
        def settle(method: Any) -> Any:
            async def call(queue: str, batch: Any, timeout: float) -> Any:
                changed = [
                    (token, dataclasses.replace(action, **changes) if changes and isinstance(action, Retry) else action)
                    for token, action in batch
                ]
                answers = await method(queue, changed, timeout)
                return answers if answer is None else [answer] * len(batch)

            return call

        replace(driver, settle=settle)

    return plant


def receives(change: Any) -> Any:
    """Change what is received."""

    def plant(driver: Any) -> None:
        def receive(method: Any) -> Any:
            async def call(queue: str, most: int, wait: float, lease: float) -> Any:
                return change(await method(queue, most, wait, lease))

            return call

        replace(driver, receive=receive)

    return plant


def uncounted(received: Any) -> Any:
    return [dataclasses.replace(one, message=dataclasses.replace(one.message, attempt=1)) for one in received]


def drops_when_cancelled(driver: Any) -> None:
    def receive(method: Any) -> Any:
        async def call(*args: Any) -> Any:
            taken = await method(*args)
            await asyncio.sleep(0.002)
            return taken

        return call

    replace(driver, receive=receive)


def greedy(driver: Any) -> None:
    def receive(method: Any) -> Any:
        async def call(queue: str, most: int, wait: float, lease: float) -> Any:
            return await method(queue, most + 2, wait, lease)

        return call

    replace(driver, receive=receive)


def long_lease(driver: Any) -> None:
    def receive(method: Any) -> Any:
        async def call(queue: str, most: int, wait: float, lease: float) -> Any:
            return await method(queue, most, wait, lease + 600)

        return call

    replace(driver, receive=receive)


def peek_takes(driver: Any) -> None:
    def peek(method: Any) -> Any:
        async def call(queue: str, most: int, timeout: float) -> Any:
            found = await method(queue, most, timeout)
            taken = await driver.receive(queue, most, 0.0, 600.0)
            await driver.settle(queue, [(one.token, ACK) for one in taken], timeout)
            return found

        return call

    replace(driver, peek=peek)


ORDER = "test_messages_of_one_key_come_one_at_a_time_in_order"
EMBEDDED = [
    (hasty, "test_a_receipt_means_that_the_message_is_stored", "receipt before the message was stored"),
    (unshielded, "test_a_settlement_that_has_begun_is_done_though_its_caller_is_cancelled", "dropped with their cancelled caller"),
    (drops_when_cancelled, "test_a_cancelled_receive_loses_nothing", "messages came"),
    (sends(key=None), ORDER, ""),
    (sends(dedup_key=None), "test_duplicates_are_dropped_within_the_window_only", ""),
    (sends(deliver_at=None), "test_a_delay_is_kept", ""),
    (sends(headers={}), "test_a_body_and_its_envelope_come_back_unchanged", ""),
    (settles(Settled.DONE), "test_a_lost_lease_cannot_settle", ""),
    (settles(delay=0.0), "test_a_retry_comes_neither_early_nor_never", ""),
    (receives(uncounted), "test_an_unacknowledged_message_stays_invisible_for_its_lease_then_comes_again", ""),
    (long_lease, "test_an_unacknowledged_message_stays_invisible_for_its_lease_then_comes_again", "messages came"),
    (greedy, "test_receive_honours_its_maximum", ""),
    (peek_takes, "test_peek_takes_nothing", ""),
]


@pytest.fixture(autouse=True)
def less_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What never comes is waited for no longer than this."""
    monkeypatch.setattr(steps, "PATIENCE", 3.0)


@pytest.mark.parametrize(("plant", "case", "reason"), EMBEDDED)
async def test_a_broken_queue_turns_the_suite_red(
    run_case: Any, monkeypatch: pytest.MonkeyPatch, plant: Any, case: str, reason: str
) -> None:
    harness = Harness("memory", plugin="infra_local")
    more = {"body": b"plain"} if "envelope" in case else {}
    await run_case(AsyncQueueConformance, case, harness, None, **more)
    monkeypatch.setattr(faults, "GIVING_UP", 1.0)
    with pytest.raises((AssertionError, pytest.fail.Exception, ValueError)) as caught:
        await run_case(AsyncQueueConformance, case, harness, plant, **more)
    assert reason in str(caught.value)


own_server = PrivateServer(RedisServer, lambda port: {"port": port})
memory_server = PrivateServer(lambda: RedisServer({"appendonly": "no"}), lambda port: {"port": port})


@pytest.fixture(scope="module")
def redis() -> Iterator[Harness]:
    yield Harness("redis", {"host": "127.0.0.1", "queue": "broken"}, "infra_redis", server=own_server)
    own_server.close()
    memory_server.close()


def says_refused(driver: Any) -> None:
    def send(method: Any) -> Any:
        async def call(queue: str, batch: Any, timeout: float) -> Any:
            try:
                answers = await method(queue, batch, timeout)
            except Exception as error:
                return [SendFailure(PublishOutcome.REFUSED, error)] * len(batch)
            return [SendFailure(PublishOutcome.REFUSED, one.error) if isinstance(one, SendFailure) else one for one in answers]

        return call

    replace(driver, send=send)


def swallows(driver: Any) -> None:
    """A receipt whatever happened."""

    def send(method: Any) -> Any:
        async def call(queue: str, batch: Any, timeout: float) -> Any:
            try:
                await method(queue, batch, timeout)
            except Exception:
                pass
            return [Receipt(one.id, Durability.DISK) for one in batch]

        return call

    replace(driver, send=send)


def claims_disk(driver: Any) -> None:
    def send(method: Any) -> Any:
        async def call(queue: str, batch: Any, timeout: float) -> Any:
            answers = await method(queue, batch, timeout)
            return [Receipt(one.id, Durability.DISK) if isinstance(one, Receipt) else one for one in answers]

        return call

    replace(driver, send=send)


def patient(driver: Any) -> None:
    def send(method: Any) -> Any:
        async def call(queue: str, batch: Any, timeout: float) -> Any:
            return await method(queue, batch, timeout + 3)

        return call

    replace(driver, send=send)


def unclassified(driver: Any) -> None:
    driver.classify = lambda error: ErrorCode.INTERNAL


def leaky(driver: Any) -> None:
    async def close(_timeout: float) -> None:
        pass

    driver.close_after_all = driver.close
    driver.close = close


SERVER = [
    (says_refused, "test_an_answer_that_is_lost_leaves_the_outcome_unknown", "told as refused"),
    (says_refused, "test_a_silent_server_costs_no_more_than_the_timeout", "told as refused"),
    (swallows, "test_an_answer_that_is_lost_leaves_the_outcome_unknown", "a receipt for what the server never confirmed"),
    (patient, "test_a_silent_server_costs_no_more_than_the_timeout", "does not keep to its timeout"),
    (unclassified, "test_a_server_that_refuses_is_unavailable_and_found_again", "is told as INTERNAL"),
    (leaky, "test_closing_ends_all_connections", "connections open"),
]


@pytest.mark.parametrize(("plant", "case", "reason"), SERVER)
async def test_a_queue_that_fails_with_its_server_turns_the_suite_red(
    run_case: Any, redis: Harness, monkeypatch: pytest.MonkeyPatch, plant: Any, case: str, reason: str
) -> None:
    monkeypatch.setattr(steps, "PATIENCE", 30.0)
    own = redis.with_settings(queue=f"whole.{plant.__name__}.{len(case)}")
    await run_case(AsyncQueueConformance, case, own, None)
    monkeypatch.setattr(faults, "GIVING_UP", 1.0)
    own = redis.with_settings(queue=f"broken.{plant.__name__}.{len(case)}")
    with pytest.raises(AssertionError, match=reason):
        await asyncio.wait_for(run_case(AsyncQueueConformance, case, own, plant), 100)


async def test_a_false_durability_turns_the_suite_red(run_case: Any, redis: Harness) -> None:
    case = "test_no_receipt_is_lost_with_a_server_that_is_killed"
    await run_case(AsyncQueueConformance, case, redis.with_settings(queue="durable"), None)
    forgetful = dataclasses.replace(redis.with_settings(queue="forgetful"), server=memory_server)
    with pytest.raises(AssertionError, match="that were on disk by their receipts"):
        await run_case(AsyncQueueConformance, case, forgetful, claims_disk)
