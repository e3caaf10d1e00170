"""One process of a worker."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from multiprocessing import parent_process
from multiprocessing.connection import Connection

from infra.errors import ConfigurationError, InfraError, UnsupportedError
from infra.queue._async.queue import AsyncQueue
from infra.queue.model import ConsumeSummary, RetryPolicy
from infra.queue.worker.options import Exit, WorkerOptions, load_name, model_of
from infra.queue.worker.progress import Counts, Progress, counts_of, log
from infra.runtime.aio import Stop

_REPORT_EVERY = 0.5


class _Signals:
    """The first signal stops, the second aborts."""

    def __init__(self) -> None:
        self.stop = Stop()
        self.abort = Stop()

    def received(self, name: str) -> None:
        """A signal came, or the parent died."""
        if self.stop.is_set():
            log.warning("%s: aborting; what is not finished will be delivered again", name)
            self.abort.set()
        else:
            log.info("%s: draining", name)
            self.stop.set()


async def work(options: WorkerOptions, signals: tuple[signal.Signals, ...], report: Callable[[Counts], None]) -> Exit:
    """Consume until told to stop by one of `signals`, by the end of the parent process, or by the options."""
    handler = load_name(options.handler, "handler")
    opener = load_name(options.opener, "opener")
    told = _Signals()
    loop = asyncio.get_running_loop()
    for number in signals:
        loop.add_signal_handler(number, told.received, number.name)
    parent = parent_process()
    if parent is not None:
        loop.add_reader(parent.sentinel, _orphaned, loop, parent.sentinel, told)
    summary = ConsumeSummary()
    reporter = loop.create_task(_report(summary, report))
    try:
        async with AsyncExitStack() as opened:
            queue = await _enter(opened, opener(**options.arguments), told.stop)
            if queue is None:
                return Exit.DONE
            await queue.consume(
                handler,
                message=model_of(handler, options.message),
                concurrency=options.concurrency,
                retry=RetryPolicy(max_attempts=options.max_attempts),
                until=options.until,
                lease=options.lease,
                kill_switch=options.kill_switch,
                stop=told.stop,
                abort=told.abort,
                summary=summary,
            )
    finally:
        reporter.cancel()
        report(counts_of(summary))
        for number in signals:
            loop.remove_signal_handler(number)
        if parent is not None:
            loop.remove_reader(parent.sentinel)
    return Exit.ABORTED if told.abort.is_set() else Exit.DONE


async def _enter(opened: AsyncExitStack, opening: AbstractAsyncContextManager[object], stop: Stop) -> AsyncQueue | None:
    """The opened queue; None when told to stop first, which a server that is away must not delay."""
    task = asyncio.current_task()
    assert task is not None

    def cancel() -> None:
        task.cancel()

    unlink = stop.on_set(cancel)
    try:
        queue = await opened.enter_async_context(opening)
    except asyncio.CancelledError:
        if not stop.is_set() or task.uncancel():
            raise
        return None
    finally:
        unlink()
    assert isinstance(queue, AsyncQueue)
    return queue


async def _report(summary: ConsumeSummary, report: Callable[[Counts], None]) -> None:
    while True:
        await asyncio.sleep(_REPORT_EVERY)
        report(counts_of(summary))


def _orphaned(loop: asyncio.AbstractEventLoop, sentinel: int, told: _Signals) -> None:
    loop.remove_reader(sentinel)
    told.received("the parent process ended")


def run(options: WorkerOptions, signals: tuple[signal.Signals, ...], report: Callable[[Counts], None]) -> Exit:
    """`work` in a loop of its own; errors are logged."""
    try:
        return asyncio.run(work(options, signals, report))
    except (ConfigurationError, UnsupportedError) as error:
        log.error("%s", error)
        return Exit.CONFIGURATION
    except InfraError as error:
        log.error("%s", error)
        return Exit.FAILED
    except Exception:
        log.exception("the worker failed")
        return Exit.FAILED


def run_single(options: WorkerOptions) -> Exit:
    """The worker in this very process, on its main thread."""
    progress = Progress(options.progress, options.report_every)
    last: list[Counts] = [counts_of(ConsumeSummary())]

    def report(counts: Counts) -> None:
        last[0] = counts
        progress.show(counts, 1)

    code = run(options, (signal.SIGTERM, signal.SIGINT), report)
    progress.finish(last[0], 1)
    _leave_if_stuck(code)
    return code


def run_child(options: WorkerOptions, pipe: Connection, level: int) -> None:
    """The entry of a child process. The terminal's interrupt reaches the whole group, so children leave it to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(process)d %(name)s %(message)s")

    def report(counts: Counts) -> None:
        try:
            pipe.send(counts)
        except OSError:  # the parent is gone
            pass

    code = run(options, (signal.SIGTERM,), report)
    _leave_if_stuck(code)
    sys.exit(code)


def _leave_if_stuck(code: Exit) -> None:
    """End the process at once when a handler's thread is stuck: the interpreter would wait for it, and the deadline has passed."""
    if any("-handlers_" in thread.name and thread.is_alive() for thread in threading.enumerate() if not thread.daemon):
        log.warning("handlers did not end in time; their messages will be delivered again")
        logging.shutdown()
        sys.stderr.flush()
        os._exit(code)
