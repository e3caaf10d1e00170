"""litellm on a server of the OpenAI protocol."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it would fetch a list of prices

import litellm

PACKAGES = ("litellm", "openai", "httpx")


def contenders(url: str, model: str, question: str) -> dict[str, Callable[[int], object]]:
    """A call, a stream, calls from threads and from tasks."""
    litellm.telemetry = False
    litellm.suppress_debug_info = True
    asked = {
        "model": f"openai/{model}",
        "messages": [{"role": "user", "content": question}],
        "api_base": url,
        "api_key": "a-key",
        "num_retries": 0,
    }
    runner = asyncio.Runner()
    pool = ThreadPoolExecutor(32)

    def call(count: int) -> None:
        for _ in range(count):
            litellm.completion(**asked)

    def stream(count: int) -> None:
        for _ in range(count):
            for _ in litellm.completion(**asked, stream=True, stream_options={"include_usage": True}):
                pass

    async def some(count: int) -> None:
        for _ in range(count):
            await litellm.acompletion(**asked)

    async def tasks(count: int) -> None:
        await asyncio.gather(*(some(max(1, count // 32)) for _ in range(32)))

    return {
        "call": call,
        "stream": stream,
        "32 threads": lambda count: list(pool.map(call, [max(1, count // 32)] * 32)),
        "32 tasks": lambda count: runner.run(tasks(count)),
    }
