"""The way in."""

from __future__ import annotations

from infra.queue.worker.options import WorkerOptions
from infra.queue.worker.process import run_single
from infra.queue.worker.supervisor import Supervisor


def run_worker(options: WorkerOptions) -> int:
    """Consume a queue until a signal comes; the exit code for the process.

    The first SIGTERM or SIGINT stops fetching, lets handlers finish within the queue's `drain_timeout`, gives back what they have not
    begun, flushes and closes; the second aborts. Call it on the main thread.
    """
    if options.processes > 1:
        return int(Supervisor(options).run())
    return int(run_single(options))
