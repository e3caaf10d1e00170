# Generated from outbox.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""Case 21: outbox and inbox."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

from infra.database import Database, DatabaseFeature, inbox, outbox
from infra.database.outbox import Outbox, Relay, RelayPolicy
from infra.database.outbox.tables import Inbox, OutboxKey
from infra.errors import ServiceError, UnsupportedError
from infra.queue.model import Message, PublishOutcome
from infra.runtime.threads import Background, Event, gather, wait_for
from infra_testing.conformance.base.processes import PATIENCE
from infra_testing.conformance.database._sync.opening import DatabaseCases
from infra_testing.conformance.database.tables import Owner
from infra_testing.conformance.database.worker import start_worker
from infra_testing.harness import Place

#: No waiting between attempts.
EAGER = RelayPolicy(first=0.0, longest=0.0, poll=30.0)


class Refused(ServiceError):
    """As `PublishError` of a queue."""

    outcome = PublishOutcome.REFUSED


class Crash(BaseException):
    """The end of a process."""


def nothing(*_: object) -> None:
    """No failure, no action."""


def away(_: Message) -> Exception:
    """The broker cannot be reached."""
    return ServiceError("the broker is away")


def refuse_bad(message: Message) -> Exception | None:
    """The broker takes everything but one message."""
    return Refused("too large") if message.body == b"bad" else None


