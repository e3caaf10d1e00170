# Generated from _async.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""The queue driver."""

from __future__ import annotations

import math
import os
import secrets
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import repeat
from typing import Any, Final

from redis import Redis, exceptions

from infra.driver import Cause
from infra.errors import ConfigurationError
from infra.plugin import ErrorCode, OpenContext
from infra.queue.model import (
    RELEASE,
    Action,
    DeadLetter,
    Durability,
    Message,
    PublishOutcome,
    QueueFeature,
    QueueLimits,
    QueueSpec,
    QueueStats,
    Receipt,
    Received,
    SendFailure,
    Settled,
)
from infra.runtime.threads import shielded
from infra_redis.connections import Connections, Sending, pack
from infra_redis.faults import NoSuchQueueError, classify, explain, is_answer
from infra_redis.queue import envelope, scripts, server
from infra_redis.queue.place import Batch, Place, Token, receipts, settling
from infra_redis.queue.waiting import Waits
from infra_redis.scripting import Script

_LONGEST_WAIT: Final = 5.0  # seconds after which a waiting receive looks even without news
_SLACK: Final = 5.0  # seconds beyond its wait after which a wait that was not answered is an error
#: What an answer of the server stands for that another attempt would get as well.
_REFUSALS: Final = frozenset(
    {
        ErrorCode.CONFIGURATION,
        ErrorCode.INVALID_ARGUMENT,
        ErrorCode.NOT_FOUND,
        ErrorCode.PERMISSION_DENIED,
        ErrorCode.UNAUTHENTICATED,
    }
)
_ABANDONED_MS: Final = 86_400_000  # after which a receiver that holds nothing is forgotten


