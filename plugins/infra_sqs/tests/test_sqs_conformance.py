"""SQS, against the suite that holds for every queue: standard and FIFO, on a moto that is put right (see `exact_moto`).

Leases and delays of SQS are whole seconds.
"""

from __future__ import annotations

import asyncio

import pytest

from infra_testing.conformance.queue import AsyncQueueConformance, QueueConformance
from infra_testing.harness import Harness


class OnMoto:
    """A queue of the test's own."""

    lease = 1.0
    tick = 1.0
    fifo = False

    @pytest.fixture(autouse=True)
    def queue_of_its_own(self, moto_server, private_moto, new_queue):
        self.server = moto_server
        settings = new_queue(moto_server.url, self.fifo, wait=1)
        absent = {"kill": "moto keeps its queues in memory, so that nothing would be left to find"}
        self.harness = Harness("sqs", settings, plugin="infra_sqs", server=private_moto, absent=absent)

    @pytest.fixture
    def place(self, place):
        return place


class Blocking(OnMoto):
    def outlive_window(self, queue, window):
        self.server.forget_duplicates()


class Asyncio(OnMoto):
    async def outlive_window(self, queue, window):
        await asyncio.to_thread(self.server.forget_duplicates)


class TestStandard(Blocking, QueueConformance):
    pass


class TestAsyncStandard(Asyncio, AsyncQueueConformance):
    pass


class TestFIFO(Blocking, QueueConformance):
    fifo = True


class TestAsyncFIFO(Asyncio, AsyncQueueConformance):
    fifo = True
