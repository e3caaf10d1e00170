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

from foreign import Foreign

from infra.kernel.opening import load
from infra_testing.harness import Harness, Place

ROOT = Path(__file__).resolve().parent.parent
_CLOCKS = {"cpu": "CPU", "wall": "time"}


@dataclass(frozen=True)
class Contender:
    """Something to measure.

    Args:
        name: What the table calls it.
        run: Does the given number of operations; gives what they took where they ran in another process.
        budget: The highest CPU ratio to the yardstick that the design allows; None where it says nothing.
        prepare: Called before each sample with the same number, unmeasured.
        why: Why the budget is missed, for when it is.
    """

    name: str
    run: Callable[[int], object]
    budget: float | None = None
    prepare: Callable[[int], object] | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """Seconds for one operation in one round, or for several together."""

    cpu: float
    wall: float

    def shared_by(self, count: int) -> Sample:
        """The share of one of `count` operations."""
        return Sample(self.cpu / count, self.wall / count)


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure beside what the design asks for.

    Args:
        what: What was measured, in words.
        figure: What it is.
        limit: What it should be.
        least: Whether more is better.
        unit: What both are, such as ``x CPU of boto3``.
        why: Why it is missed, for when it is.
    """

    what: str
    figure: float
    limit: float
    least: bool
    unit: str
    why: str = ""

    @property
    def met(self) -> bool:
        """Whether the figure, as it is printed, keeps to the limit."""
        figure = float(f"{self.figure:.3g}")
        return figure >= self.limit if self.least else figure <= self.limit


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
        return ratio_of(self.samples, self.yardstick, clock)


def ratio_of(ours: Sequence[Sample], theirs: Sequence[Sample], clock: str) -> float:
    """The median over the rounds of what ours took in terms of theirs."""
    return median(getattr(one, clock) / (getattr(other, clock) or 1e-12) for one, other in zip(ours, theirs, strict=False))


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
    goals: list[Goal] = field(default_factory=list[Goal])
    foreign_packages: dict[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        self.runner = self.stack.enter_context(asyncio.Runner())
        self.folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))

    # What suites call

    def compare(
        self,
        case: str,
        yardstick: Contender,
        *others: Contender | None,
        operations: int,
        unit: str = "call",
        step: int = 1,
        rounds: int | None = None,
    ) -> None:
        """Measure contenders in this process; those that are None could not be had.

        Args:
            case: What all of them do.
            yardstick: What the others are compared with.
            others: The others.
            operations: How many make one sample.
            unit: What an operation is.
            step: What the number of operations must be a multiple of.
            rounds: The most rounds, where one takes long.
        """
        count = max(1, round(operations * self.scale / step)) * step
        everyone = [yardstick, *(other for other in others if other is not None)]
        for contender in everyone:  # warm: imports, caches, connections
            _in_process(contender, max(1, count // 10 // step) * step)
        self._rounds(case, unit, everyone, lambda contender: _in_process(contender, count), rounds)

    def at_most(self, what: str, name: str, limit: float, *, over: str | None = None, clock: str = "cpu", why: str = "") -> None:
        """A goal of the case that was measured last: `name` takes at most `limit` times what the yardstick, or `over`, takes."""
        ours, theirs = self._found(name), self._found(over)
        if ours and theirs:
            figure = ratio_of(ours.samples, theirs.samples, clock)
            self.goals.append(Goal(what, figure, limit, False, f"x {_CLOCKS[clock]} of {theirs.name}", why))

    def at_least(
        self, what: str, name: str, limit: float, *, over: str | None = None, case: str | None = None, clock: str = "wall", why: str = ""
    ) -> None:
        """The same the other way round: `name` is at least `limit` times as fast as `over`, of this case or another."""
        ours, theirs = self._found(name), self._found(over, case)
        if ours and theirs:
            figure = ratio_of(theirs.samples, ours.samples, clock)
            speed = "as fast as" if clock == "wall" else "as thrifty of CPU as"
            self.goals.append(Goal(what, figure, limit, True, f"x {speed} {theirs.name}", why))

    def absolute(self, what: str, figure: float, limit: float, unit: str, why: str = "") -> None:
        """A goal that is no ratio: `figure` is at most `limit`."""
        self.goals.append(Goal(what, figure, limit, False, unit, why))

    def _found(self, name: str | None, case: str | None = None) -> Result | None:
        case = case or self.results[-1].case
        return next((one for one in self.results if one.case == case and (one.is_yardstick if name is None else one.name == name)), None)

    def compare_processes(self, case: str, yardstick: Contender, *others: Contender) -> None:
        """Measure whole processes: each contender's `run` starts one and waits; see `process`."""
        everyone = [yardstick, *others]
        for contender in everyone:  # warm: byte code and the page cache
            contender.run(1)
        self._rounds(case, "process", everyone, _child)

    def repeat(self, call: Callable[[], object], *, size: int = 1) -> Callable[[int], None]:
        """Blocking calls, one after another; each does `size` operations."""

        def run(count: int) -> None:
            for _ in range(count // size):
                call()

        return run

    def repeat_async(self, call: Callable[[], Awaitable[object]], *, tasks: int = 1, size: int = 1) -> Callable[[int], None]:
        """Awaited calls on the suite's event loop, one after another in each of so many tasks; each does `size` operations."""

        async def some(count: int) -> None:
            for _ in range(count // size):
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
        """A blocking resource of ours, in a place of its own. `url` says several settings at once, as in a host's configuration."""
        resource = _harness(capability, provider, settings).open(capability, self._place())
        self.stack.callback(resource.close)
        return resource

    def open_async(self, capability: str, provider: str, **settings: Any) -> Any:
        """An asyncio resource of ours, in a place of its own."""
        resource = self.runner.run(_harness(capability, provider, settings).open_async(capability, self._place()))
        self.stack.callback(lambda: self.runner.run(resource.close()))
        return resource

    def foreign(self, module: str, **options: Any) -> Callable[[str, str], Contender | None]:
        """Peers that cannot live in this environment, by the name of the table and their own; None where they cannot be had."""
        started = Foreign(module, options)
        self.stack.callback(started.close)
        self.foreign_packages.update(started.versions)
        if started.problem:
            self.notes.append(f"without {module.removesuffix('_peer')}: {started.problem}")

        def contender(name: str, own: str) -> Contender | None:
            run = started.run(own)
            return None if run is None else Contender(name, lambda count: Sample(*run(count)))

        return contender

    def _place(self) -> Place:
        return Place(Path(tempfile.mkdtemp(dir=self.folder)))

    def serve(self, kind: type[Any], **options: Any) -> Any:
        """A private server, started for this suite."""
        server = self.stack.enter_context(kind(**options))
        self.servers[server.name] = server.version
        return server

    # Inside

    def _rounds(
        self,
        case: str,
        unit: str,
        everyone: Sequence[Contender],
        measure: Callable[[Contender], Sample],
        rounds: int | None = None,
    ) -> None:
        samples: dict[str, list[Sample]] = {contender.name: [] for contender in everyone}
        for number in range(min(self.rounds, rounds or self.rounds)):
            shift = number % len(everyone)
            for contender in [*everyone[shift:], *everyone[:shift]]:
                samples[contender.name].append(measure(contender))
        base = samples[everyone[0].name]
        for contender in everyone:
            result = Result(case, contender.name, unit, samples[contender.name], base, contender.budget)
            self.results.append(result)
            if contender.budget is not None:
                self.at_most(f"{case}: {contender.name}", contender.name, contender.budget, why=contender.why)
            cpu, wall = result.spread("cpu")[0], result.spread("wall")[0]
            print(f"  {case}: {contender.name}: cpu {cpu * 1e6:.1f} us x{result.ratio('cpu'):.2f}, wall {wall * 1e6:.1f} us", flush=True)


def _harness(capability: str, provider: str, settings: dict[str, Any]) -> Harness:
    harness = Harness(provider)
    kind = load(harness.descriptor(capability).settings)
    if "url" in settings and "url" not in kind.model_fields:
        settings = {**kind.expand_url(settings.pop("url")), **settings}
    return harness.with_settings(**settings)


def _in_process(contender: Contender, count: int) -> Sample:
    if contender.prepare is not None:
        contender.prepare(count)
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    elsewhere = contender.run(count)
    here = Sample(time.process_time() - cpu, time.perf_counter() - wall)
    return (elsewhere if isinstance(elsewhere, Sample) else here).shared_by(count)


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
