"""Envelopes, back-off and errors."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from infra.queue import Backoff, Message, PublishError, PublishOutcome
from infra.queue.model import later


def test_ids_are_uuid7_in_text_and_in_order() -> None:
    ids = [Message(b"").id for _ in range(1000)]
    assert ids == sorted(set(ids))
    assert all(len(one) == 36 and one[14] == "7" and one[19] in "89ab" for one in ids)


def test_an_envelope_is_stamped_and_cannot_be_changed() -> None:
    message = Message(b"x")
    assert abs(datetime.now(UTC) - message.created_at) < timedelta(seconds=5)
    with pytest.raises(dataclasses.FrozenInstanceError):
        message.body = b"y"  # type: ignore[misc]


def test_backoff_grows_to_its_limit() -> None:
    backoff = Backoff(first=1, factor=2, longest=10, jitter=0)
    assert [backoff(attempt) for attempt in (1, 2, 3, 4, 5, 500)] == [1, 2, 4, 8, 10, 10]
    jittered = {Backoff(first=1, jitter=0.5)(1) for _ in range(50)}
    assert len(jittered) > 1
    assert all(1 <= delay <= 1.5 for delay in jittered)


def test_no_delay_is_now() -> None:
    assert later(None) is None
    assert later(0) is None
    assert later(-1) is None
    due = later(timedelta(hours=1))
    assert due is not None
    assert timedelta(minutes=59) < due - datetime.now(UTC) <= timedelta(hours=1)


def test_a_publish_error_says_what_became_of_the_message() -> None:
    error = PublishError("no", outcome=PublishOutcome.UNKNOWN, message_id="m")
    assert (error.outcome, error.message_id, error.retryable) == ("unknown", "m", True)
