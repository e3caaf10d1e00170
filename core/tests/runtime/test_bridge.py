"""Blocking calls from asyncio."""

from __future__ import annotations

import asyncio
import threading

import pytest

from infra.runtime.bridge import ThreadBridge


async def test_a_call_runs_in_a_named_thread_of_the_bridge() -> None:
    bridge = ThreadBridge("cache.main", 2)
    name = await bridge.call(lambda: threading.current_thread().name)
    assert name.startswith("infra-cache.main")
    bridge.close()


async def test_no_more_calls_run_at_once_than_the_bridge_is_wide() -> None:
    bridge = ThreadBridge("narrow", 2)
    running, most = 0, 0
    guard = threading.Lock()
    pause = threading.Event()

    def work() -> None:
        nonlocal running, most
        with guard:
            running += 1
            most = max(most, running)
        pause.wait(0.02)
        with guard:
            running -= 1

    await asyncio.gather(*(bridge.call(work) for _ in range(10)))
    assert most == 2
    bridge.close()


async def test_an_exception_reaches_the_caller() -> None:
    bridge = ThreadBridge("broken")
    with pytest.raises(ZeroDivisionError):
        await bridge.call(lambda: 1 / 0)
    bridge.close()


async def test_the_result_of_an_abandoned_call_is_given_back() -> None:
    bridge = ThreadBridge("abandoned", 1)
    started, finish, given_back = threading.Event(), threading.Event(), threading.Event()
    got: list[str] = []

    def work() -> str:
        started.set()
        finish.wait(10)
        return "message"

    def take_back(result: str) -> None:
        got.append(result)
        given_back.set()

    caller = asyncio.create_task(bridge.call(work, abandoned=take_back))
    await asyncio.to_thread(started.wait, 10)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    finish.set()
    assert await asyncio.to_thread(given_back.wait, 10)
    assert got == ["message"]
    bridge.close()


async def test_a_call_cancelled_before_its_turn_never_runs() -> None:
    bridge = ThreadBridge("queued", 1)
    finish = threading.Event()
    ran: list[int] = []
    first = asyncio.create_task(bridge.call(finish.wait, 10))
    second = asyncio.create_task(bridge.call(ran.append, 1))
    await asyncio.sleep(0.01)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    finish.set()
    assert await first
    await bridge.call(int)
    assert ran == []
    bridge.close()


async def test_a_result_that_came_just_before_the_cancellation_is_given_back_in_a_thread() -> None:
    bridge = ThreadBridge("late", 1)
    given: list[tuple[int, int]] = []
    done = threading.Event()

    def give_back(result: int) -> None:
        given.append((result, threading.get_ident()))
        done.set()

    task = asyncio.create_task(bridge.call(lambda: 1, abandoned=give_back))
    await asyncio.sleep(0)
    bridge._executor.submit(int).result()  # the only thread has ended the call, and the loop has not seen it
    task.cancel()
    await asyncio.wait([task])
    assert await asyncio.to_thread(done.wait, 60)
    assert task.cancelled()
    assert given[0][0] == 1
    assert given[0][1] != threading.get_ident()
    bridge.close()
