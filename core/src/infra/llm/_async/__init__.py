"""The portable LLM, written by hand for asyncio; its blocking twin is generated.

A call goes through a fixed chain, outer to inner:

    telemetry -> budget -> cache with single flight -> structured repair -> fallback -> (per route) breaker -> retry -> rate limit
    -> key lease -> driver

Each link is a class with `generate` and `stream` over the next one (`step.AsyncStep`); `client.AsyncLLM` builds the chain when it
starts. Of the list, ``caching``, ``structured``, ``retrying`` and ``driving`` are links here. A new link takes the place that the
list gives it.
"""