class LedgerQueue:
    """Remembers what was published. `fail` may answer a message with an exception, `after` is called when all are in."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.fail: Callable[[Message], Exception | None] = nothing
        self.after: Callable[[], None] = nothing

    def __call__(self, name: str) -> LedgerQueue:
        """The queue of any name."""
        self.name = name
        return self

    @property
    def bodies(self) -> list[str]:
        """What is in, in order."""
        return [message.body.decode() for message in self.messages]

    def publish_many(self, messages: Sequence[Message], *, timeout: float | None = None) -> list[Any]:
        """An answer for each."""
        answers = [self.fail(message) for message in messages]
        self.messages += [message for message, answer in zip(messages, answers, strict=True) if answer is None]
        self.after()
        return answers


class OutboxCases(DatabaseCases):
    """A message is published if, and only if, its transaction committed."""

    def put(self, database: Database, *bodies: str, key: str | None = None, **fields: Any) -> None:
        """Write messages, a transaction each."""
        for body in bodies:
            with database.session() as session:
                outbox.publish(session, queue="audit", body=body.encode(), key=key, **fields)

    def drain(self, relay: Relay) -> None:
        """Relay until nothing can be claimed."""
        while relay.step():
            pass

    def test_what_commits_is_published_and_what_rolls_back_is_not(self, database: Database) -> None:
        queue = LedgerQueue()
        with pytest.raises(ZeroDivisionError):
            with database.session() as session:
                outbox.publish(session, queue="audit", body=b"lost")
                raise ZeroDivisionError
        with database.session() as session:
            session.add(Owner(id=1, name="with a message"))
            identity = outbox.publish(session, queue="audit", body={"n": 1}, headers={"a": "b"}, type="Created")
        assert Relay(database, queue, policy=EAGER).step() == 1
        (message,) = queue.messages
        assert (message.id, message.body, message.content_type) == (str(identity), b'{"n":1}', "application/json")
        assert (queue.name, dict(message.headers), message.key) == ("audit", {"a": "b"}, None)
        row = (database.execute(select(Outbox))).one()
        assert row.published_at is not None
        assert (row.attempts, row.locked_by) == (1, None)

    def test_an_autocommit_session_is_refused(self, database: Database) -> None:
        with database.session(autocommit=True) as session:
            with pytest.raises(UnsupportedError):
                outbox.publish(session, queue="audit", body=b"x")

    def test_two_relays_keep_the_order_of_each_key(self, database: Database) -> None:
        for number in range(8):
            for key in ("a", "b", "c"):
                self.put(database, f"{key}{number}", key=key)
        queue = LedgerQueue()

        def relay() -> None:
            self.drain(Relay(database, queue, policy=RelayPolicy(batch=2)))

        assert gather(relay, relay) == [None, None]
        relay()
        for key in ("a", "b", "c"):
            firsts = list(dict.fromkeys(body for body in queue.bodies if body[0] == key))
            assert firsts == [f"{key}{number}" for number in range(8)]

    def test_the_order_of_a_key_is_that_of_commits(self, database: Database) -> None:
        written, wanted = Event(), Event()
        queue = LedgerQueue()

        def slow() -> None:
            with database.session() as session:
                outbox.publish(session, queue="audit", body=b"first", key="k")
                written.set()
                wait_for(wanted, PATIENCE)

        def quick() -> None:
            wait_for(written, PATIENCE)
            wanted.set()
            self.put(database, "second", key="k")

        assert gather(slow, quick) == [None, None]
        self.drain(Relay(database, queue, policy=EAGER))
        assert queue.bodies == ["first", "second"]

    def test_a_relay_that_dies_before_marking_loses_nothing(self, database: Database) -> None:
        self.put(database, "one", "two")
        queue = LedgerQueue()

        def crash() -> None:
            raise Crash

        queue.after = crash
        with pytest.raises(Crash):
            Relay(database, queue, policy=RelayPolicy(lease=0.0)).step()
        queue.after = nothing
        self.drain(Relay(database, queue, policy=EAGER))
        assert queue.bodies == ["one", "two", "one", "two"]
        assert (Relay(database, queue).stats()).pending == 0

    def test_a_relay_process_killed_before_marking_loses_nothing(self, place: Place, database: Database, tmp_path: Path) -> None:
        if not database.supports(DatabaseFeature.SHARED):
            assert not database.supports(DatabaseFeature.SERVER)
            return
        self.put(database, "one", "two", key="k")
        ledger = tmp_path / "ledger"
        with start_worker(self.harness, place, ledger) as worker:
            assert worker.wait() == -9
        assert ledger.read_text() == "one\n"
        queue = LedgerQueue()
        relay = Relay(database, queue, policy=EAGER)
        assert relay.step() == 0, "its lease still holds"
        database.execute("UPDATE infra_outbox SET locked_until = occurred_at WHERE locked_by IS NOT NULL")
        self.drain(relay)
        assert queue.bodies == ["one", "two"]

    def test_what_is_unavailable_is_tried_for_ever(self, database: Database) -> None:
        self.put(database, "patient", "behind", key="k")
        queue = LedgerQueue()
        queue.fail = away
        relay = Relay(database, queue, policy=EAGER)
        for _ in range(15):
            assert relay.step() == 1
        assert (relay.stats()).dead == 0
        queue.fail = nothing
        self.drain(relay)
        assert queue.bodies == ["patient", "behind"]

    def test_a_queue_that_cannot_be_found_is_unavailable(self, database: Database) -> None:
        self.put(database, "waiting")
        relay = Relay(database, policy=EAGER)
        assert relay.step() == 1
        assert "ConfigurationError" in str((database.execute(select(Outbox.c.last_error))).scalar())
        assert (relay.stats()).pending == 1

    def test_failures_wait_before_the_next_attempt(self, database: Database) -> None:
        self.put(database, "later")
        queue = LedgerQueue()
        queue.fail = away
        relay = Relay(database, queue)
        assert relay.step() == 1
        assert relay.step() == 0
        row = (database.execute(select(Outbox))).one()
        assert timedelta(seconds=0.5) < row.available_at - row.occurred_at < timedelta(seconds=60)

    def test_a_refused_message_dies_and_blocks_its_key(self, database: Database) -> None:
        self.put(database, "bad", "good", key="k")
        queue = LedgerQueue()
        queue.fail = refuse_bad
        relay = Relay(database, queue, policy=EAGER)
        for _ in range(10):
            assert relay.step() == 1
        assert relay.step() == 0
        stats = relay.stats()
        assert (stats.pending, stats.dead, queue.bodies) == (1, 1, [])
        assert stats.oldest is not None
        assert relay.redrive() == 1
        queue.fail = nothing
        self.drain(relay)
        assert queue.bodies == ["bad", "good"]

    def test_a_dead_message_can_be_skipped(self, database: Database) -> None:
        self.put(database, "bad", "good", key="k")
        queue = LedgerQueue()
        queue.fail = refuse_bad
        self.drain(Relay(database, queue, policy=RelayPolicy(first=0.0, longest=0.0, dead_after=2, on_dead="skip")))
        assert queue.bodies == ["good"]

    def test_a_delayed_message_waits(self, database: Database) -> None:
        self.put(database, "later", delay=3600)
        assert Relay(database, LedgerQueue()).step() == 0

    def test_purging_keeps_what_waits(self, database: Database) -> None:
        self.put(database, "done", key="k")
        queue = LedgerQueue()
        relay = Relay(database, queue, policy=EAGER)
        self.drain(relay)
        self.put(database, "waits", key="k")
        assert relay.purge(timedelta(hours=1)) == 0
        assert relay.purge(timedelta(seconds=-1)) == 1
        self.drain(relay)
        assert queue.bodies == ["done", "waits"]

    def test_a_purge_beside_a_publisher_keeps_the_order_of_its_key(self, database: Database) -> None:
        queue = LedgerQueue()
        relay = Relay(database, queue, policy=EAGER)
        self.put(database, "old", key="k")
        self.drain(relay)
        beside = database.supports(DatabaseFeature.SKIP_LOCKED)
        with database.session() as session:
            outbox.publish(session, queue="audit", body=b"first", key="k")
            if beside:  # it waits for nobody, and what the publisher holds stays
                assert relay.purge(timedelta(seconds=-1)) == 1
        if not beside:
            assert relay.purge(timedelta(seconds=-1)) == 1
        self.put(database, "second", key="k")
        self.drain(relay)
        assert queue.bodies == ["old", "first", "second"]
        assert relay.purge(timedelta(seconds=-1)) == 2
        assert (database.execute(select(OutboxKey))).all() == []

    def test_purges_beside_publishers_and_relays_keep_the_order_of_each_key(self, database: Database) -> None:
        queue = LedgerQueue()
        relay = Relay(database, queue, policy=RelayPolicy(batch=3))
        count = 12

        def publisher(key: str) -> Any:
            def publish() -> None:
                self.put(database, *(f"{key}{number:02}" for number in range(count)), key=key)

            return publish

        def clean() -> None:
            for _ in range(count):
                relay.step()
                relay.purge(timedelta(seconds=-1))

        assert gather(publisher("a"), publisher("b"), clean, clean) == [None] * 4
        self.drain(relay)
        for key in ("a", "b"):
            firsts = list(dict.fromkeys(body for body in queue.bodies if body[0] == key))
            assert firsts == [f"{key}{number:02}" for number in range(count)]

    def test_a_purge_keeps_dead_messages_and_the_order_behind_them(self, database: Database) -> None:
        queue = LedgerQueue()
        queue.fail = refuse_bad
        relay = Relay(database, queue, policy=RelayPolicy(first=0.0, longest=0.0, dead_after=1, on_dead="skip"))
        self.put(database, "bad", "good", key="k")
        self.drain(relay)
        assert relay.purge(timedelta(seconds=-1)) == 1
        self.put(database, "after", key="k")
        assert relay.redrive() == 1
        queue.fail = nothing
        self.drain(relay)
        assert queue.bodies == ["good", "bad", "after"]

    def test_a_running_relay_is_woken_and_stopped(self, database: Database) -> None:
        queue = LedgerQueue()
        published = Event()
        queue.after = published.set
        relay = Relay(database, queue, policy=EAGER)
        background = Background("suite")
        background.start(relay.run, "relay")
        self.put(database, "while it runs")
        relay.wake()
        assert wait_for(published, PATIENCE)
        assert background.stop(20)
        assert queue.bodies == ["while it runs"]

    def test_the_inbox_handles_a_message_once(self, database: Database) -> None:
        message = Message(b"x")
        for expected in (True, False, False):
            with database.session() as session:
                assert inbox.once(session, message) is expected
        with database.session() as session:
            assert inbox.once(session, message, consumer="another")
        with pytest.raises(ZeroDivisionError):
            with database.session() as session:
                assert inbox.once(session, "second")
                raise ZeroDivisionError
        with database.session() as session:
            assert inbox.once(session, "second")
        with database.session() as session:
            assert inbox.purge(session, timedelta(seconds=-1)) == 3
        assert (database.execute(select(Inbox))).all() == []

    def test_concurrent_deliveries_have_one_effect(self, database: Database) -> None:
        def handle() -> bool:
            with database.session() as session:
                first = inbox.once(session, "delivered twice")
                if first:
                    session.execute(insert(Owner).values(id=1, name="the effect"))
                return first

        answers = gather(*[handle] * 4)
        assert answers.count(True) == 1
        assert answers.count(False) == 3
