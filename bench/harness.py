"""Measuring contenders against a yardstick, in interleaved rounds: client CPU first, wall time second.

A round runs every contender once, in an order that shifts from round to round, so that whatever else the machine does falls on all of
them alike. What counts is the ratio to the yardstick within a round; its median over the rounds is the result.
"""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from infra_testing.harness import Harness, Place

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Contender:
    """Something to measure.

    Args:
        name: What the table calls it.
        run: Does the given number of operations.
        budget: The highest CPU ratio to the yardstick that the design allows; None where it says nothing.
        prepare: Called before each sample with the same number, unmeasured.
    """

    name: str
    run: Callable[[int], object]
    budget: float | None = None
    prepare: Callable[[int], object] | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """Seconds for one operation in one round."""

    cpu: float
    wall: float


@dataclass(frozen=True)
class Result:
    """What a contender took, round by round, beside the yardstick of its case."""

    case: str
    name: str
    unit: str
    samples: Sequence[Sample]
    yardstick: Sequence[Sample]
    budget: float | None = None

    @property
    def is_yardstick(self) -> bool:
        """Whether the others of its case are compared with it."""
        return self.samples is self.yardstick

    def spread(self, clock: str) -> tuple[float, float, float]:
        """Median, least and most seconds an operation, by "cpu" or "wall"."""
        values = [getattr(sample, clock) for sample in self.samples]
        return median(values), min(values), max(values)

    def ratio(self, clock: str) -> float:
        """The median over the rounds of the ratio to the yardstick of the same round."""
        pairs = zip(self.samples, self.yardstick, strict=True)
        return median(getattr(ours, clock) / (getattr(theirs, clock) or 1e-12) for ours, theirs in pairs)


@dataclass
class Bench:
    """One suite's run: its servers and clients (closed with `stack`), its settings and its results."""

    rounds: int = 7
    scale: float = 1.0
    stack: ExitStack = field(default_factory=ExitStack)
    results: list[Result] = field(default_factory=list[Result])
    servers: dict[str, str] = field(default_factory=dict[str, str])
    packages: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        self.runner = self.stack.enter_context(asyncio.Runner())
        self.folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))

    # What suites call

    def compare(self, case: str, yardstick: Contender, *others: Contender, operations: int, unit: str = "call") -> None:
        """Measure contenders in this process. `operations` is how many make one sample."""
        count = max(1, round(operations * self.scale))
        everyone = [yardstick, *others]
        for contender in everyone:  # warm: imports, caches, connections
            _in_process(contender, max(1, count // 10))
        self._rounds(case, unit, everyone, lambda contender: _in_process(contender, count))

    def compare_processes(self, case: str, yardstick: Contender, *others: Contender) -> None:
        """Measure whole processes: each contender's `run` starts one and waits; see `process`."""
        everyone = [yardstick, *others]
        for contender in everyone:  # warm: byte code and the page cache
            contender.run(1)
        self._rounds(case, "process", everyone, _child)

    def repeat(self, call: Callable[[], object]) -> Callable[[int], None]:
        """Blocking calls, one after another."""

        def run(count: int) -> None:
            for _ in range(count):
                call()

        return run

    def repeat_async(self, call: Callable[[], Awaitable[object]], *, tasks: int = 1) -> Callable[[int], None]:
        """Awaited calls on the suite's event loop, one after another in each of so many tasks."""

        async def some(count: int) -> None:
            for _ in range(count):
                await call()

        async def all_of(count: int) -> None:
            if tasks == 1:
                await some(count)
            else:
                await asyncio.gather(*(some(max(1, count // tasks)) for _ in range(tasks)))

        return lambda count: self.runner.run(all_of(count))

    def repeat_threads(self, call: Callable[[], object], *, threads: int) -> Callable[[int], None]:
        """Blocking calls, one after another in each of so many threads."""
        pool = self.stack.enter_context(ThreadPoolExecutor(threads))

        def some(count: int) -> None:
            for _ in range(count):
                call()

        return lambda count: list(pool.map(some, [max(1, count // threads)] * threads))

    def open(self, capability: str, provider: str, **settings: Any) -> Any:
        """A blocking resource of ours, in a place of its own."""
        resource = Harness(provider, settings).open(capability, self._place())
        self.stack.callback(resource.close)
        return resource

    def open_async(self, capability: str, provider: str, **settings: Any) -> Any:
        """An asyncio resource of ours, in a place of its own."""
        resource = self.runner.run(Harness(provider, settings).open_async(capability, self._place()))
        self.stack.callback(lambda: self.runner.run(resource.close()))
        return resource

    def _place(self) -> Place:
        return Place(Path(tempfile.mkdtemp(dir=self.folder)))

    def serve(self, kind: type[Any], **options: Any) -> Any:
        """A private server, started for this suite."""
        server = self.stack.enter_context(kind(**options))
        self.servers[server.name] = server.version
        return server

    # Inside

    def _rounds(self, case: str, unit: str, everyone: Sequence[Contender], measure: Callable[[Contender], Sample]) -> None:
        samples: dict[str, list[Sample]] = {contender.name: [] for contender in everyone}
        for number in range(self.rounds):
            shift = number % len(everyone)
            for contender in [*everyone[shift:], *everyone[:shift]]:
                samples[contender.name].append(measure(contender))
        base = samples[everyone[0].name]
        for contender in everyone:
            result = Result(case, contender.name, unit, samples[contender.name], base, contender.budget)
            self.results.append(result)
            cpu, wall = result.spread("cpu")[0], result.spread("wall")[0]
            print(f"  {case}: {contender.name}: cpu {cpu * 1e6:.1f} us x{result.ratio('cpu'):.2f}, wall {wall * 1e6:.1f} us", flush=True)


def _in_process(contender: Contender, count: int) -> Sample:
    if contender.prepare is not None:
        contender.prepare(count)
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    contender.run(count)
    return Sample((time.process_time() - cpu) / count, (time.perf_counter() - wall) / count)


def _child(contender: Contender) -> Sample:
    before, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    contender.run(1)
    wall, after = time.perf_counter() - wall, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Sample(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall)


def process(
    *command: str, folder: Path | None = None, environment: Mapping[str, str] | None = None, code: str | None = None
) -> Callable[[int], None]:
    """Runs a program, or Python code in a fresh interpreter of this environment; fails when it fails."""
    arguments = [sys.executable, "-c", code] if code is not None else list(command)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("INFRA_", "PYTHON"))}

    def run(count: int) -> None:
        for _ in range(count):
            done = subprocess.run(
                arguments, cwd=folder, env={**inherited, **(environment or {})}, stdin=subprocess.DEVNULL, capture_output=True, check=False
            )
            if done.returncode:
                raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stderr.decode()}")

    return run
