"""What the suite runs in processes of their own."""

from __future__ import annotations

import asyncio
import os
import signal
from multiprocessing.connection import Connection
from pathlib import Path

from infra_testing.harness import Harness, Place


def publish_and_die(wire: Connection, harness: Harness, data_dir: Path, count: int, is_async: bool) -> None:
    """Publish one after the other, tell each receipt's id, and be killed in the moment after the last receipt."""

    async def publish() -> None:
        queue = await harness.open_async("queue", Place(data_dir))
        for number in range(count):
            wire.send((await queue.publish(str(number).encode())).id)
        os.kill(os.getpid(), signal.SIGKILL)

    if is_async:
        asyncio.run(publish())
    queue = harness.open("queue", Place(data_dir))
    for number in range(count):
        wire.send(queue.publish(str(number).encode()).id)
    os.kill(os.getpid(), signal.SIGKILL)
