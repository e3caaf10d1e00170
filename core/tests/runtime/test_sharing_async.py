"""What differs between tasks and threads behaves the same on both sides; the twin of this file is generated."""

from __future__ import annotations

import time
from functools import partial

import pytest

from infra.runtime.aio import (
    Background,
    Batcher,
    Event,
    Lock,
    SingleFlight,
    Stop,
    Watchdog,
    call,
    gather,
    shielded,
    sleep,
    wait_for,
    within,
)

# async-only: begin
import asyncio  # isort: skip

# async-only: end
PATIENCE = 60.0


class Counting:
    """A unit of work that counts its runs and waits until it may end."""

    def __init__(self, error: Exception | None = None) -> None:
        self.count = 0
        self.started = Event()
        self.finish = Event()
        self.error = error

    async def __call__(self) -> int:
        self.count += 1
        self.started.set()
        await wait_for(self.finish, PATIENCE)
        if self.error is not None:
            raise self.error
        return self.count


class Key:
    """A key that counts how often it was looked up."""

    def __init__(self) -> None:
        self.asked = 0

    def __hash__(self) -> int:
        self.asked += 1
        return 1

    async def await_callers(self, count: int) -> None:
        """Wait until so many callers have looked it up, of whom the first has also stored it."""
        until = time.monotonic() + PATIENCE
        while self.asked <= count:
            assert time.monotonic() < until
            await sleep(0.005)


class Wire:
    """Sends batches and remembers them. With a gate, it sends nothing before that is open."""

    def __init__(self, delay: float = 0.02, gate: Event | None = None) -> None:
        self.gate = gate
        self.batches: list[list[int]] = []
        self.delay = delay
        self.under_way = 0
        self.most_under_way = 0

    async def send(self, items: list[int]) -> list[int | BaseException]:
        self.batches.append(items)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        if self.gate is not None:
            await wait_for(self.gate, PATIENCE)
        await sleep(self.delay)
        self.under_way -= 1
        if 666 in items:
            raise ConnectionError("lost")
        return [LookupError(str(item)) if item < 0 else item * 10 for item in items]


async def test_callers_of_one_key_share_one_flight_and_later_ones_start_another() -> None:
    flights: SingleFlight[Key, int] = SingleFlight()
    work, key = Counting(), Key()

    async def finish() -> int:
        await wait_for(work.started, PATIENCE)
        await key.await_callers(10)
        assert key in flights
        work.finish.set()
        return 0

    results = await gather(*[partial(flights.do, key, work)] * 10, finish)
    assert results == [1] * 10 + [0]
    assert key not in flights
    assert await flights.do(key, work) == 2


async def test_other_keys_do_not_wait() -> None:
    flights: SingleFlight[str, int] = SingleFlight()
    slow, quick = Counting(), Counting()
    quick.finish.set()

    async def other() -> int:
        await wait_for(slow.started, PATIENCE)
        result = await flights.do("quick", quick)
        slow.finish.set()
        return result

    assert await gather(partial(flights.do, "slow", slow), other) == [1, 1]


async def test_an_exception_reaches_all_and_ends_the_flight() -> None:
    flights: SingleFlight[Key, int] = SingleFlight()
    work, key = Counting(LookupError("gone")), Key()

    async def finish() -> int:
        await wait_for(work.started, PATIENCE)
        await key.await_callers(5)
        work.finish.set()
        return 0

    results = await gather(*[partial(flights.do, key, work)] * 5, finish)
    assert [str(error) for error in results[:5]] == ["gone"] * 5
    work.error = None
    assert await flights.do(key, work) == 2


# async-only: begin
async def test_a_cancelled_caller_harms_neither_the_flight_nor_the_others() -> None:
    flights: SingleFlight[str, int] = SingleFlight()
    work = Counting()
    callers = [asyncio.create_task(flights.do("key", work)) for _ in range(4)]
    await work.started.wait()
    callers[0].cancel()
    callers[2].cancel()
    await asyncio.sleep(0)
    work.finish.set()
    assert await asyncio.gather(callers[1], callers[3]) == [1, 1]


async def test_a_flight_to_abandon_ends_with_its_last_caller() -> None:
    flights: SingleFlight[str, int] = SingleFlight(abandon=True)
    work = Counting()
    callers = [asyncio.create_task(flights.do("key", work)) for _ in range(2)]
    await work.started.wait()
    callers[0].cancel()
    await asyncio.sleep(0)
    assert "key" in flights
    callers[1].cancel()
    await asyncio.wait(callers)
    assert "key" not in flights
    work.finish.set()
    assert await flights.do("key", work) == 2


async def test_a_caller_right_after_the_end_starts_anew() -> None:
    flights: SingleFlight[str, int] = SingleFlight()
    work = Counting()
    later: list[asyncio.Task[int]] = []

    async def ends() -> int:
        asyncio.get_running_loop().call_soon(lambda: later.append(asyncio.create_task(flights.do("key", work))))
        return -1

    work.finish.set()
    assert await flights.do("key", ends) == -1
    while not later:
        await asyncio.sleep(0)
    assert await later[0] == 1


async def test_a_cancelled_caller_of_a_batch_harms_nobody() -> None:
    wire = Wire()
    batcher: Batcher[int, int] = Batcher(wire.send, limit=10)
    callers = [asyncio.create_task(batcher.submit(number)) for number in range(6)]
    await asyncio.sleep(0.005)
    callers[0].cancel()
    callers[3].cancel()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert [result for result in results if isinstance(result, int)] == [10, 20, 40, 50]
    await batcher.drain()


