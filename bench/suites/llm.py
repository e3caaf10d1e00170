"""LLM, embedded.

What the portable pipeline (validation, options, retry, deadlines, kept answers) costs over the bare driver of the offline provider, whose
answers take no model and no network. The design's budgets are absolute: 150 us for a miss, 100 us for an answer kept in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count as counter
from typing import Any

from harness import Bench, Contender, Result

from infra import Infra
from infra.llm import Message, Options
from infra.llm.driver import CallContext, LLMRequest

QUESTION = "Say in one sentence what a message queue is for."
CONTEXT = CallContext(timeout=30.0)
KEPT = Options(temperature=0.0)


def measure(bench: Bench) -> None:
    """A call, a stream, and an answer that is kept."""
    bench.packages += ["infra-local"]
    llm = bench.open("llm", "offline")
    request = LLMRequest(model=llm.driver.info.model, messages=(Message.user(QUESTION),), options=Options())

    def drain(events: Callable[[], Any]) -> Callable[[], None]:
        def run() -> None:
            for _ in events():
                pass

        return run

    bench.compare(
        "generate",
        Contender("driver", bench.repeat(lambda: llm.driver.generate(request, CONTEXT))),
        Contender("portable", bench.repeat(lambda: llm.generate(QUESTION))),
        operations=1_000,
    )
    over(bench.results[-2:], bench, "the pipeline", 150)
    bench.compare(
        "stream",
        Contender("driver", bench.repeat(drain(lambda: llm.driver.stream(request, CONTEXT)))),
        Contender("portable", bench.repeat(drain(lambda: llm.stream(QUESTION)))),
        operations=300,
    )
    kept(bench)


def over(results: list[Result], bench: Bench, what: str, budget: int) -> None:
    """Note an absolute cost beside its budget."""
    base, ours = (result.spread("cpu")[0] * 1e6 for result in results)
    bench.notes.append(f"{what} costs {ours - base:.0f} us of CPU a call over the driver; the budget is {budget} us")


def kept(bench: Bench) -> None:
    """Answers kept in the memory cache."""
    settings: dict[str, Any] = {"llm": {"main": {"provider": "offline", "cache": "main"}}, "cache": {"main": {"provider": "memory"}}}
    services = bench.stack.enter_context(Infra(settings, root=bench.folder, environ={}))
    llm = services.llm()
    number = counter()
    bench.compare(
        "generate, answers kept",
        Contender("not kept yet", bench.repeat(lambda: llm.generate(f"{QUESTION} {next(number)}", KEPT))),
        Contender("kept", bench.repeat(lambda: llm.generate(QUESTION, KEPT))),
        operations=500,
    )
    bench.notes.append(f"a kept answer takes {bench.results[-1].spread('cpu')[0] * 1e6:.0f} us of CPU; the budget is 100 us")
