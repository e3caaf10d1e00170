"""The loop behind `consume`: fetch ahead, hand out, renew leases, settle in batches, drain."""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from infra.errors import InfraError
from infra.queue._async.delivery import AsyncDelivery
from infra.queue.arguments import pause_after
from infra.queue.driver import TellsLeases
from infra.queue.history import why_lost
from infra.queue.model import (
    ACK,
    RELEASE,
    Ack,
    Action,
    ConsumerOptions,
    ConsumeSummary,
    Dead,
    Extend,
    QueueFeature,
    Retry,
    Settled,
)
from infra.queue.tracing import traceparent
from infra.runtime.aio import Background, Channel, Event, Scope, Stop, call, ends_caller, shielded, sleep, wait_for
from infra.runtime.bridge import ThreadBridge
from infra.runtime.deadline import Deadline

if TYPE_CHECKING:
    from infra.queue._async.queue import AsyncQueue

_MOST_HELD = 1000
_EMPTY_WAIT = 0.1  # a queue that yields nothing for so long is empty
_SMOOTHING = 0.1  # weight of the newest handler's duration in the running mean
_CAREFUL = 10.0  # seconds without fetching ahead after a message came again, where nobody can say why
_GLANCE = 0.25  # seconds between looks at leases that may end early
_PUT_BACK = 5.0  # seconds before a message is given back that could not be settled
_PAUSES = (0.1, 10.0)  # seconds before receiving again after a failure: the first and the longest