# async-only: end


async def test_a_lone_item_is_sent_at_once_and_those_that_come_meanwhile_together() -> None:
    wire = Wire()
    batcher: Batcher[int, int] = Batcher(wire.send, limit=100)
    assert await batcher.submit(1) == 10
    wire.gate = Event()
    coming: list[int] = []

    async def submit(number: int) -> int:
        coming.append(number)
        return await batcher.submit(number)

    async def open_gate() -> int:
        until = time.monotonic() + PATIENCE
        while len(coming) < 50 and time.monotonic() < until:
            await sleep(0.005)
        await sleep(0.05)
        assert wire.gate is not None
        wire.gate.set()
        return 0

    results = await gather(*[partial(submit, number) for number in range(50)], open_gate)
    assert results[:-1] == [number * 10 for number in range(50)]
    assert wire.batches[0] == [1]
    assert len(wire.batches) < 10
    assert wire.most_under_way == 1
    await batcher.drain()


async def test_batches_keep_to_their_limits() -> None:
    wire = Wire()
    batcher: Batcher[int, int] = Batcher(wire.send, limit=4, in_flight=2)
    results = await gather(*[partial(batcher.submit, number) for number in range(40)])
    assert results == [number * 10 for number in range(40)]
    assert max(map(len, wire.batches)) <= 4
    assert wire.most_under_way <= 2


async def test_each_item_gets_its_own_exception_and_a_lost_batch_reaches_all_in_it() -> None:
    wire = Wire()
    batcher: Batcher[int, int] = Batcher(wire.send, limit=100)
    results = await gather(*[partial(batcher.submit, number) for number in (1, -2, 3, -4)])
    assert results[0] == 10
    assert results[2] == 30
    assert [str(results[1]), str(results[3])] == ["-2", "-4"]
    with pytest.raises(ConnectionError):
        await batcher.submit(666)
    lost = await gather(*[partial(batcher.submit, 666)] * 5)
    assert all(isinstance(error, ConnectionError) for error in lost)
    assert await batcher.submit(7) == 70


async def test_a_sender_that_loses_results_hangs_nobody() -> None:
    async def send(items: list[int]) -> list[int | BaseException]:
        await sleep(0.02)
        return [] if len(items) > 1 else [items[0]]

    batcher: Batcher[int, int] = Batcher(send, limit=100)
    results = await gather(*[partial(batcher.submit, number) for number in range(8)])
    assert any(isinstance(result, RuntimeError) for result in results)
    assert await batcher.submit(1) == 1


async def test_background_work_ends_when_asked(caplog: pytest.LogCaptureFixture) -> None:
    background = Background("owner")
    stopped: list[int] = []

    async def job(stop: Stop) -> None:
        assert await stop.wait(PATIENCE)
        stopped.append(1)

    async def broken(_stop: Stop) -> None:
        raise LookupError("job failed")

    background.start(job, "job")
    background.start(job, "job")
    background.start(broken, "broken")
    until = time.monotonic() + PATIENCE
    while background.running > 2 and time.monotonic() < until:
        await sleep(0.005)
    assert background.running == 2
    assert await background.stop(PATIENCE)
    assert stopped == [1, 1]
    assert "broken failed" in caplog.text


async def test_background_work_that_does_not_end_is_reported() -> None:
    background = Background("owner")
    release = Event()

    async def deaf(_stop: Stop) -> None:
        await wait_for(release, PATIENCE)

    background.start(deaf, "deaf")
    assert not await background.stop(0.05)
    release.set()
    assert await background.stop(PATIENCE)


async def test_a_watchdog_acts_until_its_block_ends_or_it_loses() -> None:
    acted: list[int] = []

    async def action() -> bool:
        acted.append(1)
        return len(acted) < 3

    async with Watchdog(0.01, action) as watchdog:
        until = time.monotonic() + PATIENCE
        while not watchdog.lost and time.monotonic() < until:
            await sleep(0.005)
        await sleep(0.05)
    assert watchdog.lost
    assert len(acted) == 3


async def test_a_watchdog_whose_action_raises_has_lost() -> None:
    async def action() -> bool:
        raise ConnectionError("gone")

    async with Watchdog(0.01, action) as watchdog:
        until = time.monotonic() + PATIENCE
        while not watchdog.lost and time.monotonic() < until:
            await sleep(0.005)
    assert watchdog.lost


async def test_gather_keeps_order_and_limit_and_gives_exceptions() -> None:
    running = [0, 0]
    guard = Lock()

    async def one(number: int) -> int:
        async with guard:
            running[0] += 1
            running[1] = max(running)
        await sleep(0.01)
        async with guard:
            running[0] -= 1
        if number == 3:
            raise LookupError("three")
        return number

    results = await gather(*[partial(one, number) for number in range(6)], limit=2)
    assert results[:3] + results[4:] == [0, 1, 2, 4, 5]
    assert str(results[3]) == "three"
    assert running[1] == 2
    assert await gather() == []


async def test_calls_pass_their_results() -> None:
    async def double(number: int) -> int:
        return number * 2

    assert await call(double, 2) == 4
    assert await within(1.0, double, 3) == 6
    assert await shielded(double, 4) == 8


async def test_waiting_for_an_event_ends_with_it_or_with_the_time() -> None:
    event = Event()
    assert not await wait_for(event, 0.01)
    event.set()
    assert await wait_for(event, None)
