"""LLM, embedded.

What the portable pipeline (validation, options, retry, deadlines, kept answers) costs over the bare driver of the offline provider, whose
answers take no model and no network. The design's budgets are absolute: 150 us for a miss, 100 us for an answer kept in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count as counter
from typing import Any

from harness import Bench, Contender

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
    base, ours = (result.spread("cpu")[0] * 1e6 for result in bench.results[-2:])
    bench.absolute("the pipeline of a call over the driver", ours - base, 150, "us of CPU")
    bench.compare(
        "stream",
        Contender("driver", bench.repeat(drain(lambda: llm.driver.stream(request, CONTEXT)))),
        Contender("portable", bench.repeat(drain(lambda: llm.stream(QUESTION)))),
        operations=300,
    )
    kept(bench)


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
    missed, hit = (result.spread("cpu")[0] * 1e6 for result in bench.results[-2:])
    bench.absolute("the pipeline of a miss that is stored, the offline answer itself included", missed, 150, "us of CPU")
    bench.absolute("a kept answer", hit, 100, "us of CPU")
