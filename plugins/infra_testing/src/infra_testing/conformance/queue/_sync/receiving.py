# Generated from receiving.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""Cases of receiving and settling."""

from __future__ import annotations

import time
from typing import Any

import pytest

from infra.errors import UnsupportedError
from infra.queue import LeaseLostError, Message, QueueFeature
from infra.runtime.threads import Background, Stop, gather, sleep
from infra_testing.conformance.queue._sync.steps import PATIENCE, QueueCases, eventually, nothing, receive_all, receive_extended


class ReceivingCases(QueueCases):
    """Deliveries, leases and dead letters."""

    def test_receive_honours_its_maximum(self, opened: Any) -> None:
        """6"""
        queue = opened()
        queue.publish_many([b"x"] * 5)
        assert 1 <= len(queue.receive(max=3, wait=PATIENCE)) <= 3

    def test_an_empty_wait_ends_on_time_without_spinning(self, opened: Any) -> None:
        """6"""
        queue = opened()
        wait = max(0.5, self.tick)
        started, busy = time.monotonic(), time.process_time()
        assert queue.receive(wait=wait) == []
        assert 0.9 * wait <= time.monotonic() - started < PATIENCE
        assert time.process_time() - busy < wait / 2

    def test_a_waiting_receive_gets_what_is_published_meanwhile(self, opened: Any) -> None:
        queue = opened()
        found: list[Any] = []
        jobs = Background("receiver")

        def receive(_stop: Stop) -> None:
            found.extend(queue.receive(wait=PATIENCE))

        jobs.start(receive, "receive")
        sleep(0.1)
        queue.publish(b"x")
        eventually(lambda: found)
        assert jobs.stop(PATIENCE)
        found[0].ack()

    def test_an_unacknowledged_message_stays_invisible_for_its_lease_then_comes_again(self, opened: Any) -> None:
        """7"""
        queue = opened()
        receipt = queue.publish(b"x")
        started = time.monotonic()
        (first,) = receive_all(queue, 1, lease=self.lease)
        if self.connection_lease:
            assert nothing(queue)
            self.cut(queue)
        (second,) = receive_all(queue, 1)
        assert self.connection_lease or time.monotonic() - started >= self.lease * 0.9
        assert (second.id, first.attempt, second.attempt) == (receipt.id, 1, 2)
        second.ack()

    def test_an_extended_lease_keeps_it_invisible(self, opened: Any) -> None:
        """8"""
        queue = opened()
        queue.publish(b"x")
        if not queue.supports(QueueFeature.EXTEND):
            (delivery,) = receive_all(queue, 1)
            with pytest.raises(UnsupportedError, match="extend"):
                delivery.extend(60)
            return
        delivery = receive_extended(queue, self.lease, by=600)
        assert nothing(queue, wait=self.lease * 1.5)
        delivery.ack()
        with pytest.raises(LeaseLostError):
            delivery.extend(60)

    def test_a_lost_lease_cannot_settle(self, opened: Any) -> None:
        """8"""
        queue = opened()
        queue.publish_many([b"x"] * 4)
        late = receive_all(queue, 4, lease=self.lease)
        self.lapse(queue)
        current = receive_all(queue, 4, lease=600)
        for settle in (late[0].ack, late[1].retry, lambda: late[2].dead("too late"), lambda: late[3].extend(60)):
            with pytest.raises(LeaseLostError) as caught:
                settle()
            assert caught.value.remedy
        assert all(delivery.lost for delivery in late[:3])
        for delivery in current:
            delivery.ack()
        assert nothing(queue)

    def test_settling_twice_is_harmless(self, opened: Any) -> None:
        """9"""
        queue = opened()
        queue.publish(b"x")
        (delivery,) = receive_all(queue, 1)
        delivery.ack()
        delivery.ack()
        delivery.retry()
        assert nothing(queue)

    def test_a_retry_comes_neither_early_nor_never(self, opened: Any) -> None:
        """10"""
        queue = opened()
        receipt = queue.publish(b"x")
        (delivery,) = receive_all(queue, 1)
        if not queue.supports(QueueFeature.RETRY_DELAY):
            with pytest.raises(UnsupportedError, match="delay"):
                delivery.retry(delay=1)
            return
        started = time.monotonic()
        delivery.retry(delay=self.tick)
        (again,) = receive_all(queue, 1)
        assert time.monotonic() - started >= self.tick * 0.9
        assert (again.id, again.attempt) == (receipt.id, 2)
        again.retry()
        (once_more,) = receive_all(queue, 1)
        assert once_more.attempt == 3
        once_more.ack()

    def test_a_released_delivery_comes_again_at_once(self, opened: Any) -> None:
        queue = opened()
        queue.publish(b"x")
        (delivery,) = receive_all(queue, 1)
        delivery.release()
        (again,) = receive_all(queue, 1)
        assert again.attempt == (1 if queue.supports(QueueFeature.EXACT_ATTEMPTS) else again.attempt)
        again.ack()

    def test_a_dead_letter_keeps_its_message_and_redrive_restores_it(self, opened: Any) -> None:
        """11"""
        queue = opened()
        sent = Message(b"\xff body", headers={"a": "b"}, content_type="application/x-odd")
        queue.publish_many([sent, b"other"])
        for delivery in receive_all(queue, 2):
            delivery.dead(f"beyond repair: {delivery.id}")
        assert nothing(queue)
        if not queue.supports(QueueFeature.DEAD_LETTERS):
            with pytest.raises(UnsupportedError, match="dead_letters"):
                queue.dead_letters.list()
            return
        letters = {letter.message.id: letter for letter in queue.dead_letters.list()}
        letter = letters[sent.id]
        assert len(letters) == 2
        assert letter.reason == f"beyond repair: {sent.id}"
        assert (letter.message.body, letter.message.content_type, dict(letter.message.headers)) == (
            sent.body,
            sent.content_type,
            {"a": "b"},
        )
        assert len(queue.dead_letters.list(most=1)) == 1
        assert queue.dead_letters.redrive([sent.id]) == 1
        (delivery,) = receive_all(queue, 1)
        assert (delivery.id, delivery.body, delivery.attempt) == (sent.id, sent.body, 1)
        delivery.ack()
        assert queue.dead_letters.redrive() == 1
        assert queue.dead_letters.list() == []
        (delivery,) = receive_all(queue, 1)
        assert delivery.body == b"other"

    def test_a_cancelled_receive_loses_nothing(self, opened: Any) -> None:
        """17"""
        queue, publisher = opened(), opened()
        count = 60
        found: list[bytes] = []
        jobs = Background("publisher")

        def publish(_stop: Stop) -> None:
            for number in range(count):
                publisher.publish(str(number).encode())

        jobs.start(publish, "publish")
        for _ in range(40):
            queue.driver.interrupt(queue.queue)
            found += [delivery.body for delivery in queue.receive(max=2, wait=0, lease=600)]
        found += [delivery.body for delivery in receive_all(queue, count - len(found), lease=600)]
        assert sorted(map(int, found)) == list(range(count))
        assert jobs.stop(PATIENCE)

    def test_stats_match_what_is_there(self, opened: Any) -> None:
        """23"""
        queue = opened()
        stats = queue.stats()
        assert (stats.ready, stats.in_flight, stats.dead) == (0, 0, 0)
        assert not stats.delayed
        queue.publish_many([b"x"] * 6)
        if queue.supports(QueueFeature.DELAY):
            queue.publish_many([queue.message(b"later", delay=3600)] * 2)
        deliveries = receive_all(queue, 3)
        deliveries[0].dead("no use")
        deliveries[1].ack()
        stats = queue.stats()
        delayed = 2 if queue.supports(QueueFeature.DELAY) else 0
        assert (stats.ready, stats.in_flight, stats.dead) == (3, 1, 1)
        assert stats.delayed in (delayed, None)
        assert stats.oldest is None or stats.oldest >= 0

    def test_peek_takes_nothing(self, opened: Any) -> None:
        queue = opened()
        queue.publish_many([b"1", b"2", b"3"])
        if not queue.supports(QueueFeature.PEEK):
            with pytest.raises(UnsupportedError, match="peek"):
                queue.peek()
            return
        assert [message.body for message in queue.peek(2)] == [b"1", b"2"]
        assert len(receive_all(queue, 3)) == 3
        assert queue.peek() == []

    def test_purge_empties_the_queue_but_for_what_is_held(self, opened: Any) -> None:
        queue = opened()
        queue.publish_many([b"x"] * 5)
        held, dead = receive_all(queue, 2)
        dead.dead("no use")
        if not queue.supports(QueueFeature.PURGE):
            with pytest.raises(UnsupportedError, match="purge"):
                queue.purge()
            return
        assert queue.purge() == 3
        assert nothing(queue)
        held.ack()
        assert queue.dead_letters.purge() == 1
        stats = queue.stats()
        assert (stats.ready, stats.in_flight, stats.dead) == (0, 0, 0)

    def test_purge_reaches_what_is_delayed(self, opened: Any) -> None:
        queue = opened()
        if not queue.supports(QueueFeature.DELAY) or not queue.supports(QueueFeature.PURGE):
            assert not {"delay", "purge"} <= queue.features
            return
        queue.publish_many([queue.message(b"soon", delay=self.tick * 2), queue.message(b"tomorrow", delay=86400), b"now"])
        purged = queue.purge()
        if not queue.driver.limits.purges_delayed:  # and says so
            assert (queue.stats()).delayed == 2
            return
        assert purged == 3 or (queue.stats()).approximate
        assert nothing(queue, wait=self.tick * 2.5)

    def test_messages_of_one_key_come_one_at_a_time_in_order(self, opened: Any) -> None:
        """13"""
        queue = opened()
        if not queue.supports(QueueFeature.ORDERING):
            with pytest.raises(UnsupportedError, match="ordering"):
                queue.publish(b"x", key="k")
            return
        queue.publish_many([queue.message(f"{key}{number}".encode(), key=key) for number in range(3) for key in ("a", "b")])
        first = receive_all(queue, 2)
        assert sorted(delivery.body for delivery in first) == [b"a0", b"b0"]
        assert nothing(queue)
        next(delivery for delivery in first if delivery.key == "a").ack()
        (second,) = receive_all(queue, 1)
        assert second.body == b"a1"
        second.retry()
        (second,) = receive_all(queue, 1)
        assert (second.body, second.attempt) == (b"a1", 2)
        second.dead("out of the way")
        (third,) = receive_all(queue, 1)
        assert third.body == b"a2"

    def test_two_receivers_share_without_overlap(self, opened: Any) -> None:
        """15"""
        one, two = opened(), opened()
        one.publish_many([str(number).encode() for number in range(200)])
        found: list[bytes] = []

        def take(queue: Any) -> None:
            while len(found) < 200:
                for delivery in queue.receive(max=7, wait=0.1, lease=600):
                    found.append(delivery.body)
                    delivery.ack()

        gather(lambda: take(one), lambda: take(two))
        assert sorted(map(int, found)) == list(range(200))
