"""The embedded queues, against the suite that holds for every provider."""

from __future__ import annotations

from infra_testing.conformance.queue import AsyncQueueConformance, QueueConformance
from infra_testing.harness import Harness


class TestMemory(QueueConformance):
    harness = Harness("memory")


class TestAsyncMemory(AsyncQueueConformance):
    harness = Harness("memory")


class TestSQLite(QueueConformance):
    harness = Harness("sqlite")


class TestAsyncSQLite(AsyncQueueConformance):
    harness = Harness("sqlite")
