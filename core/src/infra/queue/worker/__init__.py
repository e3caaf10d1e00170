"""Processes that consume a queue: signals, draining, restarts, progress. The command ``infra worker`` calls `run_worker`."""

from infra.queue.worker.options import WorkerOptions as WorkerOptions
from infra.queue.worker.run import run_worker as run_worker
