"""The embedded queues, against the suite that holds for every provider."""

from __future__ import annotations

from infra_testing.conformance.queue import AsyncQueueConformance, QueueConformance
from infra_testing.harness import Harness


class TestMemory(QueueConformance):
    harness = Harness("memory")
    lease = tick = 0.3


class TestAsyncMemory(AsyncQueueConformance):
    harness = Harness("memory")
    lease = tick = 0.3


class TestSQLite(QueueConformance):
    harness = Harness("sqlite")
    lease = tick = 0.3


class TestAsyncSQLite(AsyncQueueConformance):
    harness = Harness("sqlite")
    lease = tick = 0.3
