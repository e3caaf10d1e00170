"""Cases of consuming."""

from __future__ import annotations

import threading
import time
from typing import Any

import pydantic
import pytest

from infra.queue import Backoff, KillSwitch, Message, QueueFeature, RetryPolicy
from infra.queue.model import Retry, Settled
from infra.runtime.aio import Background, Event, Stop, gather, sleep, wait_for
from infra.runtime.deadline import Deadline
from infra_testing.conformance.queue._async.steps import (
    PATIENCE,
    AsyncConsuming,
    AsyncQueueCases,
    at_rest,
    eventually,
    nothing,
    receive_all,
)


class Order(pydantic.BaseModel):
    """What the typed cases publish."""

    number: int
    note: str = ""


def at_once(_attempt: int) -> float:
    """No wait between attempts."""
    return 0.0


def ignore(_delivery: Any) -> None:
    """A handler that has nothing to do."""


class AsyncConsumingCases(AsyncQueueCases):
    """The consumer's policy over this provider."""

    def quick(self, fatal: tuple[type[BaseException], ...] = ()) -> RetryPolicy:
        """A policy that retries at once."""
        return RetryPolicy(max_attempts=3, backoff=at_once, fatal=fatal)

    async def test_a_typed_handler_gets_models_and_what_does_not_decode_is_a_dead_letter(self, opened: Any) -> None:
        """24"""
        queue = await opened()
        await queue.publish_many(
            [Order(number=1, note="ž"), {"number": 2}, {"number": "none"}, b"\xff\xfe", Message(b"{", "odd", "image/png")]
        )
        seen: list[Order] = []

        async def handle(order: Order) -> None:
            seen.append(order)

        summary = await queue.consume(handle, message=Order, until="empty")
        assert sorted(seen, key=lambda order: order.number) == [Order(number=1, note="ž"), Order(number=2)]
        assert (summary.handled, summary.dead) == (2, 3)
        letters = await queue.dead_letters.list()
        assert sorted(letter.message.body for letter in letters) == sorted([b'{"number":"none"}', b"\xff\xfe", b"{"])
        assert any("number" in letter.reason for letter in letters)
        assert any("image/png" in letter.reason for letter in letters)

    async def test_a_handler_may_also_take_the_delivery(self, opened: Any) -> None:
        queue = await opened()
        receipt = await queue.publish(Order(number=1))
        seen: list[Any] = []

        async def handle(order: Order, delivery: Any) -> None:
            seen.append((order.number, delivery.id))

        await queue.consume(handle, message=Order, until="empty")
        assert seen == [(1, receipt.id)]

    async def test_a_handler_may_settle_itself(self, opened: Any) -> None:
        queue = await opened()
        await queue.publish(b"x")

        async def handle(delivery: Any) -> None:
            await delivery.dead("the handler said so")

        await queue.consume(handle, until="empty")
        assert [letter.reason for letter in await queue.dead_letters.list()] == ["the handler said so"]

    async def test_plain_functions_are_handlers_too(self, opened: Any) -> None:
        queue = await opened()
        await queue.publish_many([b"1", b"2"])
        seen: list[bytes] = []

        def handle(delivery: Any) -> None:
            seen.append(delivery.body)

        await queue.consume(handle, until="empty", concurrency=2)
        assert sorted(seen) == [b"1", b"2"]

    async def test_what_fails_too_often_is_a_dead_letter_with_its_reason(self, opened: Any) -> None:
        """11"""
        queue = await opened()
        receipt = await queue.publish(b"poison")
        attempts: list[int] = []

        async def handle(delivery: Any) -> None:
            attempts.append(delivery.attempt)
            raise ValueError("cannot digest this")

        summary = await queue.consume(handle, until="empty", retry=self.quick())
        assert attempts == [1, 2, 3]
        assert (summary.retried, summary.dead) == (2, 1)
        (letter,) = await queue.dead_letters.list()
        assert (letter.message.id, letter.message.body, letter.message.attempt) == (receipt.id, b"poison", 3)
        assert "cannot digest this" in letter.reason
        assert await queue.dead_letters.redrive() == 1
        (delivery,) = await receive_all(queue, 1)
        assert (delivery.id, delivery.attempt) == (receipt.id, 1)

    async def test_a_fatal_exception_and_discarding(self, opened: Any) -> None:
        queue = await opened()
        await queue.publish(b"x")

        async def handle(_delivery: Any) -> None:
            raise KeyError("never")

        summary = await queue.consume(handle, until="empty", retry=self.quick(fatal=(LookupError,)), on_poison="discard")
        assert (summary.dead, summary.retried) == (1, 0)
        assert await queue.dead_letters.list() == []
        assert await nothing(queue)

    async def test_a_message_that_kills_its_worker_is_a_dead_letter_too(self, opened: Any) -> None:
        """11"""
        queue = await opened()
        await queue.publish(b"crash")
        for number in range(3):  # workers that end without a word
            await receive_all(queue, 1, lease=self.lease)
            if self.connection_lease or number == 2:  # time ends the others while the next one waits
                await self.lapse(queue)
        handled: list[Any] = []
        summary = await queue.consume(handled.append, until="empty", retry=self.quick())
        assert (handled, summary.dead) == ([], 1)
        (letter,) = await queue.dead_letters.list()
        assert "delivered 4 times" in letter.reason

    async def test_what_was_not_begun_when_its_worker_died_is_no_poison(self, opened: Any) -> None:
        """Even where only one attempt is allowed."""
        queue = await opened()
        await queue.publish_many([b"1", b"2"])
        taken: list[Any] = []
        while len(taken) < 2:
            taken += await queue.driver.receive(queue.queue, 2 - len(taken), PATIENCE, self.lease)
        if taken[0].abandoned is None:
            return  # the provider cannot tell, and says so
        await self.lapse(queue)
        handled: list[bytes] = []

        async def handle(delivery: Any) -> None:
            handled.append(delivery.body)

        async with AsyncConsuming(queue, handle, retry=RetryPolicy(max_attempts=1)) as consuming:
            await eventually(lambda: len(handled) == 2)
        assert (sorted(handled), consuming.summary.dead) == ([b"1", b"2"], 0)

    async def test_what_ended_well_is_not_run_again_when_its_acknowledgement_came_too_late(self, opened: Any) -> None:
        queue = await opened()
        await queue.publish(b"x")
        runs: list[int] = []

        async def handle(delivery: Any) -> None:
            runs.append(delivery.attempt)
            await queue.driver.settle(queue.queue, [(delivery._token, Retry())], PATIENCE)  # as if its lease had ended

        async with AsyncConsuming(queue, handle) as consuming:
            await eventually(lambda: consuming.summary.handled)
        assert (runs, consuming.summary.lost) == ([1], 1)
        await at_rest(queue, 0)

    @pytest.mark.parametrize("concurrency", [1, 4])
    async def test_what_was_abandoned_together_is_begun_alone(self, opened: Any, concurrency: int) -> None:
        """The one that killed its worker may be among them; each of the others would lose an attempt with it."""
        queue, other = await opened(), await opened()
        await queue.publish_many([str(number).encode() for number in range(6)])
        taken: list[Any] = []
        while len(taken) < 6:
            taken += await queue.driver.receive(queue.queue, 6 - len(taken), PATIENCE, self.lease)
        if taken[0].abandoned is None:
            return  # the provider cannot tell, and says so
        await self.lapse(queue)
        seen: list[tuple[int, int]] = []

        async def handle(delivery: Any) -> None:
            if not seen:
                seen.extend([(int(one.body), one.attempt) for one in await other.receive(max=5, wait=1)])
            seen.append((int(delivery.body), delivery.attempt))

        async with AsyncConsuming(queue, handle, concurrency=concurrency, prefetch=6):
            await eventually(lambda: len(seen) >= 6)
        assert sorted(seen) == [(number, 2) for number in range(6)]

    async def test_order_by_key_holds_under_four_consumers_with_retries(self, opened: Any) -> None:
        """13"""
        queues = [await opened() for _ in range(4)]
        if not queues[0].supports(QueueFeature.ORDERING):
            assert "ordering" not in queues[0].features
            return
        keys, each = ("a", "b", "c", "d", "e"), 12
        await queues[0].publish_many([queues[0].message(str(number).encode(), key=key) for number in range(each) for key in keys])
        handled: dict[str, list[int]] = {key: [] for key in keys}

        async def handle(delivery: Any) -> None:
            number = int(delivery.body)
            if number % 4 == 1 and delivery.attempt == 1:
                raise RuntimeError("once more")
            handled[delivery.key].append(number)

        retry = RetryPolicy(backoff=Backoff(first=0.01, longest=0.05))
        first, *others = [AsyncConsuming(queue, handle, retry=retry, concurrency=3) for queue in queues]
        async with first, others[0], others[1], others[2]:
            await eventually(lambda: sum(map(len, handled.values())) >= each * len(keys))
        assert handled == {key: list(range(each)) for key in keys}

    async def test_two_consumers_handle_each_message_once(self, opened: Any) -> None:
        """15"""
        one, two = await opened(), await opened()
        await one.publish_many([str(number).encode() for number in range(300)])
        handled: list[int] = []

        async def handle(delivery: Any) -> None:
            handled.append(int(delivery.body))

        await gather(lambda: one.consume(handle, until="empty"), lambda: two.consume(handle, until="empty"))
        assert sorted(handled) == list(range(300))
        await at_rest(one, 0)

    async def test_unsettled_never_exceeds_the_credit(self, opened: Any) -> None:
        """20"""
        queue, other = await opened(), await opened()
        watcher = queue if (await queue.stats()).approximate else other  # which may see its own deliveries only
        await queue.publish_many([b"x"] * 40)
        gate = Event()
        most = 0

        async def handle(_delivery: Any) -> None:
            await wait_for(gate, PATIENCE)

        async with AsyncConsuming(queue, handle, concurrency=2, prefetch=5) as consuming:
            begun, patience = Deadline(0.2), Deadline(PATIENCE)
            while consuming.summary.handled < 40:
                assert not patience.passed, consuming.summary
                most = max(most, (await watcher.stats()).in_flight)
                if most >= 2 and begun.passed:
                    gate.set()
                await sleep(0.005)
        assert 2 <= most <= 5

    async def test_a_lease_is_renewed_while_its_handler_runs(self, opened: Any) -> None:
        queue = await opened()
        await queue.publish(b"long")
        attempts: list[int] = []

        async def handle(delivery: Any) -> None:
            attempts.append(delivery.attempt)
            await sleep(self.lease * 2)

        if not queue.supports(QueueFeature.EXTEND):
            assert "extend" not in queue.features
            return
        retry = RetryPolicy(max_attempts=1000)
        async with AsyncConsuming(queue, handle, lease=self.lease, concurrency=2, retry=retry) as consuming:
            await eventually(lambda: consuming.summary.handled)  # never, were it not renewed: who lost a lease cannot settle
        assert attempts[0] == 1
        assert len(attempts) - 1 <= consuming.summary.lost  # where the machine stood still for a lease

    async def test_losing_the_lease_ends_the_handler(self, opened: Any) -> None:
        """8"""
        queue = await opened()
        if not queue.supports(QueueFeature.EXTEND):
            assert "extend" not in queue.features
            return
        await queue.publish(b"x")
        taken: list[Any] = []
        ended: list[str] = []

        async def handle(delivery: Any) -> None:
            taken.append(delivery)
            try:
                for _ in range(int(PATIENCE / 0.05)):
                    await sleep(0.05)
                    if delivery.lost:
                        break
            finally:
                ended.append(delivery.id)

        async with AsyncConsuming(queue, handle, lease=self.lease, concurrency=1) as consuming:
            stolen = 0
            answers: list[Any] = []
            while answers != [Settled.DONE]:  # a machine that stands still loses the lease by itself
                await eventually(lambda stolen=stolen: len(taken) > stolen)
                settlement = (taken[stolen]._token, queue.retry_action(600))  # as if it had ended and been taken
                answers = await queue.driver.settle(queue.queue, [settlement], PATIENCE)
                stolen += 1
            await eventually(lambda: len(ended) == stolen == consuming.summary.lost)
            assert consuming.summary.handled == 0
        assert len(taken) == stolen

    async def test_stopping_finishes_what_runs_and_gives_back_the_rest(self, opened: Any) -> None:
        queue = await opened()
        await queue.publish_many([b"x"] * 10)
        running: list[str] = []
        gate = Event()

        async def handle(delivery: Any) -> None:
            running.append(delivery.id)
            await wait_for(gate, PATIENCE)

        async with AsyncConsuming(queue, handle, concurrency=2, prefetch=10) as consuming:
            await eventually(lambda: len(running) == 2)
            await sleep(0.05)
            consuming.stop.set()
            patience = Deadline(PATIENCE)
            while (await queue.stats()).ready < 8:  # the rest goes back before what runs has ended
                assert not patience.passed, await queue.stats()
                await sleep(0.02)
            gate.set()
        assert consuming.summary.handled == 2
        await at_rest(queue, 8)
        (delivery, *_) = await receive_all(queue, 8)
        assert delivery.attempt == 1 or not queue.supports(QueueFeature.EXACT_ATTEMPTS)

    async def test_a_handler_that_outlasts_the_drain_is_left_to_the_lease(self, opened: Any) -> None:
        queue = await opened(drain_timeout=0.2)
        await queue.publish(b"x")
        running, gate = Event(), threading.Event()

        async def handle(_delivery: Any) -> None:
            running.set()
            for _ in range(int(PATIENCE / 0.02)):
                await sleep(0.02)
                if gate.is_set():
                    return

        async with AsyncConsuming(queue, handle, lease=self.lease) as consuming:
            await wait_for(running, PATIENCE)
            started = time.monotonic()
            consuming.stop.set()
            await eventually(lambda: not consuming._jobs.running)
            assert time.monotonic() - started < PATIENCE
        gate.set()
        if self.connection_lease:
            await self.cut(queue)
        (delivery,) = await receive_all(queue, 1)
        assert delivery.body == b"x"

    async def test_consuming_for_a_time(self, opened: Any) -> None:
        queue = await opened()
        await queue.publish(b"x")
        handled, patience = 0, Deadline(PATIENCE)
        while not handled:
            assert not patience.passed
            handled += (await queue.consume(ignore, until=0.1)).handled
        assert handled == 1

    async def test_closing_the_queue_ends_its_consumers(self, opened: Any) -> None:
        """18"""
        queue, other = await opened(), await opened()
        await queue.publish_many([b"x"] * 20)
        handled: list[str] = []

        async def handle(delivery: Any) -> None:
            await sleep(0.01)
            handled.append(delivery.id)

        jobs = Background("consumer")

        async def consume(_stop: Stop) -> None:
            await queue.consume(handle, concurrency=2)

        jobs.start(consume, "consume")
        await eventually(lambda: len(handled) > 3)
        await queue.close()
        assert await jobs.stop(PATIENCE)
        await at_rest(other, 20 - len(handled))

    async def test_a_kill_switch_pauses_while_everything_fails(self, opened: Any) -> None:
        queue = await opened()
        await queue.publish_many([b"x"] * 100)
        failures: list[str] = []

        async def handle(delivery: Any) -> None:
            failures.append(delivery.id)
            raise ConnectionError("the database is away")

        retry = RetryPolicy(max_attempts=1000, backoff=at_once)
        switch = KillSwitch(threshold=0.5, minimum=10, pause=60.0)
        async with AsyncConsuming(queue, handle, concurrency=1, retry=retry, kill_switch=switch):
            await eventually(lambda: len(failures) >= 10)
            await sleep(0.3)
            assert len(failures) == 10

    async def test_a_consumer_that_finds_nothing_does_not_spin(self, opened: Any) -> None:
        queue = await opened()
        async with AsyncConsuming(queue, ignore):
            await sleep(0.1)
            busy = time.process_time()
            await sleep(0.5)
            assert time.process_time() - busy < 0.25

    @pytest.mark.parametrize("concurrency", [1, 16])
    async def test_everything_published_while_consuming_is_handled(self, opened: Any, concurrency: int) -> None:
        queue = await opened()
        handled: set[str] = set()

        async def handle(delivery: Any) -> None:
            handled.add(delivery.id)

        async with AsyncConsuming(queue, handle, concurrency=concurrency):
            receipts = [await queue.publish(b"x") for _ in range(50)]
            await eventually(lambda: len(handled) == 50)
        assert handled == {receipt.id for receipt in receipts}
        await at_rest(queue, 0)
