"""The relay: from the outbox to the queues."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from infra.database import AsyncDatabase
from infra.database.model import DatabaseFeature
from infra.database.models import utcnow
from infra.database.outbox import statements
from infra.database.outbox.model import OutboxStats, RelayPolicy
from infra.database.outbox.tables import CHANNEL
from infra.errors import ConfigurationError
from infra.queue.model import Message, PublishOutcome
from infra.runtime.aio import Background, Event, Stop, gather, wait_for, within
from infra.runtime.identifiers import uuid7

_log = logging.getLogger("infra.database.outbox")
_POLICY = RelayPolicy()
_LONGEST = 1000
_PURGED = 1000  # rows of one transaction of a purge
_LISTEN = 1.0  # seconds after which it looks whether to stop


class AsyncRelay:
    """Publishes what committed transactions left in the outbox: at least once, and for each key in order.

    It leases rows, commits, publishes outside any transaction, and marks. Several relays may work at once. A relay that stalls past its
    lease may publish a message again, so order means the order of first occurrences.

    Args:
        database: Where the outbox is.
        queue: Finds a queue by its resource name; the queues of the database's kernel when not given.
        policy: How it works.
    """

    def __init__(self, database: AsyncDatabase, queue: Callable[[str], Any] | None = None, *, policy: RelayPolicy = _POLICY) -> None:
        self.name = f"{socket.gethostname()[:100]}-{os.getpid()}-{uuid7().hex[-12:]}"
        self.policy = policy
        self._database = database
        self._queue = queue or self._look_up
        self._woken = Event()

    async def run(self, stop: Stop) -> None:
        """Work until asked to stop. A failure of the database is logged, and tried again."""
        undo = stop.on_set(self._woken.set)
        beside = Background(self._database.name)
        if self._database.supports(DatabaseFeature.NOTIFY):
            beside.start(self._listen, "outbox notifications")
        failures = 0
        try:
            while not stop.is_set():
                self._woken.clear()
                try:
                    handled = await self.step()
                    failures = 0
                except Exception as error:
                    failures += 1
                    handled = 0
                    _log.warning("%s: the outbox relay failed and tries again: %s", self._database.name, error)
                if handled or stop.is_set():
                    continue
                wait = self.policy.poll
                if failures:
                    wait = statements.backoff(failures, self.policy.first, self.policy.longest).total_seconds()
                await wait_for(self._woken, wait)
        finally:
            undo()
            await beside.stop(2 * _LISTEN)

    def wake(self) -> None:
        """Look now, for whoever knows that something was committed."""
        self._woken.set()

    async def step(self) -> int:
        """Lease a batch, publish it, mark it; how many rows it was."""
        rows = await self._claim()
        if not rows:
            return 0
        by_queue: dict[str, list[Row[Any]]] = {}
        for row in rows:
            by_queue.setdefault(row.aggregatetype, []).append(row)

        def publishing(name: str, part: list[Row[Any]]) -> Any:
            async def publish() -> Sequence[object]:
                return await self._publish(name, part)

            return publish

        answers = await gather(*(publishing(name, part) for name, part in by_queue.items()))
        done: list[UUID] = []
        failures: list[tuple[Row[Any], BaseException]] = []
        for part, answer in zip(by_queue.values(), answers, strict=True):
            each: Sequence[object] = [answer] * len(part) if isinstance(answer, BaseException) else answer
            for row, one in zip(part, each, strict=True):
                if isinstance(one, BaseException):
                    failures.append((row, one))
                else:
                    done.append(row.id)
        await self._mark(done, failures)
        return len(rows)

    async def stats(self) -> OutboxStats:
        """Numbers of rows, and the age of the oldest."""
        counted = (await self._database.execute(statements.numbers())).one()
        first = (await self._database.execute(statements.oldest())).scalar()
        age = None if first is None else max(0.0, (utcnow() - first).total_seconds())
        return OutboxStats(pending=int(counted.pending), dead=int(counted.dead), oldest=age)

    async def redrive(self, ids: Sequence[UUID] | None = None) -> int:
        """Try dead rows again: those with `ids`, or all; how many it was."""
        return (await self._database.execute(statements.redrive(ids, utcnow()))).rowcount

    async def purge(self, older_than: timedelta = timedelta(days=7)) -> int:
        """Delete rows that were published longer ago than that; how many it was. Publishers and relays may be at work beside it."""
        skip_locked = self._database.supports(DatabaseFeature.SKIP_LOCKED)
        before, number, found = utcnow() - older_than, 0, _PURGED
        while found == _PURGED:
            async with self._database.session(independent=True) as session:
                ids = (await session.execute(statements.purgeable(before, _PURGED, skip_locked))).scalars().all()
                if ids:
                    await session.execute(statements.purge(ids))
            found = len(ids)
            number += found
        found = _PURGED
        while found == _PURGED:
            async with self._database.session(independent=True) as session:
                keys = (await session.execute(statements.unused_keys(_PURGED, skip_locked))).all()
                if keys:
                    await session.execute(statements.purge_keys(keys))
            found = len(keys)
        return number

    async def _listen(self, stop: Stop) -> None:
        database = self._database
        heard = True
        while not stop.is_set():
            try:
                async with database.engines.reserve.connect() as connection:
                    while not stop.is_set():
                        if await database._call(connection, database.policy.wait_for_notice, CHANNEL, _LISTEN):
                            self._woken.set()
                        heard = True
            except Exception as error:
                # Once an outage: the relay's own attempts say that it lasts.
                level = logging.WARNING if heard else logging.DEBUG
                heard = False
                _log.log(level, "%s: the outbox relay hears no notifications for now, and polls: %s", database.name, type(error).__name__)
                await stop.wait(self.policy.first)

    async def _claim(self) -> Sequence[Row[Any]]:
        skip_locked = self._database.supports(DatabaseFeature.SKIP_LOCKED)
        now = utcnow()
        query = statements.claimable(now, self.policy.batch, self.policy.on_dead, skip_locked)
        async with self._database.session(independent=True) as session:
            rows = (await session.execute(query)).all()
            if rows:
                until = now + timedelta(seconds=self.policy.lease)
                await session.execute(statements.lease([row.id for row in rows], self.name, until))
        return rows

    async def _publish(self, name: str, rows: Sequence[Row[Any]]) -> Sequence[object]:
        messages = [
            Message(
                body=row.payload,
                id=str(row.id),
                content_type=row.content_type,
                headers=row.headers,
                created_at=row.occurred_at,
                key=row.aggregateid,
                dedup_key=row.dedup_key,
            )
            for row in rows
        ]
        queue = self._queue(name)

        async def publish() -> Sequence[object]:
            return await queue.publish_many(messages, timeout=self.policy.timeout)

        return await within(self.policy.timeout + 1.0, publish)

    async def _mark(self, done: Sequence[UUID], failures: Sequence[tuple[Row[Any], BaseException]]) -> None:
        now = utcnow()
        async with self._database.session(independent=True) as session:
            if done:
                await session.execute(statements.published(done, now))
            for row, error in failures:
                refused = getattr(error, "outcome", PublishOutcome.UNKNOWN) is PublishOutcome.REFUSED
                dead = refused and row.refusals + 1 >= self.policy.dead_after
                again = now + statements.backoff(row.attempts + 1, self.policy.first, self.policy.longest)
                text = self._database.context.redact(f"{type(error).__name__}: {error}")[:_LONGEST]
                await session.execute(statements.failed(row, self.name, again, text, refused=refused, dead_at=now if dead else None))
                if dead:
                    _log.error(
                        "%s: outbox row %s was refused %d times and is dead: %s", self._database.name, row.id, row.refusals + 1, text
                    )

    def _look_up(self, name: str) -> Any:
        services = self._database.context.services
        if services is None:
            raise ConfigurationError(
                "the relay has no kernel to find queues in",
                resource=self._database.name,
                operation="relay",
                remedy="open the database through Infra, or give the relay a function `queue`",
            )
        return services("queue", name)