class RedisQueueDriver:
    """Queues on one Redis server.

    Args:
        connections: The way to the server.
        waits: The way of receives that wait.
        client: What `unwrap` hands out; it has connections of its own.
        context: Whose driver it is, for what it says.
        timeout: Seconds for a call that is given none.
        host: Host and port, for messages.
    """

    features = frozenset(str(feature) for feature in QueueFeature)
    limits = QueueLimits(batch=500, in_flight=2, message_bytes=64 * 1024 * 1024, batch_bytes=64 * 1024 * 1024)

    def __init__(self, connections: Connections, waits: Waits, client: Redis, context: OpenContext, timeout: float, host: str) -> None:
        self._host = host
        self._connections = connections
        self._waits = waits
        self._client = client
        self._context = context
        self._timeout = timeout
        self._name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(6)}"
        self._places: dict[str, Place] = {}
        self._durability = Durability.NONE
        self._warned = False

    # The queue

    def declare(self, spec: QueueSpec, timeout: float) -> None:
        """Make `spec.name` usable."""
        until = time.monotonic() + timeout
        self._inspect(timeout)
        place = Place(spec, self._name)
        if spec.topology != "none":
            self._create(place, until - time.monotonic())
            self._probe(place, scripts.WRITE, max(0.001, until - time.monotonic()))
        self._places.setdefault(spec.name, place)

    def _create(self, place: Place, timeout: float) -> None:
        """The stream with its group, where they are missing and may be made."""
        groups: list[Any] = []
        try:
            (groups,) = self._connections.exchange(pack(("XINFO", "GROUPS", place.messages)), 1, timeout)
        except exceptions.ResponseError as error:
            if "no such key" not in str(error):
                raise
        if any(scripts.GROUP.encode() in group for group in groups):
            try:
                self._connections.run(scripts.FORGET, place.keys, ("", _ABANDONED_MS), timeout)
            except exceptions.ResponseError:  # somebody else's to do, then
                pass
            return
        if place.spec.topology != "ensure":
            raise NoSuchQueueError(f"the server has no queue {place.spec.name!r}")
        try:
            self._connections.exchange(pack(("XGROUP", "CREATE", place.messages, scripts.GROUP, "0", "MKSTREAM")), 1, timeout)
        except exceptions.ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    def _place(self, queue: str) -> Place:
        place = self._places.get(queue)
        if place is None:
            raise NoSuchQueueError(f"the queue {queue!r} was not declared")
        return place

    def _run(
        self, place: Place, script: Script, arguments: Sequence[str | int | bytes], timeout: float, sending: Sending | None = None
    ) -> Any:
        return self._call(place, script, place.keys, arguments, timeout, sending)

    def _call(
        self,
        place: Place,
        script: Script,
        keys: Sequence[str],
        arguments: Sequence[str | int | bytes],
        timeout: float,
        sending: Sending | None = None,
    ) -> Any:
        """Run a script; a queue that went with its server's memory is made again where it may be."""
        try:
            return self._connections.run(script, keys, arguments, timeout, sending)
        except exceptions.ResponseError as error:
            if "NOGROUP" not in str(error):
                raise
        self._create(place, timeout)
        return self._connections.run(script, keys, arguments, timeout, sending)

    # Publishing

    def send(self, queue: str, batch: Sequence[Message], timeout: float) -> Sequence[Receipt | SendFailure]:
        """Publish all messages in one step. Those of an earlier call without an answer are published once, whatever became of it."""
        place = self._place(queue)
        if not place.unknown or not any(message.id in place.unknown for message in batch):
            return self._send(place, batch, timeout)
        until = time.monotonic() + timeout
        known = self._resolve(place, batch, timeout)
        fresh = [message for message in batch if message.id not in known]
        answers = iter(self._send(place, fresh, max(0.001, until - time.monotonic())) if fresh else ())
        return [known[message.id] if message.id in known else next(answers) for message in batch]

    def _send(self, place: Place, batch: Sequence[Message], timeout: float) -> list[Receipt | SendFailure]:
        lane, sending = place.lane(), Sending()
        keys, arguments, prepared = place.sending(batch, lane)
        messages = [one for one in prepared if isinstance(one, Message)]
        answers: Iterator[Receipt | SendFailure]
        try:
            doubles = self._call(place, scripts.SEND, keys, arguments, timeout, sending) if messages else ()
            place.free(lane)
            answers = iter(receipts(messages, doubles, self._durability))
        except NoSuchQueueError:
            place.free(lane)
            raise
        except exceptions.RedisError as error:
            outcome = PublishOutcome.UNKNOWN
            if not sending.begun or is_answer(error):
                place.free(lane)
                if classify(error) in _REFUSALS:
                    raise
                outcome = PublishOutcome.NOT_SENT
            else:
                place.remember(messages, Batch(lane.key, lane.number))
            answers = repeat(SendFailure(outcome, error))
        except BaseException:  # cancelled
            place.remember(messages, Batch(lane.key, lane.number))
            raise
        return [next(answers) if isinstance(one, Message) else SendFailure(PublishOutcome.REFUSED, one) for one in prepared]

    def _resolve(self, place: Place, batch: Sequence[Message], timeout: float) -> dict[str, Receipt | SendFailure]:
        """Of messages whose sending had no answer: which came, and of which nothing is known still. The others never will come."""
        waiting: dict[Batch, list[tuple[int, Message]]] = {}
        for message in batch:
            found = place.unknown.get(message.id)
            if found is not None:
                waiting.setdefault(found[0], []).append((found[1], message))
        known: dict[str, Receipt | SendFailure] = {}
        until = time.monotonic() + timeout
        for sent, messages in waiting.items():
            ids = [message.id for _, message in messages]
            try:
                left = max(0.001, until - time.monotonic())
                doubles = self._connections.run(scripts.RESOLVE, (sent.lane,), (sent.number,), left)
            except exceptions.RedisError as error:
                known.update(dict.fromkeys(ids, SendFailure(PublishOutcome.UNKNOWN, error)))
                continue
            if doubles is not None:
                doubled = set(doubles.split())
                known.update({one.id: Receipt(one.id, self._durability, b"%d" % number in doubled) for number, one in messages})
            place.forget(ids)
        return known

    # Receiving

    def receive(self, queue: str, most: int, wait: float, lease: float) -> Sequence[Received]:
        """Take messages. First those whose lease or delay is over, then new ones, in the order of publishing."""
        place, until, number = self._place(queue), time.monotonic() + wait, self._waits.round(queue)
        while True:
            received, coming, last = self._claim(place, most, lease)
            left = until - time.monotonic()
            if received or left <= 0:
                return received
            pause = min(left, _LONGEST_WAIT) if coming < 0 else min(left, _LONGEST_WAIT, coming / 1000)
            block = max(1, math.ceil(pause * 1000))
            data = pack(("XREAD", "BLOCK", block, "STREAMS", place.wake, last))
            self._waits.wait(queue, number, data, block / 1000 + _SLACK)
            if self._waits.round(queue) != number:
                return []

    def _claim(self, place: Place, most: int, lease: float) -> tuple[list[Received], int, bytes]:
        received: list[Received] = []
        rest: tuple[int, bytes] = (-1, b"")

        def claim() -> None:
            nonlocal rest
            self._give_back(place)
            lane, sending = place.lane(), Sending()
            arguments = (self._name, most, max(1, math.ceil(lease * 1000)), lane.number)
            try:
                found, *further = self._call(place, scripts.CLAIM, (*place.keys, lane.key), arguments, self._timeout, sending)
            except BaseException as error:
                if sending.begun and not is_answer(error):
                    place.claims.add(Batch(lane.key, lane.number))
                raise
            place.free(lane)
            if not found:
                rest = (further[0], further[1])
            for entry, count, attempt, abandoned, fields in found:
                message = envelope.message(entry, fields, attempt)
                received.append(Received(message, Token(entry, count, message.key), bool(abandoned)))

        try:
            shielded(claim)
        except BaseException:
            if received:  # for somebody who is gone
                with suppress(Exception):  # their leases end, then; the caller is to see its own cancellation
                    shielded(self.settle, place.spec.name, [(one.token, RELEASE) for one in received], self._timeout)
            raise
        return received, *rest

    def _give_back(self, place: Place) -> None:
        """What claims without an answer may have taken; nobody has it, and it would wait for the end of a lease."""
        for claim in tuple(place.claims):
            self._connections.run(scripts.UNCLAIM, (*place.keys, claim.lane), (self._name, claim.number), self._timeout)
            place.claims.discard(claim)

    def interrupt(self, queue: str) -> None:
        """End the waiting receives."""
        self._waits.interrupt(queue)

    def settle(self, queue: str, batch: Sequence[tuple[object, Action]], timeout: float) -> Sequence[Settled | BaseException]:
        """Settle deliveries in one step."""
        answers = shielded(self._run, self._place(queue), scripts.SETTLE, settling(self._name, batch), timeout)
        return [Settled.DONE if answer else Settled.LOST for answer in answers]

    # Looking after it

    def stats(self, queue: str, timeout: float) -> QueueStats:
        """Numbers of messages now; those in line behind another with their key count as ready."""
        ready, delayed, in_flight, dead, oldest = self._run(self._place(queue), scripts.STATS, (), timeout)
        return QueueStats(ready=ready, delayed=delayed, in_flight=in_flight, dead=dead, oldest=None if oldest < 0 else oldest / 1000)

    def peek(self, queue: str, most: int, timeout: float) -> Sequence[Message]:
        """The oldest visible messages that nobody holds."""
        found = self._run(self._place(queue), scripts.PEEK, (most,), timeout)
        return [envelope.message(entry, fields, attempt) for attempt, entry, fields in found]

    def dead_letters(self, queue: str, most: int, timeout: float) -> Sequence[DeadLetter]:
        """The oldest dead letters."""
        packed = pack(("XRANGE", self._place(queue).dead, "-", "+", "COUNT", most))
        (found,) = self._connections.exchange(packed, 1, timeout)
        return [envelope.dead_letter(entry, fields) for entry, fields in found]

    def redrive(self, queue: str, ids: Sequence[str] | None, most: int, timeout: float) -> int:
        """Put dead letters back as new, some hundred at a time."""
        place, until, moved, begin = self._place(queue), time.monotonic() + timeout, 0, "-"
        if ids is not None and not ids:
            return 0
        while begin and moved < most:
            arguments = (most - moved, begin, *(ids or ()))
            more, begin = self._run(place, scripts.REDRIVE, arguments, max(0.001, until - time.monotonic()))
            moved += more
        return moved

    def purge(self, queue: str, dead: bool, timeout: float) -> int:
        """Delete messages or dead letters, some hundred at a time."""
        place, until, removed = self._place(queue), time.monotonic() + timeout, 0
        if dead:
            return (self._connections.exchange(pack(("XTRIM", place.dead, "MAXLEN", 0)), 1, timeout))[0]
        stop, step, begin = "", 1, "-"
        while step < 4:
            more, stop, step, begin = self._run(place, scripts.PURGE, (stop, step, begin), max(0.001, until - time.monotonic()))
            removed += more
        return removed

    # The server

    def ping(self, timeout: float) -> None:
        """Ask how the server keeps what it is given, which may have changed, and whether it takes anything now."""
        until = time.monotonic() + timeout * 0.95  # to say what was not answered, before the caller's own timeout says less
        self._inspect(timeout * 0.95)
        for place in list(self._places.values())[:1]:
            self._probe(place, scripts.STORE, max(0.001, until - time.monotonic()))

    def _probe(self, place: Place, script: Script, timeout: float) -> None:
        """Write nothing; fails as what writes would."""
        try:
            self._connections.run(script, place.keys, (), timeout)
        except exceptions.ResponseError as error:
            if classify(error) is not ErrorCode.PERMISSION_DENIED:
                raise

    def _inspect(self, timeout: float) -> None:
        """Look at the server's settings, as far as it tells; receipts go by them from now on.

        Raises:
            ConfigurationError: It evicts, or cannot be a queue's.
        """
        until = time.monotonic() + timeout
        self._inspect_role(timeout)
        timeout = max(0.001, until - time.monotonic())
        try:
            packed = b"".join(pack(("CONFIG", "GET", name)) for name in server.ASKED)
            settings = server.settings_of(self._connections.exchange(packed, len(server.ASKED), timeout))
        except exceptions.ResponseError as error:
            if classify(error) not in (ErrorCode.PERMISSION_DENIED, ErrorCode.INTERNAL):
                raise
            settings = self._inspect_less(max(0.001, until - time.monotonic()))
        self._durability = server.durability_of(settings)
        policy = server.evicting(settings)
        if policy is not None:
            raise ConfigurationError(
                f"the server may delete messages: its maxmemory-policy is {policy}",
                resource=self._context.resource,
                provider=self._context.provider,
                remedy="set `maxmemory-policy noeviction` there, or give the queue a server of its own",
            )

    def _inspect_role(self, timeout: float) -> None:
        """Refuse a server that keeps no messages, or not all of a queue's for certain."""
        try:
            packed = b"".join(pack(("INFO", section)) for section in server.SECTIONS)
            info = server.info_of(self._connections.exchange(packed, len(server.SECTIONS), timeout))
            if info.get("cluster_enabled") == "1":
                info |= server.info_of(self._connections.exchange(pack(("CLUSTER", "INFO")), 1, timeout))
        except exceptions.ResponseError as error:
            if classify(error) not in (ErrorCode.PERMISSION_DENIED, ErrorCode.INTERNAL):
                raise
            return
        unfit = server.unfit(info)
        if unfit is not None:
            raise ConfigurationError(
                f"the server at {self._host} {unfit[0]}", resource=self._context.resource, provider=self._context.provider, remedy=unfit[1]
            )

    def _inspect_less(self, timeout: float) -> dict[str, str]:
        """What a server tells that does not let us ask for its settings."""
        try:
            packed = pack(("INFO", "persistence")) + pack(("INFO", "memory"))
            settings = server.settings_of_info(self._connections.exchange(packed, 2, timeout))
        except exceptions.ResponseError as error:
            if classify(error) not in (ErrorCode.PERMISSION_DENIED, ErrorCode.INTERNAL):
                raise
            settings = {}
        if not self._warned:
            self._warned = True
            self._context.logger.warning(
                "%s: the account may not read the server's settings (CONFIG GET); receipts say %s, which is the least that they may mean",
                self._context.resource,
                server.durability_of(settings),
            )
        return settings

    def close(self, timeout: float) -> None:
        """End waiting receives, take this receiver off the queues' lists, close all connections."""
        until = time.monotonic() + timeout
        for queue in self._places:
            self._waits.interrupt(queue)
        self._waits.close(timeout)
        for place in self._places.values():
            try:
                left = min(1.0, max(0.001, until - time.monotonic()))
                self._connections.run(scripts.FORGET, place.keys, (self._name, _ABANDONED_MS), left)
            except (exceptions.RedisError, OSError):  # others do it some day
                break
        self._connections.close(max(0.001, until - time.monotonic()))
        self._client.close()

    def classify(self, error: BaseException) -> ErrorCode | None:
        """What an exception of redis-py stands for."""
        return classify(error)

    def explain(self, error: BaseException) -> Cause | None:
        """The same in better words."""
        return explain(error)

    def unwrap(self) -> Sequence[object]:
        """A client of redis-py on the same server."""
        return (self._client,)
