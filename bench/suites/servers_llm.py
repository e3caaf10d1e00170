"""LLM on a server of the OpenAI protocol.

The portable call, the bare driver and litellm beside the openai package's own clients, retries off for all. The server answers the same
each time, from a process of its own: 400 characters, or a stream of 200 pieces with the usage at its end. What a model takes to think is
left out, so that the client's own work is what is measured.
"""

from __future__ import annotations

import asyncio
from typing import Any

import openai
from canned_llm import CannedLLM
from harness import Bench, Contender

from infra.llm import Message, Options
from infra.llm.driver import CallContext, LLMRequest

MODEL = "a-model"
QUESTION = "Say in one sentence what a message queue is for."
CHUNKS = 200
ASKED: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": QUESTION}]}
CONTEXT = CallContext(timeout=30.0)


def measure(bench: Bench) -> None:
    """Calls and streams, by threads and by tasks."""
    bench.packages += ["infra-openai", "openai", "httpx2", "aiohttp"]
    server = bench.serve(CannedLLM, chunks=CHUNKS)
    foreign = bench.foreign("litellm_peer", url=server.url, model=MODEL, question=QUESTION)
    llm = bench.open("llm", "openai", base_url=server.url, api_key="a-key", model=MODEL)
    client = bench.stack.enter_context(openai.OpenAI(base_url=server.url, api_key="a-key", max_retries=0))
    request = LLMRequest(model=MODEL, messages=(Message.user(QUESTION),), options=Options())

    bench.compare(
        "call",
        Contender("openai", bench.repeat(lambda: client.chat.completions.create(**ASKED))),
        Contender("driver", bench.repeat(lambda: llm.driver.generate(request, CONTEXT))),
        Contender("portable", bench.repeat(lambda: llm.generate(QUESTION)), 0.6),
        foreign("litellm", "call"),
        operations=60,
    )
    bench.at_least("call", "portable", 5, over="litellm")

    def raw_stream() -> None:
        for _ in client.chat.completions.create(**ASKED, stream=True, stream_options={"include_usage": True}):
            pass

    def driver_stream() -> None:
        for _ in llm.driver.stream(request, CONTEXT):
            pass

    def our_stream() -> None:
        for _ in llm.stream(QUESTION):
            pass

    bench.compare(
        f"stream of {CHUNKS} pieces",
        Contender("openai", bench.repeat(raw_stream)),
        Contender("driver", bench.repeat(driver_stream)),
        Contender("portable", bench.repeat(our_stream), 0.25),
        foreign("litellm", "stream"),
        operations=5,
        unit="stream",
    )
    bench.at_least(f"stream of {CHUNKS} pieces", "portable", 5, over="litellm")
    bench.compare(
        "call by 32 threads",
        Contender("openai", bench.repeat_threads(lambda: client.chat.completions.create(**ASKED), threads=32)),
        Contender("portable", bench.repeat_threads(lambda: llm.generate(QUESTION), threads=32)),
        foreign("litellm", "32 threads"),
        operations=96,
    )
    tasks(bench, server, foreign)


def tasks(bench: Bench, server: CannedLLM, foreign: Any) -> None:
    """Awaited calls."""
    llm = bench.open_async("llm", "openai", base_url=server.url, api_key="a-key", model=MODEL)

    async def clients() -> tuple[Any, Any]:
        usual = openai.AsyncOpenAI(base_url=server.url, api_key="a-key", max_retries=0)
        faster = openai.AsyncOpenAI(base_url=server.url, api_key="a-key", max_retries=0, http_client=openai.DefaultAioHttpClient())
        return usual, faster

    usual, faster = bench.runner.run(clients())
    bench.stack.callback(lambda: bench.runner.run(closed(usual, faster)))
    bench.compare(
        "asyncio: call by 32 tasks",
        Contender("openai", bench.repeat_async(lambda: usual.chat.completions.create(**ASKED), tasks=32)),
        Contender("openai on aiohttp", bench.repeat_async(lambda: faster.chat.completions.create(**ASKED), tasks=32)),
        Contender("portable", bench.repeat_async(lambda: llm.generate(QUESTION), tasks=32)),
        foreign("litellm", "32 tasks"),
        operations=96,
    )
    bench.at_least("asyncio: call by 32 tasks", "portable", 2.5)
    bench.at_least("asyncio: call by 32 tasks", "portable", 5, over="litellm")


async def closed(*clients: Any) -> None:
    """End their connections."""
    await asyncio.gather(*(client.close() for client in clients))
