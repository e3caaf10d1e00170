"""Prints a cache key; started as a process of its own, with another hash seed."""

from __future__ import annotations

import sys

from infra.llm import DriverInfo, LLMRequest, Message, Options, Tool
from infra.llm.cache_key import cache_key


def sample(flip: bool = False) -> str:
    """The key of one request, with its mappings in one order or the other."""
    pairs: list[tuple[str, object]] = [("a", 1), ("b", {"y": [1, 2], "x": None}), ("ü", "é")]
    tool = Tool(name="t", parameters={"type": "object", "properties": {"p": {"type": "string"}, "q": {"type": "integer"}}})
    options = Options(temperature=0, tools=[tool], provider_options=dict(reversed(pairs) if flip else pairs), stop=["x"])
    info = DriverInfo(provider="p", model="m", identity=dict(sorted({"base_url": "u", "api_version": "v"}.items(), reverse=flip)))
    request = LLMRequest(model="m", messages=(Message.user("hello"),), options=options, variables=dict(reversed(pairs) if flip else pairs))
    return cache_key(request, info).key


if __name__ == "__main__":
    sys.stdout.write(sample(flip=True))
