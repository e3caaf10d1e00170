"""Case 21: outbox and inbox."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

from infra.database import AsyncDatabase, DatabaseFeature, inbox, outbox
from infra.database.outbox import AsyncRelay, Outbox, RelayPolicy
from infra.database.outbox.tables import Inbox, OutboxKey
from infra.errors import ServiceError, UnsupportedError
from infra.queue.model import Message, PublishOutcome
from infra.runtime.aio import Background, Event, gather, wait_for
from infra_testing.conformance.base.processes import PATIENCE
from infra_testing.conformance.database._async.opening import AsyncDatabaseCases
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


class AsyncLedgerQueue:
    """Remembers what was published. `fail` may answer a message with an exception, `after` is called when all are in."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.fail: Callable[[Message], Exception | None] = nothing
        self.after: Callable[[], None] = nothing

    def __call__(self, name: str) -> AsyncLedgerQueue:
        """The queue of any name."""
        self.name = name
        return self

    @property
    def bodies(self) -> list[str]:
        """What is in, in order."""
        return [message.body.decode() for message in self.messages]

    async def publish_many(self, messages: Sequence[Message], *, timeout: float | None = None) -> list[Any]:
        """An answer for each."""
        answers = [self.fail(message) for message in messages]
        self.messages += [message for message, answer in zip(messages, answers, strict=True) if answer is None]
        self.after()
        return answers


