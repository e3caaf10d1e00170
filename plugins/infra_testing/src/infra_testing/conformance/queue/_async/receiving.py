"""Cases of receiving and settling."""

from __future__ import annotations

import time
from typing import Any

import pytest

from infra.errors import UnsupportedError
from infra.queue import LeaseLostError, Message, QueueFeature
from infra.runtime.aio import Background, Stop, gather, sleep
from infra_testing.conformance.queue._async.steps import PATIENCE, AsyncQueueCases, eventually, nothing, receive_all, receive_extended

# async-only: begin
import asyncio  # isort: skip
# async-only: end


class AsyncReceivingCases(AsyncQueueCases):
    """Deliveries, leases and dead letters."""

    async def test_receive_honours_its_maximum(self, opened: Any) -> None:
        """6"""
        queue = await opened()
        await queue.publish_many([b"x"] * 5)
        assert 1 <= len(await queue.receive(max=3, wait=PATIENCE)) <= 3

    async def test_an_empty_wait_ends_on_time_without_spinning(self, opened: Any) -> None:
        """6"""
        queue = await opened()
        wait = max(0.5, self.tick)
        started, busy = time.monotonic(), time.process_time()
        assert await queue.receive(wait=wait) == []
        assert 0.9 * wait <= time.monotonic() - started < PATIENCE
        assert time.process_time() - busy < wait / 2

    async def test_a_waiting_receive_gets_what_is_published_meanwhile(self, opened: Any) -> None:
        queue = await opened()
        found: list[Any] = []
        jobs = Background("receiver")

        async def receive(_stop: Stop) -> None:
            found.extend(await queue.receive(wait=PATIENCE))

        jobs.start(receive, "receive")
        await sleep(0.1)
        await queue.publish(b"x")
        await eventually(lambda: found)
        assert await jobs.stop(PATIENCE)
        await found[0].ack()

    async def test_an_unacknowledged_message_stays_invisible_for_its_lease_then_comes_again(self, opened: Any) -> None:
        """7"""
        queue = await opened()
        receipt = await queue.publish(b"x")
        started = time.monotonic()
        (first,) = await receive_all(queue, 1, lease=self.lease)
        if self.connection_lease:
            assert await nothing(queue)
            await self.cut(queue)
        (second,) = await receive_all(queue, 1)
        assert self.connection_lease or time.monotonic() - started >= self.lease * 0.9
        assert (second.id, first.attempt, second.attempt) == (receipt.id, 1, 2)
        await second.ack()

    async def test_an_extended_lease_keeps_it_invisible(self, opened: Any) -> None:
        """8"""
        queue = await opened()
        await queue.publish(b"x")
        if not queue.supports(QueueFeature.EXTEND):
            (delivery,) = await receive_all(queue, 1)
            with pytest.raises(UnsupportedError, match="extend"):
                await delivery.extend(60)
            return
        delivery = await receive_extended(queue, self.lease, by=600)
        assert await nothing(queue, wait=self.lease * 1.5)
        await delivery.ack()
        with pytest.raises(LeaseLostError):
            await delivery.extend(60)

    async def test_a_lost_lease_cannot_settle(self, opened: Any) -> None:
        """8"""
        queue = await opened()
        await queue.publish_many([b"x"] * 4)
        late = await receive_all(queue, 4, lease=self.lease)
        await self.lapse(queue)
        current = await receive_all(queue, 4, lease=600)
        for settle in (late[0].ack, late[1].retry, lambda: late[2].dead("too late"), lambda: late[3].extend(60)):
            with pytest.raises(LeaseLostError) as caught:
                await settle()
            assert caught.value.remedy
        assert all(delivery.lost for delivery in late[:3])
        for delivery in current:
            await delivery.ack()
        assert await nothing(queue)

    async def test_settling_twice_is_harmless(self, opened: Any) -> None:
        """9"""
        queue = await opened()
        await queue.publish(b"x")
        (delivery,) = await receive_all(queue, 1)
        await delivery.ack()
        await delivery.ack()
        await delivery.retry()
        assert await nothing(queue)

    async def test_a_retry_comes_neither_early_nor_never(self, opened: Any) -> None:
        """10"""
        queue = await opened()
        receipt = await queue.publish(b"x")
        (delivery,) = await receive_all(queue, 1)
        if not queue.supports(QueueFeature.RETRY_DELAY):
            with pytest.raises(UnsupportedError, match="delay"):
                await delivery.retry(delay=1)
            return
        started = time.monotonic()
        await delivery.retry(delay=self.tick)
        (again,) = await receive_all(queue, 1)
        assert time.monotonic() - started >= self.tick * 0.9
        assert (again.id, again.attempt) == (receipt.id, 2)
        await again.retry()
        (once_more,) = await receive_all(queue, 1)
        assert once_more.attempt == 3
        await once_more.ack()

    async def test_a_released_delivery_comes_again_at_once(self, opened: Any) -> None:
        queue = await opened()
        await queue.publish(b"x")
        (delivery,) = await receive_all(queue, 1)
        await delivery.release()
        (again,) = await receive_all(queue, 1)
        assert again.attempt == (1 if queue.supports(QueueFeature.EXACT_ATTEMPTS) else again.attempt)
        await again.ack()

    async def test_a_dead_letter_keeps_its_message_and_redrive_restores_it(self, opened: Any) -> None:
        """11"""
        queue = await opened()
        sent = Message(b"\xff body", headers={"a": "b"}, content_type="application/x-odd")
        await queue.publish_many([sent, b"other"])
        for delivery in await receive_all(queue, 2):
            await delivery.dead(f"beyond repair: {delivery.id}")
        assert await nothing(queue)
        if not queue.supports(QueueFeature.DEAD_LETTERS):
            with pytest.raises(UnsupportedError, match="dead_letters"):
                await queue.dead_letters.list()
            return
        letters = {letter.message.id: letter for letter in await queue.dead_letters.list()}
        letter = letters[sent.id]
        assert len(letters) == 2
        assert letter.reason == f"beyond repair: {sent.id}"
        assert (letter.message.body, letter.message.content_type, dict(letter.message.headers)) == (
            sent.body,
            sent.content_type,
            {"a": "b"},
        )
        assert len(await queue.dead_letters.list(most=1)) == 1
        assert await queue.dead_letters.redrive([sent.id]) == 1
        (delivery,) = await receive_all(queue, 1)
        assert (delivery.id, delivery.body, delivery.attempt) == (sent.id, sent.body, 1)
        await delivery.ack()
        assert await queue.dead_letters.redrive() == 1
        assert await queue.dead_letters.list() == []
        (delivery,) = await receive_all(queue, 1)
        assert delivery.body == b"other"

    async def test_a_cancelled_receive_loses_nothing(self, opened: Any) -> None:
        """17"""
        queue, publisher = await opened(), await opened()
        count = 60
        found: list[bytes] = []
        jobs = Background("publisher")

        async def publish(_stop: Stop) -> None:
            for number in range(count):
                await publisher.publish(str(number).encode())

        jobs.start(publish, "publish")
        # async-only: begin
        for number in range(40):
            task = asyncio.create_task(queue.receive(max=2, wait=5, lease=600))
            await asyncio.sleep(0.001 * (number % 7))
            task.cancel()
            try:
                found += [delivery.body for delivery in await task]
            except asyncio.CancelledError:
                pass
        # async-only: end
        # sync-only: for _ in range(40):
        # sync-only:     queue.driver.interrupt(queue.queue)
        # sync-only:     found += [delivery.body for delivery in queue.receive(max=2, wait=0, lease=600)]
        found += [delivery.body for delivery in await receive_all(queue, count - len(found), lease=600)]
        assert sorted(map(int, found)) == list(range(count))
        assert await jobs.stop(PATIENCE)

    async def test_stats_match_what_is_there(self, opened: Any) -> None:
        """23"""
        queue = await opened()
        stats = await queue.stats()
        assert (stats.ready, stats.in_flight, stats.dead) == (0, 0, 0)
        assert not stats.delayed
        await queue.publish_many([b"x"] * 6)
        if queue.supports(QueueFeature.DELAY):
            await queue.publish_many([queue.message(b"later", delay=3600)] * 2)
        deliveries = await receive_all(queue, 3)
        await deliveries[0].dead("no use")
        await deliveries[1].ack()
        stats = await queue.stats()
        delayed = 2 if queue.supports(QueueFeature.DELAY) else 0
        assert (stats.ready, stats.in_flight, stats.dead) == (3, 1, 1)
        assert stats.delayed in (delayed, None)
        assert stats.oldest is None or stats.oldest >= 0

    async def test_peek_takes_nothing(self, opened: Any) -> None:
        queue = await opened()
        await queue.publish_many([b"1", b"2", b"3"])
        if not queue.supports(QueueFeature.PEEK):
            with pytest.raises(UnsupportedError, match="peek"):
                await queue.peek()
            return
        assert [message.body for message in await queue.peek(2)] == [b"1", b"2"]
        assert len(await receive_all(queue, 3)) == 3
        assert await queue.peek() == []

    async def test_purge_empties_the_queue_but_for_what_is_held(self, opened: Any) -> None:
        queue = await opened()
        await queue.publish_many([b"x"] * 5)
        held, dead = await receive_all(queue, 2)
        await dead.dead("no use")
        if not queue.supports(QueueFeature.PURGE):
            with pytest.raises(UnsupportedError, match="purge"):
                await queue.purge()
            return
        assert await queue.purge() == 3
        assert await nothing(queue)
        await held.ack()
        assert await queue.dead_letters.purge() == 1
        stats = await queue.stats()
        assert (stats.ready, stats.in_flight, stats.dead) == (0, 0, 0)

    async def test_purge_reaches_what_is_delayed(self, opened: Any) -> None:
        queue = await opened()
        if not queue.supports(QueueFeature.DELAY) or not queue.supports(QueueFeature.PURGE):
            assert not {"delay", "purge"} <= queue.features
            return
        await queue.publish_many([queue.message(b"soon", delay=self.tick * 2), queue.message(b"tomorrow", delay=86400), b"now"])
        purged = await queue.purge()
        if not queue.driver.limits.purges_delayed:  # and says so
            assert (await queue.stats()).delayed == 2
            return
        assert purged == 3 or (await queue.stats()).approximate
        assert await nothing(queue, wait=self.tick * 2.5)

    async def test_messages_of_one_key_come_one_at_a_time_in_order(self, opened: Any) -> None:
        """13"""
        queue = await opened()
        if not queue.supports(QueueFeature.ORDERING):
            with pytest.raises(UnsupportedError, match="ordering"):
                await queue.publish(b"x", key="k")
            return
        await queue.publish_many([queue.message(f"{key}{number}".encode(), key=key) for number in range(3) for key in ("a", "b")])
        first = await receive_all(queue, 2)
        assert sorted(delivery.body for delivery in first) == [b"a0", b"b0"]
        assert await nothing(queue)
        await next(delivery for delivery in first if delivery.key == "a").ack()
        (second,) = await receive_all(queue, 1)
        assert second.body == b"a1"
        await second.retry()
        (second,) = await receive_all(queue, 1)
        assert (second.body, second.attempt) == (b"a1", 2)
        await second.dead("out of the way")
        (third,) = await receive_all(queue, 1)
        assert third.body == b"a2"

    async def test_two_receivers_share_without_overlap(self, opened: Any) -> None:
        """15"""
        one, two = await opened(), await opened()
        await one.publish_many([str(number).encode() for number in range(200)])
        found: list[bytes] = []

        async def take(queue: Any) -> None:
            while len(found) < 200:
                for delivery in await queue.receive(max=7, wait=0.1, lease=600):
                    found.append(delivery.body)
                    await delivery.ack()

        await gather(lambda: take(one), lambda: take(two))
        assert sorted(map(int, found)) == list(range(200))
