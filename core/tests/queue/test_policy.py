"""The portable class's policy over a driver whose answers the test writes: retries, hops of long delays, limits of a provider."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from infra.errors import ErrorCode, UnsupportedError
from infra.plugin import OpenContext
from infra.queue import (
    Durability,
    LeaseLostError,
    Message,
    PublishError,
    PublishOutcome,
    Queue,
    QueueError,
    QueueSettings,
    Receipt,
    RetryPolicy,
)
from infra.queue.model import Ack, Action, QueueLimits, QueueSpec, Received, Retry, SendFailure, Settled


class Driver:
    """A blocking driver by script: each send takes the next entry of `script`, and succeeds when there is none."""

    def __init__(self, features: Sequence[str] = (), limits: QueueLimits | None = None) -> None:
        self.features = frozenset(features)
        self.limits = limits or QueueLimits(batch=10)
        self.script: list[Any] = []
        self.sent: list[list[Message]] = []
        self.inbox: list[Any] = []
        self.settled: list[tuple[object, Action]] = []
        self.settle_script: list[Any] = []
        self.settles_first = False

    def declare(self, spec: QueueSpec, timeout: float) -> None: ...
    def ping(self, timeout: float) -> None: ...
    def close(self, timeout: float) -> None: ...
    def interrupt(self, queue: str) -> None: ...
    def unwrap(self) -> Sequence[object]:
        return ()

    def classify(self, error: BaseException) -> ErrorCode | None:
        return {ConnectionError: ErrorCode.UNAVAILABLE, PermissionError: ErrorCode.PERMISSION_DENIED}.get(type(error))

    def send(self, queue: str, batch: Sequence[Message], timeout: float) -> Sequence[Receipt | SendFailure]:
        self.sent.append(list(batch))
        step = self.script.pop(0) if self.script else None
        if isinstance(step, Exception):
            raise step
        return [
            SendFailure(step[message.body], OSError("scripted")) if step and message.body in step else self._receipt(message)
            for message in batch
        ]

    def _receipt(self, message: Message) -> Receipt:
        return Receipt(message.id, Durability.DISK)

    def receive(self, queue: str, most: int, wait: float, lease: float) -> Sequence[Received]:
        if self.settles_first and not self.settled:
            return []
        step = self.inbox.pop(0) if self.inbox else []
        if isinstance(step, Exception):
            self.settles_first = False
            raise step
        self.settles_first = bool(step) and bool(self.inbox)  # what was handed out is settled before the next step
        return step

    def settle(self, queue: str, batch: Sequence[tuple[object, Action]], timeout: float) -> Sequence[Settled | BaseException]:
        self.settled += batch
        step = self.settle_script.pop(0) if self.settle_script else Settled.DONE
        if isinstance(step, Exception):
            raise step
        return [step] * len(batch)


def queue_over(driver: Driver, **settings: Any) -> Queue:
    queue = Queue(driver, QueueSettings(**settings), OpenContext(capability="queue", name="main", provider="scripted"))  # type: ignore[arg-type]
    queue.start()
    return queue


@pytest.mark.parametrize("failure", [{b"x": PublishOutcome.NOT_SENT}, {b"x": PublishOutcome.UNKNOWN}, ConnectionError("reset")])
def test_not_sent_and_unknown_are_tried_again_with_the_same_id(failure: Any) -> None:
    driver = Driver()
    driver.script = [failure, failure]
    receipt = queue_over(driver).publish(b"x")
    assert [[message.id for message in batch] for batch in driver.sent] == [[receipt.id]] * 3


@pytest.mark.parametrize("failure", [{b"x": PublishOutcome.REFUSED}, PermissionError("no")])
def test_refused_is_final(failure: Any) -> None:
    driver = Driver()
    driver.script = [failure]
    with pytest.raises(PublishError) as caught:
        queue_over(driver).publish(b"x")
    assert caught.value.outcome is PublishOutcome.REFUSED
    assert not caught.value.retryable
    assert len(driver.sent) == 1


def test_giving_up_names_the_last_outcome_and_its_cause() -> None:
    driver = Driver()
    driver.script = [ConnectionError("reset")] * 2
    with pytest.raises(PublishError, match="reset") as caught:
        queue_over(driver, publish_attempts=2).publish(b"x")
    assert caught.value.outcome is PublishOutcome.UNKNOWN
    assert isinstance(caught.value.__cause__, ConnectionError)


@pytest.mark.parametrize(("last", "retryable"), [(PublishOutcome.NOT_SENT, True), (PublishOutcome.REFUSED, False)])
def test_an_attempt_of_unknown_outcome_is_not_undone_by_a_later_one(last: PublishOutcome, retryable: bool) -> None:
    driver = Driver()
    script = [{b"x": PublishOutcome.UNKNOWN}, {b"x": last}]
    queue = queue_over(driver, publish_attempts=2)
    driver.script = [*script]
    with pytest.raises(PublishError, match="unknown") as caught:
        queue.publish(b"x")
    driver.script = [*script]
    (answer,) = queue.publish_many([b"x"])
    for error in (caught.value, answer):
        assert isinstance(error, PublishError)
        assert (error.outcome, error.retryable) == (PublishOutcome.UNKNOWN, retryable)


def test_only_the_failed_entries_of_a_batch_are_sent_again() -> None:
    driver = Driver()
    driver.script = [{b"b": PublishOutcome.NOT_SENT, b"c": PublishOutcome.REFUSED}]
    answers = queue_over(driver).publish_many([b"a", b"b", b"c"])
    assert [type(answer) for answer in answers] == [Receipt, Receipt, PublishError]
    assert [[message.body for message in batch] for batch in driver.sent] == [[b"a", b"b", b"c"], [b"b"]]


def test_batches_respect_count_and_bytes() -> None:
    driver = Driver(limits=QueueLimits(batch=3, batch_bytes=100))
    queue_over(driver).publish_many([b"x" * 40] * 3 + [b"y"] * 4)
    assert [len(batch) for batch in driver.sent] == [2, 3, 2]


@pytest.mark.parametrize(
    ("arguments", "feature"), [({"key": "k"}, "ordering"), ({"dedup_key": "k"}, "deduplication"), ({"delay": 5}, "delay")]
)
def test_what_the_provider_lacks_is_refused_per_call(arguments: dict[str, Any], feature: str) -> None:
    driver = Driver()
    queue = queue_over(driver)
    with pytest.raises(UnsupportedError, match=feature):
        queue.publish(b"x", **arguments)
    good, bad = queue.publish_many([b"x", queue.message(b"y", **arguments)])
    assert isinstance(good, Receipt)
    assert isinstance(bad, PublishError)
    assert (bad.outcome, bad.code) == (PublishOutcome.REFUSED, ErrorCode.UNSUPPORTED)


def test_a_feature_that_is_required_and_missing_is_refused_at_start() -> None:
    with pytest.raises(UnsupportedError, match="ordering"):
        queue_over(Driver(), require=["ordering"])


def test_a_delay_beyond_the_providers_goes_in_hops() -> None:
    driver = Driver(features=["delay"], limits=QueueLimits(batch=10, delay=900))
    due = Message(b"due", deliver_at=datetime.now(UTC) - timedelta(seconds=1))
    early = Message(b"early", deliver_at=datetime.now(UTC) + timedelta(hours=1))
    driver.inbox = [[Received(early, "token-1")], [Received(due, "token-2")]]
    assert [delivery.body for delivery in queue_over(driver).receive(wait=1)] == [b"due"]
    assert driver.settled == [("token-1", Retry(900, counted=False))]


def test_an_acknowledgement_that_was_lost_on_the_way_is_not_an_error() -> None:
    driver = Driver()
    driver.inbox = [[Received(Message(b"x"), "token")]]
    (delivery,) = queue_over(driver).receive()
    driver.settle_script = [ConnectionError("reset"), Settled.LOST]
    delivery.ack()
    assert [type(action) for _, action in driver.settled] == [Ack, Ack]


def test_a_settlement_that_fails_for_good_may_be_tried_again() -> None:
    driver = Driver()
    driver.inbox = [[Received(Message(b"x"), "token")]]
    (delivery,) = queue_over(driver).receive()
    driver.settle_script = [PermissionError("no")]
    with pytest.raises(QueueError):
        delivery.ack()
    assert not delivery.settled
    driver.settle_script = [Settled.LOST]
    with pytest.raises(LeaseLostError):
        delivery.ack()


def test_consume_waits_for_a_server_that_is_down_and_gives_up_when_it_is_locked_out() -> None:
    driver = Driver()
    driver.inbox = [ConnectionError("down"), [Received(Message(b"x", attempt=1), "token")], PermissionError("revoked")]
    handled: list[bytes] = []

    def handle(delivery: Any) -> None:
        handled.append(delivery.body)

    with pytest.raises(QueueError, match="revoked"):
        queue_over(driver).consume(handle)
    assert handled == [b"x"]
    assert ("token", Ack()) in driver.settled


def test_retries_of_a_provider_without_delays_are_immediate() -> None:
    driver = Driver()
    driver.inbox = [[Received(Message(b"x", attempt=1), "token")]]

    def fail(_delivery: Any) -> None:
        raise ValueError("again")

    summary = queue_over(driver).consume(fail, until="empty", retry=RetryPolicy(backoff=lambda _attempt: 5.0))
    assert driver.settled == [("token", Retry(0.0))]
    assert summary.retried == 1


def test_a_coroutine_function_is_refused_by_the_blocking_queue() -> None:
    async def handle(_delivery: Any) -> None: ...

    with pytest.raises(UnsupportedError, match="coroutine"):
        queue_over(Driver()).consume(handle, until="empty")


def test_a_handler_with_too_many_parameters_is_refused() -> None:
    with pytest.raises(QueueError, match="handler takes"):
        queue_over(Driver()).consume(lambda a, b, c: None, until="empty")  # type: ignore[misc]
