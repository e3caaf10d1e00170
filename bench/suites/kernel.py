"""The kernel's look-ups.

What a host pays to get at an open resource, beside one attribute of an object and one item of a dict: this is on every hot path.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from harness import Bench, Contender

from infra import AsyncInfra, Infra


def measure(bench: Bench) -> None:
    """The sugar, the typed look-up, and the door from asyncio."""
    bench.packages += ["infra-kernel", "pluggy"]
    settings: dict[str, Any] = {"cache": {"main": {"provider": "memory"}}}
    services = bench.stack.enter_context(Infra(settings, root=bench.folder, environ={}))
    from infra.cache import AsyncCache, Cache

    holder: Any = SimpleNamespace(cache=services.cache())
    table = {(Cache, "main"): services.cache()}
    bench.compare(
        "look-up of an open resource",
        Contender("dict[(type, name)]", bench.repeat(lambda: table[Cache, "main"])),
        Contender("attribute", bench.repeat(lambda: holder.cache)),
        Contender("services.cache()", bench.repeat(lambda: services.cache())),
        Contender("services.get(Cache)", bench.repeat(lambda: services.get(Cache))),
        operations=100_000,
    )

    async def open_async() -> AsyncInfra:
        return await AsyncInfra(settings, root=bench.folder, environ={}).__aenter__()

    door = bench.runner.run(open_async())
    bench.stack.callback(lambda: bench.runner.run(door.close()))
    bench.runner.run(door.cache().get("absent"))

    async def look(count: int) -> None:
        for _ in range(count):
            door.get(AsyncCache)

    async def plain(count: int) -> None:
        for _ in range(count):
            table[Cache, "main"]

    bench.compare(
        "look-up within a task",
        Contender("dict[(type, name)]", lambda count: bench.runner.run(plain(count))),
        Contender("services.get(AsyncCache)", lambda count: bench.runner.run(look(count))),
        operations=100_000,
    )