class AsyncConsumer:
    """One call of `consume`.

    Args:
        queue: The queue to consume.
        handler: The host's function.
        model: The type to decode bodies to; None hands out deliveries.
        options: See `AsyncQueue.consume`.
        summary: What is counted.
    """

    def __init__(
        self, queue: AsyncQueue, handler: Callable[..., Any], model: Any, options: ConsumerOptions, summary: ConsumeSummary
    ) -> None:
        self._queue = queue
        self._log = queue.context.logger
        self._handler = handler
        self._two_arguments = queue.arguments.takes_two(handler)
        self._decoders = None if model is None else queue.decoders(model)
        self._options = options
        self._summary = summary
        self._ended = Stop()  # no further fetching; what is in work goes on
        self._done = Stop()  # everything is settled
        self._deadline: Deadline | None = None  # of draining, once somebody set it
        self._failure: InfraError | None = None
        self._buffer: Channel[AsyncDelivery] = Channel()
        self._settlements: Channel[tuple[AsyncDelivery, Action]] = Channel()
        self._held: set[AsyncDelivery] = set()
        self._freed = Event()
        self._lease_over = queue.driver.lease_over if isinstance(queue.driver, TellsLeases) else None
        self._pace: float | None = None
        self._ended_handlers = self._failed_handlers = 0
        self._paused_until = 0.0
        self._careful_until = 0.0
        self._alone: AsyncDelivery | None = None  # it may have killed its worker; nothing else is held as long as it is
        self._singly = False  # more of that kind may come: one at a time
        self._lock = threading.Lock()
        self._running: dict[tuple[str, datetime], AsyncDelivery] = {}
        self._heirs: dict[AsyncDelivery, list[AsyncDelivery]] = {}  # the same message again, while a handler of it runs
        self._ticked = time.monotonic()  # when leases were last looked after
        self._bridge: ThreadBridge | None = None
        # async-only: begin
        if not (inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(type(handler).__call__)):
            self._bridge = ThreadBridge(f"{queue.name}-handlers", options.concurrency)
        # async-only: end
        # sync-only: if inspect.iscoroutinefunction(handler):
        # sync-only:     call(handler)  # refuses it
        self._fetching = Background(queue.name)
        self._handling = Background(queue.name)
        self._serving = Background(queue.name)

    async def run(self, stop: Stop | None, abort: Stop | None = None) -> ConsumeSummary:
        """Consume until the end that the options name, or until `stop` or `abort` is set."""
        unlink = [stop.on_set(self._ended.set)] if stop is not None else []
        if abort is not None:
            unlink.append(abort.on_set(self._abort))
        self._fetching.start(self._fetch, "fetch")
        self._serving.start(self._settle, "settle")
        if QueueFeature.EXTEND in self._queue.features:
            self._serving.start(self._renew, "renew")
        for number in range(self._options.concurrency):
            self._handling.start(self._work, f"handler-{number}")
        until = self._options.until
        try:
            await self._ended.wait(until if isinstance(until, float) else None)
        except BaseException:
            self._deadline = Deadline(0.0)  # cancelled: let nothing go on
            raise
        finally:
            await shielded(self._drain)
            for undo in unlink:
                undo()
        if self._failure is not None:
            raise self._failure
        return self._summary

    def _abort(self) -> None:
        self._deadline = Deadline(0.0)
        self._ended.set()

    async def drained(self, deadline: Deadline) -> None:
        """Stop, and wait until everything is settled or `deadline` has passed."""
        self._deadline = deadline
        self._ended.set()
        await self._done.wait(deadline.remaining(3600.0))

    # Fetching

    async def _fetch(self, _stop: Stop) -> None:
        queue, options = self._queue, self._options
        driver, name, lease = queue.driver, queue.queue, options.lease
        until_empty = options.until == "empty"
        wait = _EMPTY_WAIT if until_empty else max(queue.settings.wait, 0.05)
        pause = _PAUSES[0]
        silent_since: float | None = None
        while not self._ended.is_set():
            most = self._room()
            if not most:
                await wait_for(self._freed, 0.5)
                self._freed.clear()
                continue
            try:
                received = await driver.receive(name, 1 if self._singly else min(most, driver.limits.batch), wait, lease)
                if received and queue._hops:
                    received = await queue.due(received)
            except Exception as error:
                failure = queue.error(error, "receive")
                if not failure.retryable:
                    self._failure = failure
                    self._ended.set()
                    return
                if silent_since is None:
                    silent_since = time.monotonic()
                    self._log.warning("%s; trying again until it succeeds", failure)
                await self._ended.wait(pause)
                pause = min(_PAUSES[1], pause * 2)
                continue
            if silent_since is not None:
                self._log.info("%s: receiving again after %.1f s", queue.name, time.monotonic() - silent_since)
                silent_since = None
            pause = _PAUSES[0]
            self._look_at_leases()
            if received:
                await self._take_in([AsyncDelivery(queue, one, lease) for one in received])
            elif until_empty and not self._held:
                self._ended.set()

    async def _take_in(self, deliveries: list[AsyncDelivery]) -> None:
        """Hand them out. One that may have killed its worker is begun alone, with nothing else held that would lose an attempt with it."""
        if any(one.abandoned is None and one.attempt > 1 for one in deliveries):
            self._careful_until = time.monotonic() + min(self._options.lease, _CAREFUL)
        suspects = [one for one in deliveries if one.abandoned and self._queue.history.find(one.message) is None]
        self._singly = bool(suspects)
        if not suspects:
            self._held.update(deliveries)
            self._buffer.put(deliveries)
            return
        self._alone = suspects[0]
        self._held.add(self._alone)
        await self._release([*self._buffer.clear(), *(one for one in deliveries if one is not self._alone)])
        while len(self._held) > 1 and not self._ended.is_set():
            await wait_for(self._freed, 0.5)
            self._freed.clear()
        self._buffer.put([self._alone])

    async def _release(self, surplus: list[AsyncDelivery]) -> None:
        surplus = [one for one in surplus if one.gone is None]
        for one in surplus:
            one.settled = True
        if surplus:
            await self._queue.settle_many([(delivery, RELEASE) for delivery in surplus])
        self._summary.released += len(surplus)
        self._held.difference_update(surplus)

    def _room(self) -> int:
        """How many deliveries to fetch now; 0 while it is not worth a call, or paused."""
        held = len(self._held)
        if self._paused_until > time.monotonic() or self._alone in self._held:
            return 0
        most = self._options.prefetch
        if self._careful_until > time.monotonic():
            most = min(self._options.concurrency, most or self._options.concurrency)
        elif most is None:
            concurrency = self._options.concurrency
            pace = self._pace
            ahead = 1.0 if pace is None else self._queue.settings.prefetch_seconds / max(pace, 1e-6)
            most = min(max(_MOST_HELD, concurrency), max(concurrency, int(concurrency * ahead)))
        free = most - held
        if free > 0 and (not len(self._buffer) or free * 4 >= most):
            return free
        return 0

    # Handling

    async def _work(self, _stop: Stop) -> None:
        buffer = self._buffer
        while taken := await buffer.take():
            delivery = taken[0]
            if delivery.gone is not None:
                continue
            if self._paused_until > time.monotonic():
                self._finish(delivery, RELEASE)
                continue
            key = delivery.id, delivery.created_at
            with self._lock:
                runs = self._running.setdefault(key, delivery)
                if runs is not delivery:  # it came again while its handler runs: what that one does counts
                    self._heirs.setdefault(runs, []).append(delivery)
                    continue
            self._finish(delivery, await self._handle(delivery))

    def _finish(self, delivery: AsyncDelivery, action: Action | None) -> None:
        """Settle it, unless nothing is left to settle."""
        if action is None:
            self._over(delivery)
            self._forget(delivery)
        else:
            delivery.settled = True
            self._settlements.put(((delivery, action),))

    def _over(self, delivery: AsyncDelivery) -> None:
        """It is known what became of it; the same message, if it came again meanwhile, has its turn."""
        with self._lock:
            if self._running.get((delivery.id, delivery.created_at)) is not delivery:
                return
            del self._running[delivery.id, delivery.created_at]
            heirs = self._heirs.pop(delivery, [])
        self._buffer.put([heir for heir in heirs if heir.gone is None])

    async def _handle(self, delivery: AsyncDelivery) -> Action | None:
        """Run the handler; how to settle, or None when nothing is left to settle."""
        message, policy = delivery.message, self._options.retry
        known = self._queue.history.find(message)
        if known is not None and known.ended:
            self._log.info("%s: message %s had ended well before its lease was lost; it is not run again", self._queue.name, message.id)
            return ACK
        begun = message.attempt - (0 if known is None else known.unbegun)
        if begun > max(policy.max_attempts, 2 if delivery.abandoned else 1):
            why = f" (the last time: {known.why})" if known is not None else ""
            return self._poison(delivery, f"delivered {message.attempt} times, of which none ended{why}; {policy.max_attempts} are allowed")
        value: Any = delivery
        if self._decoders is not None:
            try:
                value = self._decoders(message.content_type, message.body)
            except Exception as error:
                return self._poison(delivery, self._queue.undecodable(message, error).message)
        arguments = (value, delivery) if self._two_arguments else (value,)
        failure: BaseException | None = None
        mark = traceparent.set(message.traceparent)
        started = time.monotonic()
        interrupted = False
        delivery.begun = True
        try:
            async with Scope() as scope:
                if self._bridge is None:  # a thread cannot be cancelled: it is told, and waited for
                    delivery.scope = scope
                await call(self._handler, *arguments, bridge=self._bridge)
            # async-only: begin
            interrupted = scope.cancelled
            # async-only: end
        except BaseException as error:
            if not isinstance(error, Exception) and ends_caller(error):
                if not delivery.settled and self._bridge is None:  # draining took too long; a thread that runs on keeps its message
                    self._settlements.put(((delivery, Retry(0.0)),))
                raise
            failure = error
        finally:
            delivery.scope = None
            traceparent.reset(mark)
        if delivery.gone is not None:
            if failure is None and not (delivery.settled or delivery.noticed or interrupted):
                self._queue.history.ended(message)
            return None
        self._measure(time.monotonic() - started, failed=failure is not None)
        if delivery.settled:  # by the handler
            self._summary.handled += 1
            return None
        return ACK if failure is None else self._failed(delivery, failure)

    def _failed(self, delivery: AsyncDelivery, failure: BaseException) -> Action:
        policy, attempt = self._options.retry, delivery.attempt
        reason = f"{type(failure).__name__}: {self._queue.context.redact(str(failure))[:500]}"
        if isinstance(failure, policy.fatal):
            return self._poison(delivery, reason)
        if attempt >= policy.max_attempts:
            return self._poison(delivery, f"{reason} (attempt {attempt} of {policy.max_attempts})")
        self._log.warning(
            "%s: handler failed, attempt %d of %d: %s",
            self._queue.name,
            attempt,
            policy.max_attempts,
            reason,
            exc_info=failure,
            extra={"message_id": delivery.id, "attempt": attempt},
        )
        if QueueFeature.RETRY_DELAY not in self._queue.features:
            return Retry(0.0)
        return Retry(pause_after(policy, attempt, self._queue.name, self._log))

    def _poison(self, delivery: AsyncDelivery, reason: str) -> Action:
        self._log.error(
            "%s: message %s is given up: %s",
            self._queue.name,
            delivery.id,
            reason,
            extra={"message_id": delivery.id, "attempt": delivery.attempt},
        )
        return Dead(reason)

    def _measure(self, duration: float, *, failed: bool) -> None:
        pace = self._pace
        self._pace = duration if pace is None else pace + _SMOOTHING * (duration - pace)
        switch = self._options.kill_switch
        if switch is None:
            return
        self._ended_handlers += 1
        self._failed_handlers += failed
        if self._ended_handlers >= switch.minimum:
            if self._failed_handlers >= switch.threshold * self._ended_handlers:
                self._paused_until = time.monotonic() + switch.pause
                self._log.error(
                    "%s: %d of %d handlers failed; paused for %.0f s",
                    self._queue.name,
                    self._failed_handlers,
                    self._ended_handlers,
                    switch.pause,
                )
            self._ended_handlers = self._failed_handlers = 0

    # Leases and settling

    async def _renew(self, stop: Stop) -> None:
        """Extend what is due, a tenth of a lease at a time, in one batch."""
        lease = self._options.lease
        tick = max(0.02, lease / 10) if self._lease_over is None else min(_GLANCE, max(0.02, lease / 10))
        limit = self._queue.driver.limits.batch
        while not await stop.wait(tick):
            self._look_at_leases()
            soon = time.monotonic() + tick / 2
            due = [one for one in self._held.copy() if one.renew_at <= soon and not one.settled]
            for start in range(0, len(due), limit):
                await self._extend(due[start : start + limit], lease)
            self._ticked = time.monotonic()

    def _look_at_leases(self) -> None:
        """Notice leases that have ended early."""
        if (over := self._lease_over) is None:
            return
        lost: dict[str, list[AsyncDelivery]] = {}
        for one in self._held.copy():
            if one.gone is None and not one.settled and (why := over(one._token)) is not None:
                lost.setdefault(why, []).append(one)
        for why, deliveries in lost.items():
            self._lose(deliveries, why)

    def _lose(self, deliveries: list[AsyncDelivery], why: str) -> None:
        """Their messages come again, here or elsewhere: end their handlers."""
        for one in deliveries:
            one.gone = why
            self._queue.history.lost(one.message, why, begun=one.begun)
        self._summary.lost += len(deliveries)
        self._log.warning(
            "%s: lost the leases of %d messages, of which %d were being handled: %s",
            self._queue.name,
            len(deliveries),
            sum(one.begun for one in deliveries),
            why,
            extra={"message_ids": [one.id for one in deliveries[:100]]},
        )
        for one in deliveries:
            if one.scope is not None:
                one.scope.cancel()
            self._forget(one)

    async def _extend(self, due: list[AsyncDelivery], lease: float) -> None:
        now = time.monotonic()
        answers = await self._queue.settle_many([(delivery, Extend(lease)) for delivery in due])
        lost: list[AsyncDelivery] = []
        for delivery, answer in zip(due, answers, strict=True):
            if answer is Settled.DONE:
                delivery.renew_at = now + 0.7 * lease
            elif delivery.settled or delivery.gone is not None:
                continue
            elif answer is Settled.LOST or time.monotonic() > delivery.renew_at + 0.3 * lease:
                lost.append(delivery)
        if lost:
            self._lose(lost, why_lost(time.monotonic() - self._ticked, self._options.lease))

    async def _settle(self, _stop: Stop) -> None:
        limit = self._queue.driver.limits.batch
        summary, history = self._summary, self._queue.history
        while batch := await self._settlements.take(limit):
            answers = await self._queue.settle_many([self._final(one) for one in batch])
            lost: list[AsyncDelivery] = []
            for (delivery, action), answer in zip(batch, answers, strict=True):
                if answer is Settled.LOST:
                    lost.append(delivery)
                elif isinstance(answer, BaseException):
                    self._log.error("%s; message %s will be delivered again", answer, delivery.id)
                    if not isinstance(action, Ack):
                        self._serving.start(partial(self._put_back, delivery), "put-back")
                elif isinstance(action, Ack):
                    summary.handled += 1
                elif isinstance(action, Dead):
                    summary.dead += 1
                elif isinstance(action, Retry) and action.counted:
                    summary.retried += 1
                else:
                    summary.released += 1
                if isinstance(action, Ack) and answer is not Settled.DONE:
                    history.ended(delivery.message)
                elif answer is Settled.DONE:
                    history.settled(delivery.message)
                self._over(delivery)
            self._held.difference_update([delivery for delivery, _ in batch])
            if lost:
                over = self._lease_over
                self._lose(
                    lost, (None if over is None else over(lost[0]._token)) or why_lost(time.monotonic() - self._ticked, self._options.lease)
                )
            self._freed.set()

    async def _put_back(self, delivery: AsyncDelivery, stop: Stop) -> None:
        """It could not be settled, and some leases never end by themselves."""
        await stop.wait(_PUT_BACK)
        await self._queue.settle_many([(delivery, RELEASE)])

    def _final(self, settlement: tuple[AsyncDelivery, Action]) -> tuple[AsyncDelivery, Action]:
        discarded = isinstance(settlement[1], Dead) and self._options.on_poison == "discard"
        return (settlement[0], ACK) if discarded else settlement

    def _forget(self, delivery: AsyncDelivery) -> None:
        self._held.discard(delivery)
        self._freed.set()

    # Draining

    async def _drain(self) -> None:
        """End: stop fetching, give back what was not begun, let handlers finish until the deadline, settle, stop."""
        self._ended.set()
        if self._deadline is None:
            self._deadline = Deadline(self._queue.settings.drain_timeout)
        self._give_back()
        self._freed.set()
        await self._interrupt()
        self._give_back()  # what the last receive brought
        while self._handling.running and not self._deadline.passed:
            await sleep(0.005)
        await self._handling.stop(0.0)  # cancels the tasks; threads keep their messages until the leases end
        self._give_back()
        self._settlements.close()
        self._serving.stopping.set()
        await self._serving.stop(self._queue.settings.timeout)
        if self._bridge is not None:
            self._bridge.close()
        self._done.set()

    async def _interrupt(self) -> None:
        """End the receive under way; one that cannot be ended comes back by itself."""
        while self._fetching.running and not (self._deadline is not None and self._deadline.passed):
            try:
                await self._queue.driver.interrupt(self._queue.queue)
            except Exception as error:
                self._log.debug("%s", self._queue.error(error, "interrupt"))
            await sleep(0.005)
        await self._fetching.stop(0.0)

    def _give_back(self) -> None:
        waiting = [delivery for delivery in self._buffer.clear() if delivery.gone is None]
        self._buffer.close()
        for delivery in waiting:
            delivery.settled = True
        self._settlements.put([(delivery, RELEASE) for delivery in waiting])
