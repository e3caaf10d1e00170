# Generated from publishing.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""Cases of publishing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from infra.errors import ClosedError, UnsupportedError
from infra.queue import Message, PublishError, QueueFeature, QueueMissingError, Receipt
from infra.queue.tracing import traceparent
from infra.runtime.threads import Background, Stop, gather
from infra_testing.conformance.queue._sync.steps import PATIENCE, QueueCases, eventually, nothing, receive_all
from infra_testing.harness import Place


class PublishingCases(QueueCases):
    """Envelopes in, receipts out."""

    @pytest.mark.parametrize("body", [b"plain", b"", b"\xff\xfe\x00\x80 not UTF-8", "žluťoučký 🐎".encode(), bytes(range(256)) * 40])
    def test_a_body_and_its_envelope_come_back_unchanged(self, opened: Any, body: bytes) -> None:
        """1"""
        queue = opened()
        before = datetime.now(UTC)
        receipt = queue.publish(body, headers={"name": "žluťoučký 🐎", "empty": ""})
        (delivery,) = receive_all(queue, 1)
        assert delivery.body == body
        assert dict(delivery.headers) == {"name": "žluťoučký 🐎", "empty": ""}
        assert delivery.id == receipt.id
        assert delivery.attempt == 1
        assert before - timedelta(milliseconds=1) <= delivery.created_at <= datetime.now(UTC)
        assert delivery.created_at.tzinfo is not None
        delivery.ack()
        assert nothing(queue)

    def test_an_envelope_of_the_hosts_own_keeps_its_identity(self, opened: Any) -> None:
        queue = opened()
        made = Message(b"{}", id="order-1", content_type="application/json", created_at=datetime(2020, 2, 29, 1, 2, 3, 456789, UTC))
        assert (queue.publish(made)).id == "order-1"
        (delivery,) = receive_all(queue, 1)
        assert (delivery.id, delivery.message.content_type, delivery.created_at) == ("order-1", "application/json", made.created_at)
        assert delivery.decode() == {}
        delivery.ack()

    def test_a_queue_that_is_missing_is_named(self, opened: Any) -> None:
        """2"""
        with pytest.raises(QueueMissingError, match="nowhere") as caught:
            opened(queue="nowhere", topology="check")
        assert caught.value.remedy

    def test_publish_many_goes_beyond_the_providers_limit_in_order(self, opened: Any) -> None:
        """3"""
        queue = opened()
        count = min(queue.driver.limits.batch, 1000) * 2 + 7
        messages = [Message(str(number).encode()) for number in range(count)]
        answers = queue.publish_many(messages)
        assert [answer.id for answer in answers] == [message.id for message in messages]
        assert all(isinstance(answer, Receipt) and not answer.duplicate for answer in answers)
        deliveries = receive_all(queue, count, lease=600)
        assert sorted(int(delivery.body) for delivery in deliveries) == list(range(count))
        gather(*[delivery.ack for delivery in deliveries], limit=50)
        assert nothing(queue)

    def test_publish_many_of_nothing_is_nothing(self, opened: Any) -> None:
        queue = opened()
        assert queue.publish_many([]) == []

    def test_one_bad_entry_fails_alone(self, opened: Any) -> None:
        """4"""
        queue = opened()
        answers = queue.publish_many(
            [b"first", object(), Message("text", id="x"), Message(b"y", headers={"a": 1}), b"last"]  # type: ignore[arg-type]
        )
        assert [type(answer) for answer in answers] == [Receipt, PublishError, PublishError, PublishError, Receipt]
        assert {answer.outcome for answer in answers[1:4]} == {"refused"}
        assert not any(answer.retryable for answer in answers[1:4])
        assert sorted(delivery.body for delivery in receive_all(queue, 2)) == [b"first", b"last"]
        with pytest.raises(PublishError, match="cannot encode"):
            queue.publish(object())

    def test_an_oversize_message_is_refused_and_the_others_are_delivered(self, opened: Any) -> None:
        """5"""
        queue = opened(message_bytes=1000)
        answers = queue.publish_many([b"a" * 1000, b"b" * 1001, b"c"])
        assert isinstance(answers[1], PublishError)
        assert (answers[1].outcome, answers[1].retryable) == ("refused", False)
        assert "1001" in answers[1].message
        assert sorted(delivery.body[:1] for delivery in receive_all(queue, 2)) == [b"a", b"c"]
        with pytest.raises(PublishError):
            queue.publish(b"", headers={"h": "x" * 1000})

    def test_a_delay_is_kept(self, opened: Any) -> None:
        """12"""
        queue = opened()
        if not queue.supports(QueueFeature.DELAY):
            with pytest.raises(UnsupportedError, match="delay"):
                queue.publish(b"later", delay=1)
            return
        queue.publish(b"now", delay=0)
        queue.publish(b"soon", delay=timedelta(seconds=self.tick))
        due = datetime.now(UTC) + timedelta(seconds=self.tick)
        queue.publish(b"next month", delay=timedelta(days=30))
        bodies: list[bytes] = []
        while len(bodies) < 2:  # on a machine that stood still meanwhile, both are due
            (delivery,) = receive_all(queue, 1)
            assert delivery.body == b"now" or datetime.now(UTC) >= due - timedelta(seconds=0.1)
            bodies.append(delivery.body)
            delivery.ack()
        assert sorted(bodies) == [b"now", b"soon"]
        assert nothing(queue)
        stats = queue.stats()
        assert stats.ready == 0
        assert stats.delayed in (1, None)

    def test_duplicates_are_dropped_within_the_window_only(self, opened: Any) -> None:
        """14"""
        queue = opened()
        if not queue.supports(QueueFeature.DEDUPLICATION):
            with pytest.raises(UnsupportedError, match="deduplication"):
                queue.publish(b"once", dedup_key="k")
            return
        first = queue.publish(b"once", dedup_key="k")
        second = queue.publish(b"twice", dedup_key="k")
        assert (first.duplicate, second.duplicate) == (False, True)
        answers = queue.publish_many([queue.message(b"other", dedup_key="l"), queue.message(b"other again", dedup_key="l")])
        assert [answer.duplicate for answer in answers] == [False, True]
        deliveries = receive_all(queue, 2)
        assert sorted(delivery.body for delivery in deliveries) == [b"once", b"other"]
        for delivery in deliveries:
            delivery.ack()
        assert (queue.publish(b"settled, and still a duplicate", dedup_key="k")).duplicate
        queue = opened(dedup_window=self.tick)
        assert not (queue.publish(b"first", dedup_key="m")).duplicate
        self.outlive_window(queue, self.tick)
        assert not (queue.publish(b"after", dedup_key="m")).duplicate
        assert sorted(delivery.body for delivery in receive_all(queue, 2)) == [b"after", b"first"]

    def test_many_publish_at_once(self, opened: Any) -> None:
        """16"""
        queue = opened()

        def publish(number: int) -> Receipt:
            return queue.publish(str(number).encode())

        answers = gather(*[lambda number=number: publish(number) for number in range(100)])
        receipts = [answer for answer in answers if isinstance(answer, Receipt)]
        assert len({receipt.id for receipt in receipts}) == 100
        deliveries = receive_all(queue, 100)
        assert {delivery.id for delivery in deliveries} == {receipt.id for receipt in receipts}
        assert sorted(int(delivery.body) for delivery in deliveries) == list(range(100))

    def test_close_flushes_what_is_being_published(self, opened: Any) -> None:
        """18"""
        queue, other = opened(), opened()
        receipts: list[Receipt] = []
        jobs = Background("publishers")

        def publish(_stop: Stop) -> None:
            for _ in range(2_000):
                try:
                    receipts.append(queue.publish(b"x"))
                except (ClosedError, PublishError):
                    return

        for number in range(4):
            jobs.start(publish, f"publisher-{number}")
        eventually(lambda: len(receipts) > 20)
        queue.close()
        assert jobs.stop(PATIENCE)
        found = {delivery.id for delivery in receive_all(other, len(receipts), lease=600)}
        assert {receipt.id for receipt in receipts} <= found
        with pytest.raises(ClosedError):
            queue.publish(b"late")

    def test_later_use_of_a_closed_queue_raises(self, opened: Any) -> None:
        """18"""
        queue = opened()
        queue.publish(b"x")
        (delivery,) = receive_all(queue, 1)
        queue.close()
        for use in (
            lambda: queue.publish(b"x"),
            lambda: queue.publish_many([b"x"]),
            queue.receive,
            queue.stats,
            queue.dead_letters.list,
            delivery.ack,
            lambda: queue.consume(print),
        ):
            with pytest.raises(ClosedError):
                use()

    def test_messages_survive_the_end_of_their_publisher(self, opened: Any, place: Place) -> None:
        """21"""
        queue = opened()
        receipt = queue.publish(b"kept")
        queue.close()
        place.stores.clear()  # as the end of the process would
        queue = opened()
        if queue.supports(QueueFeature.DURABLE):
            assert receipt.durability in ("process", "disk", "replicated")
            (delivery,) = receive_all(queue, 1)
            assert (delivery.id, delivery.body) == (receipt.id, b"kept")
        else:
            assert receipt.durability == "none"
            assert nothing(queue)

    def test_another_place_shares_the_queue_or_does_not(self, opened: Any, place: Place) -> None:
        queue = opened()
        other: Any = self.harness.open("queue", Place(place.data_dir))
        try:
            queue.publish(b"to whom it may concern")
            if queue.supports(QueueFeature.SHARED):
                (delivery,) = receive_all(other, 1)
                delivery.ack()
                assert nothing(queue)
            else:
                assert nothing(other)
        finally:
            other.close()

    def test_the_trace_context_survives(self, opened: Any) -> None:
        """22"""
        queue = opened()
        parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        mark = traceparent.set(parent)
        queue.publish(b"traced")
        traceparent.reset(mark)
        queue.publish(b"plain")
        seen: dict[bytes, str | None] = {}

        def handle(delivery: Any) -> None:
            seen[delivery.body] = traceparent.get()

        queue.consume(handle, until="empty")
        assert seen == {b"traced": parent, b"plain": None}
