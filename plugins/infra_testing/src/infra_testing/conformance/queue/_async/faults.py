"""Receipts that must be true, cancelled settlements, and what happens when the server, or the way to it, fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from infra.errors import ErrorCode, InfraError
from infra.queue import Message, PublishError, PublishOutcome, QueueFeature, Receipt
from infra.queue.model import ACK, SendFailure
from infra.runtime.aio import sleep
from infra_testing.conformance.base.processes import Child
from infra_testing.conformance.base.server import private_server
from infra_testing.conformance.queue._async.steps import PATIENCE, AsyncQueueCases, nothing, receive_all
from infra_testing.conformance.queue.processes import publish_and_die
from infra_testing.harness import Place
from infra_testing.private import PrivateServer
from infra_testing.proxy import Direction

# async-only: begin
import asyncio  # isort: skip

# async-only: end

#: Seconds that a call may take which has to give up; what has a `timeout` of less must not take longer, however busy the machine.
GIVING_UP = 20.0


class AsyncQueueFaultCases(AsyncQueueCases):
    """Faults. Those of a server run with a harness that gives one."""

    def fault_server(self, *, to_kill: bool = False) -> PrivateServer | None:
        """See `private_server`."""
        return private_server(self.harness, "queue", to_kill=to_kill)

    async def attempt(self, queue: Any, body: bytes, timeout: float) -> Receipt | SendFailure | BaseException:
        """One sending by the driver alone, which must come back soon."""
        started = time.monotonic()
        try:
            (answer,) = await queue.driver.send(queue.queue, [Message(body)], timeout)
        except Exception as error:
            answer = error
        assert time.monotonic() - started < GIVING_UP, "sending does not keep to its timeout"
        return answer

    def outcome(self, queue: Any, answer: Receipt | SendFailure | BaseException) -> PublishOutcome:
        """What is known of the message after that."""
        assert not isinstance(answer, Receipt), "there is a receipt for what the server never confirmed"
        if isinstance(answer, SendFailure):
            return answer.outcome
        refusing = (ErrorCode.INVALID_ARGUMENT, ErrorCode.PERMISSION_DENIED, ErrorCode.NOT_FOUND)
        return PublishOutcome.REFUSED if queue.driver.classify(answer) in refusing else PublishOutcome.UNKNOWN

    async def emptied(self, queue: Any, most: int) -> list[bytes]:
        """The bodies of up to `most` messages that are there now."""
        found: list[bytes] = []
        while len(found) < most:
            deliveries = await queue.receive(max=most - len(found), wait=1.0, lease=600)
            if not deliveries:
                break
            found += [delivery.body for delivery in deliveries]
        return found

    async def test_a_receipt_means_that_the_message_is_stored(self, opened: Any, place: Place) -> None:
        """A publisher that ends with its receipt in hand has lost nothing."""
        queue = await opened()
        if not queue.supports(QueueFeature.SHARED):
            for number in range(3):
                receipt = await queue.publish(str(number).encode())
                found = await queue.receive(wait=0, lease=600)
                assert [delivery.id for delivery in found] == [receipt.id], "there was a receipt before the message was stored"
                await found[0].ack()
            return
        count, is_async = 10, False
        # async-only: begin
        is_async = True
        # async-only: end
        with Child(publish_and_die, self.harness.portable(), place.data_dir, count, is_async) as child:
            receipts = {child.receive() for _ in range(count)}
            child.wait()
        found = await self.emptied(queue, count)
        assert len(found) == len(receipts), f"of {count} messages with a receipt {len(found)} survived the end of their publisher"

    # async-only: begin
    async def test_a_settlement_that_has_begun_is_done_though_its_caller_is_cancelled(self, opened: Any) -> None:
        queue = await opened()
        count = 6
        await queue.publish_many([str(number).encode() for number in range(count)])
        deliveries = await receive_all(queue, count, lease=600)
        for steps, delivery in enumerate(deliveries, 1):
            task = asyncio.ensure_future(queue.driver.settle(queue.queue, [(delivery._token, ACK)], PATIENCE))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        until = time.monotonic() + GIVING_UP
        while (stats := await queue.stats()).in_flight or stats.ready:
            assert time.monotonic() < until, f"{stats.in_flight} of {count} settlements were dropped with their cancelled caller"
            await sleep(0.02)

    # async-only: end

    async def test_a_server_that_refuses_is_unavailable_and_found_again(self, opened: Any) -> None:
        server = self.fault_server()
        if server is None:
            return
        queue = await opened(**server.settings())
        await queue.publish(b"before")
        server.proxy.refuse()
        server.proxy.reset()
        with pytest.raises(PublishError) as caught:
            await queue.publish(b"lost", timeout=1.0)
        assert caught.value.code in (ErrorCode.UNAVAILABLE, ErrorCode.TIMEOUT), f"an unreachable server is told as {caught.value.code}"
        assert caught.value.outcome != "refused", "an unreachable server is told as a refusal of the message"
        assert caught.value.retryable
        code = await self.raised(queue, lambda: queue.driver.ping(1.0))
        assert code in (ErrorCode.UNAVAILABLE, ErrorCode.TIMEOUT), f"an unreachable server is told as {code}"
        server.proxy.heal()
        await self.again(lambda: queue.publish(b"after"))
        found: list[bytes] = []
        while b"after" not in found:
            found += [delivery.body for delivery in await self.again(lambda: receive_all(queue, 1, lease=600))]
        assert b"before" in found

    async def test_a_silent_server_costs_no_more_than_the_timeout(self, opened: Any) -> None:
        server = self.fault_server()
        if server is None:
            return
        queue = await opened(**server.settings())
        await queue.publish(b"before")
        server.proxy.black_hole()
        outcome = self.outcome(queue, await self.attempt(queue, b"doubtful", 0.3))
        assert outcome is PublishOutcome.UNKNOWN, f"a message that may have arrived is told as {outcome}"
        code = await self.raised(queue, lambda: queue.driver.ping(0.3))
        assert code in (ErrorCode.TIMEOUT, ErrorCode.UNAVAILABLE), f"a server that does not answer is told as {code}"
        server.proxy.heal()
        await self.again(lambda: queue.publish(b"after"))

    async def test_an_answer_that_is_lost_leaves_the_outcome_unknown(self, opened: Any) -> None:
        server = self.fault_server()
        if server is None:
            return
        queue = await opened(**server.settings())
        await queue.publish(b"before")
        server.proxy.black_hole(Direction.TO_CLIENT)
        answer = await self.attempt(queue, b"arrived", 0.3)
        server.proxy.reset()
        server.proxy.heal()
        outcome = self.outcome(queue, answer)
        assert outcome is PublishOutcome.UNKNOWN, f"a message that has arrived is told as {outcome}"
        bodies: list[bytes] = []
        while sorted(set(bodies)) != [b"arrived", b"before"]:
            bodies += [delivery.body for delivery in await self.again(lambda: receive_all(queue, 1, lease=600))]

    async def test_a_slow_answer_is_waited_for(self, opened: Any) -> None:
        server = self.fault_server()
        if server is None:
            return
        queue = await opened(**server.settings())
        server.proxy.delay(0.1)
        receipt = await queue.publish(b"slow")
        (delivery,) = await receive_all(queue, 1)
        assert delivery.id == receipt.id
        await delivery.ack()
        server.proxy.heal()
        assert await nothing(queue)

    async def test_no_receipt_is_lost_with_a_server_that_is_killed(self, opened: Any) -> None:
        server = self.fault_server(to_kill=True)
        if server is None:
            return
        queue = await opened(**server.settings())
        receipts: list[Receipt] = []
        killer = threading.Thread(target=server.server.kill)
        outcomes: list[PublishOutcome] = []
        while len(outcomes) < 3:
            try:
                receipts.append(await queue.publish(b"x", timeout=0.2))
            except PublishError as error:
                outcomes.append(error.outcome)
            if len(receipts) == 30 and killer.ident is None:
                killer.start()
            assert len(receipts) < 20_000, "the server was killed, and receipts keep coming"
        assert PublishOutcome.REFUSED not in outcomes, "a server that was killed is told as a refusal of the message"
        killer.join()
        server.server.start()
        kept = {receipt.id for receipt in receipts if receipt.durability not in ("none", "process")}
        assert kept or receipts[0].durability != "disk"
        found: set[str] = set()
        until = time.monotonic() + PATIENCE
        while not kept <= found and time.monotonic() < until:
            deliveries = await self.again(lambda: queue.receive(max=100, wait=1.0, lease=600))
            if not deliveries:
                break
            found |= {delivery.id for delivery in deliveries}
        assert kept <= found, f"of {len(kept)} messages that were on disk by their receipts {len(kept - found)} are lost"

    async def test_closing_ends_all_connections(self, opened: Any) -> None:
        server = self.fault_server()
        if server is None:
            return
        server.proxy.reset()  # what earlier cases left is on its way out
        before = server.proxy.open_connections
        queue = await opened(**server.settings())
        await queue.publish_many([b"x"] * 10)
        await receive_all(queue, 5, lease=600)
        await queue.close()
        until = time.monotonic() + GIVING_UP
        while (left := server.proxy.open_connections) > before:
            assert time.monotonic() < until, f"closing left {left - before} connections open"
            await sleep(0.01)

    async def raised(self, queue: Any, call: Callable[[], Any]) -> ErrorCode | None:
        """What the driver calls the exception that `call` ends with, soon."""
        started = time.monotonic()
        with pytest.raises(Exception) as caught:
            await call()
        assert time.monotonic() - started < GIVING_UP, "the call does not keep to its timeout"
        return queue.driver.classify(caught.value) or (ErrorCode.TIMEOUT if isinstance(caught.value, TimeoutError) else None)

    async def again(self, call: Callable[[], Any]) -> Any:
        """The result of `call`, begun anew while a connection comes back."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                return await call()
            except InfraError as error:
                if not error.retryable or time.monotonic() > until:
                    raise
                await sleep(0.02)
