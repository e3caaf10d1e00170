"""A worker in a process of its own: ``python -m infra.cli.demo.process ROOT DATA SLOW``.

It says that it is ready, works until its standard input ends, which it does however the parent ends, and then writes what it did as one
line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from infra import AsyncInfra
from infra.cli.demo.outage import Troubles
from infra.cli.demo.place import Place, settings_for
from infra.cli.demo.work import work
from infra.errors import InfraError
from infra.kernel.core import Kernel
from infra.runtime.aio import Stop

_READY = "ready"
_RESTARTS = 5
_LOOK = 0.05  # seconds
_PATIENCE = 10.0  # seconds that a child may take to end


async def _child(root: Path, data: Path, slow: float) -> Counter[str]:
    stop, abort = Stop(), Stop()
    loop = asyncio.get_running_loop()

    def ended() -> None:
        if not sys.stdin.buffer.read1(64):  # type: ignore[union-attr]
            loop.remove_reader(sys.stdin)
            stop.set()

    loop.add_reader(sys.stdin, ended)
    services = AsyncInfra(kernel=Kernel(settings_for(Kernel(root=root), data), root=root))
    try:
        place = await Place.open(services)
        print(_READY, flush=True)  # noqa: T201
        await work(place, slow, stop, abort)
        return place.calls
    finally:
        await services.close()


def main(arguments: Sequence[str]) -> int:
    """Run a worker until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C reaches the parent too, which ends us in good order
    root, data, slow = arguments
    try:
        with Troubles(lambda text: print(f"worker {os.getpid()}: {text}", file=sys.stderr)).instead_of_tracebacks():  # noqa: T201
            calls = asyncio.run(_child(Path(root), Path(data), float(slow)))
    except InfraError as error:
        print(f"infra demo worker: {error}", file=sys.stderr)  # noqa: T201
        return 1
    print(json.dumps(calls))  # noqa: T201
    return 0


class Workers:
    """Worker processes. One that dies is started again, a few times.

    Args:
        count: How many.
        arguments: What each is told.
        calls: Where to add what they did.
    """

    def __init__(self, count: int, arguments: Sequence[str], calls: Counter[str]) -> None:
        self._arguments = [sys.executable, "-m", "infra.cli.demo.process", *arguments]
        self._count = count
        self._calls = calls
        self._children: list[asyncio.subprocess.Process] = []
        self._watchers: list[asyncio.Task[None]] = []
        self._ready = 0
        self._stopping = False
        self.restarts = 0

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[Workers]:
        """Run them for the length of a block."""
        try:
            self._watchers = [asyncio.create_task(self._watch()) for _ in range(self._count)]
            yield self
        finally:
            self._stopping = True
            for child in self._children:
                if child.stdin is not None:
                    child.stdin.close()
            _, slow = await asyncio.wait(self._watchers, timeout=_PATIENCE)
            for child in self._children:
                if slow and child.returncode is None:
                    child.kill()
            await asyncio.gather(*self._watchers, return_exceptions=True)

    async def ready(self) -> None:
        """Wait until all of them are ready to work."""
        while self._ready < self._count:
            self.check()
            await asyncio.sleep(_LOOK)

    def check(self) -> None:
        """Raise what made a worker end for good."""
        for watcher in self._watchers:
            if watcher.done() and not watcher.cancelled() and (error := watcher.exception()) is not None:
                raise error

    async def _watch(self) -> None:
        while not self._stopping:
            child = await asyncio.create_subprocess_exec(*self._arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
            self._children.append(child)
            assert child.stdout is not None
            started = await child.stdout.readline()
            self._ready += bool(started)
            said = await child.stdout.read()
            code = await child.wait()
            if code == 0 and said:
                self._calls.update(json.loads(said))
                return
            if self._stopping:
                return
            self.restarts += 1
            if self.restarts > _RESTARTS:
                raise InfraError(
                    f"worker processes keep ending (the last one with code {code})", remedy="see what they said above, then start it again"
                )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