class AsyncOutboxCases(AsyncDatabaseCases):
    """A message is published if, and only if, its transaction committed."""

    async def put(self, database: AsyncDatabase, *bodies: str, key: str | None = None, **fields: Any) -> None:
        """Write messages, a transaction each."""
        for body in bodies:
            async with database.session() as session:
                await outbox.publish(session, queue="audit", body=body.encode(), key=key, **fields)

    async def drain(self, relay: AsyncRelay) -> None:
        """Relay until nothing can be claimed."""
        while await relay.step():
            pass

    async def test_what_commits_is_published_and_what_rolls_back_is_not(self, database: AsyncDatabase) -> None:
        queue = AsyncLedgerQueue()
        with pytest.raises(ZeroDivisionError):
            async with database.session() as session:
                await outbox.publish(session, queue="audit", body=b"lost")
                raise ZeroDivisionError
        async with database.session() as session:
            session.add(Owner(id=1, name="with a message"))
            identity = await outbox.publish(session, queue="audit", body={"n": 1}, headers={"a": "b"}, type="Created")
        assert await AsyncRelay(database, queue, policy=EAGER).step() == 1
        (message,) = queue.messages
        assert (message.id, message.body, message.content_type) == (str(identity), b'{"n":1}', "application/json")
        assert (queue.name, dict(message.headers), message.key) == ("audit", {"a": "b"}, None)
        row = (await database.execute(select(Outbox))).one()
        assert row.published_at is not None
        assert (row.attempts, row.locked_by) == (1, None)

    async def test_an_autocommit_session_is_refused(self, database: AsyncDatabase) -> None:
        async with database.session(autocommit=True) as session:
            with pytest.raises(UnsupportedError):
                await outbox.publish(session, queue="audit", body=b"x")

    async def test_two_relays_keep_the_order_of_each_key(self, database: AsyncDatabase) -> None:
        for number in range(8):
            for key in ("a", "b", "c"):
                await self.put(database, f"{key}{number}", key=key)
        queue = AsyncLedgerQueue()

        async def relay() -> None:
            await self.drain(AsyncRelay(database, queue, policy=RelayPolicy(batch=2)))

        assert await gather(relay, relay) == [None, None]
        await relay()
        for key in ("a", "b", "c"):
            firsts = list(dict.fromkeys(body for body in queue.bodies if body[0] == key))
            assert firsts == [f"{key}{number}" for number in range(8)]

    async def test_the_order_of_a_key_is_that_of_commits(self, database: AsyncDatabase) -> None:
        written, wanted = Event(), Event()
        queue = AsyncLedgerQueue()

        async def slow() -> None:
            async with database.session() as session:
                await outbox.publish(session, queue="audit", body=b"first", key="k")
                written.set()
                await wait_for(wanted, PATIENCE)

        async def quick() -> None:
            await wait_for(written, PATIENCE)
            wanted.set()
            await self.put(database, "second", key="k")

        assert await gather(slow, quick) == [None, None]
        await self.drain(AsyncRelay(database, queue, policy=EAGER))
        assert queue.bodies == ["first", "second"]

    async def test_a_relay_that_dies_before_marking_loses_nothing(self, database: AsyncDatabase) -> None:
        await self.put(database, "one", "two")
        queue = AsyncLedgerQueue()

        def crash() -> None:
            raise Crash

        queue.after = crash
        with pytest.raises(Crash):
            await AsyncRelay(database, queue, policy=RelayPolicy(lease=0.0)).step()
        queue.after = nothing
        await self.drain(AsyncRelay(database, queue, policy=EAGER))
        assert queue.bodies == ["one", "two", "one", "two"]
        assert (await AsyncRelay(database, queue).stats()).pending == 0

    async def test_a_relay_process_killed_before_marking_loses_nothing(self, place: Place, database: AsyncDatabase, tmp_path: Path) -> None:
        if not database.supports(DatabaseFeature.SHARED):
            assert not database.supports(DatabaseFeature.SERVER)
            return
        await self.put(database, "one", "two", key="k")
        ledger = tmp_path / "ledger"
        with start_worker(self.harness, place, ledger) as worker:
            assert worker.wait() == -9
        assert ledger.read_text() == "one\n"
        queue = AsyncLedgerQueue()
        relay = AsyncRelay(database, queue, policy=EAGER)
        assert await relay.step() == 0, "its lease still holds"
        await database.execute("UPDATE infra_outbox SET locked_until = occurred_at WHERE locked_by IS NOT NULL")
        await self.drain(relay)
        assert queue.bodies == ["one", "two"]

    async def test_what_is_unavailable_is_tried_for_ever(self, database: AsyncDatabase) -> None:
        await self.put(database, "patient", "behind", key="k")
        queue = AsyncLedgerQueue()
        queue.fail = away
        relay = AsyncRelay(database, queue, policy=EAGER)
        for _ in range(15):
            assert await relay.step() == 1
        assert (await relay.stats()).dead == 0
        queue.fail = nothing
        await self.drain(relay)
        assert queue.bodies == ["patient", "behind"]

    async def test_a_queue_that_cannot_be_found_is_unavailable(self, database: AsyncDatabase) -> None:
        await self.put(database, "waiting")
        relay = AsyncRelay(database, policy=EAGER)
        assert await relay.step() == 1
        assert "ConfigurationError" in str((await database.execute(select(Outbox.c.last_error))).scalar())
        assert (await relay.stats()).pending == 1

    async def test_failures_wait_before_the_next_attempt(self, database: AsyncDatabase) -> None:
        await self.put(database, "later")
        queue = AsyncLedgerQueue()
        queue.fail = away
        relay = AsyncRelay(database, queue)
        assert await relay.step() == 1
        assert await relay.step() == 0
        row = (await database.execute(select(Outbox))).one()
        assert timedelta(seconds=0.5) < row.available_at - row.occurred_at < timedelta(seconds=60)

    async def test_a_refused_message_dies_and_blocks_its_key(self, database: AsyncDatabase) -> None:
        await self.put(database, "bad", "good", key="k")
        queue = AsyncLedgerQueue()
        queue.fail = refuse_bad
        relay = AsyncRelay(database, queue, policy=EAGER)
        for _ in range(10):
            assert await relay.step() == 1
        assert await relay.step() == 0
        stats = await relay.stats()
        assert (stats.pending, stats.dead, queue.bodies) == (1, 1, [])
        assert stats.oldest is not None
        assert await relay.redrive() == 1
        queue.fail = nothing
        await self.drain(relay)
        assert queue.bodies == ["bad", "good"]

    async def test_a_dead_message_can_be_skipped(self, database: AsyncDatabase) -> None:
        await self.put(database, "bad", "good", key="k")
        queue = AsyncLedgerQueue()
        queue.fail = refuse_bad
        await self.drain(AsyncRelay(database, queue, policy=RelayPolicy(first=0.0, longest=0.0, dead_after=2, on_dead="skip")))
        assert queue.bodies == ["good"]

    async def test_a_delayed_message_waits(self, database: AsyncDatabase) -> None:
        await self.put(database, "later", delay=3600)
        assert await AsyncRelay(database, AsyncLedgerQueue()).step() == 0

    async def test_purging_keeps_what_waits(self, database: AsyncDatabase) -> None:
        await self.put(database, "done", key="k")
        queue = AsyncLedgerQueue()
        relay = AsyncRelay(database, queue, policy=EAGER)
        await self.drain(relay)
        await self.put(database, "waits", key="k")
        assert await relay.purge(timedelta(hours=1)) == 0
        assert await relay.purge(timedelta(seconds=-1)) == 1
        await self.drain(relay)
        assert queue.bodies == ["done", "waits"]

    async def test_a_purge_beside_a_publisher_keeps_the_order_of_its_key(self, database: AsyncDatabase) -> None:
        queue = AsyncLedgerQueue()
        relay = AsyncRelay(database, queue, policy=EAGER)
        await self.put(database, "old", key="k")
        await self.drain(relay)
        beside = database.supports(DatabaseFeature.SKIP_LOCKED)
        async with database.session() as session:
            await outbox.publish(session, queue="audit", body=b"first", key="k")
            if beside:  # it waits for nobody, and what the publisher holds stays
                assert await relay.purge(timedelta(seconds=-1)) == 1
        if not beside:
            assert await relay.purge(timedelta(seconds=-1)) == 1
        await self.put(database, "second", key="k")
        await self.drain(relay)
        assert queue.bodies == ["old", "first", "second"]
        assert await relay.purge(timedelta(seconds=-1)) == 2
        assert (await database.execute(select(OutboxKey))).all() == []

    async def test_purges_beside_publishers_and_relays_keep_the_order_of_each_key(self, database: AsyncDatabase) -> None:
        queue = AsyncLedgerQueue()
        relay = AsyncRelay(database, queue, policy=RelayPolicy(batch=3))
        count = 12

        def publisher(key: str) -> Any:
            async def publish() -> None:
                await self.put(database, *(f"{key}{number:02}" for number in range(count)), key=key)

            return publish

        async def clean() -> None:
            for _ in range(count):
                await relay.step()
                await relay.purge(timedelta(seconds=-1))

        assert await gather(publisher("a"), publisher("b"), clean, clean) == [None] * 4
        await self.drain(relay)
        for key in ("a", "b"):
            firsts = list(dict.fromkeys(body for body in queue.bodies if body[0] == key))
            assert firsts == [f"{key}{number:02}" for number in range(count)]

    async def test_a_purge_keeps_dead_messages_and_the_order_behind_them(self, database: AsyncDatabase) -> None:
        queue = AsyncLedgerQueue()
        queue.fail = refuse_bad
        relay = AsyncRelay(database, queue, policy=RelayPolicy(first=0.0, longest=0.0, dead_after=1, on_dead="skip"))
        await self.put(database, "bad", "good", key="k")
        await self.drain(relay)
        assert await relay.purge(timedelta(seconds=-1)) == 1
        await self.put(database, "after", key="k")
        assert await relay.redrive() == 1
        queue.fail = nothing
        await self.drain(relay)
        assert queue.bodies == ["good", "bad", "after"]

    async def test_a_running_relay_is_woken_and_stopped(self, database: AsyncDatabase) -> None:
        queue = AsyncLedgerQueue()
        published = Event()
        queue.after = published.set
        relay = AsyncRelay(database, queue, policy=EAGER)
        background = Background("suite")
        background.start(relay.run, "relay")
        await self.put(database, "while it runs")
        relay.wake()
        assert await wait_for(published, PATIENCE)
        assert await background.stop(20)
        assert queue.bodies == ["while it runs"]

    async def test_the_inbox_handles_a_message_once(self, database: AsyncDatabase) -> None:
        message = Message(b"x")
        for expected in (True, False, False):
            async with database.session() as session:
                assert await inbox.once(session, message) is expected
        async with database.session() as session:
            assert await inbox.once(session, message, consumer="another")
        with pytest.raises(ZeroDivisionError):
            async with database.session() as session:
                assert await inbox.once(session, "second")
                raise ZeroDivisionError
        async with database.session() as session:
            assert await inbox.once(session, "second")
        async with database.session() as session:
            assert await inbox.purge(session, timedelta(seconds=-1)) == 3
        assert (await database.execute(select(Inbox))).all() == []

    async def test_concurrent_deliveries_have_one_effect(self, database: AsyncDatabase) -> None:
        async def handle() -> bool:
            async with database.session() as session:
                first = await inbox.once(session, "delivered twice")
                if first:
                    await session.execute(insert(Owner).values(id=1, name="the effect"))
                return first

        answers = await gather(*[handle] * 4)
        assert answers.count(True) == 1
        assert answers.count(False) == 3
