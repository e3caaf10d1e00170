"""Where the demo works: its five resources, embedded unless they are configured."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from infra.cli.demo.model import NAME, DemoBase
from infra.database import outbox
from infra.errors import ConfigurationError

if TYPE_CHECKING:
    from infra import AsyncInfra
    from infra.cache import AsyncCache
    from infra.database import AsyncDatabase
    from infra.kernel.core import Kernel
    from infra.llm import AsyncLLM
    from infra.queue import AsyncQueue
    from infra.storage import AsyncBucket

#: Durable and shared by processes, all of them.
_EMBEDDED: Final = {"database": "sqlite", "storage": "local", "queue": "sqlite", "cache": "sqlite", "llm": "offline"}


def settings_for(kernel: Kernel, data: Path) -> dict[str, Any]:
    """What the configuration leaves open, as settings: an embedded provider for each resource that nothing configures.

    Args:
        kernel: A kernel of the configuration as it stands.
        data: The folder for the files of embedded providers.
    """
    settings: dict[str, Any] = {"infra": {"data_dir": str(data)}}
    for capability, provider in _EMBEDDED.items():
        if f"{capability}.{NAME}" not in kernel.configuration.resources:
            settings[capability] = {NAME: {"provider": provider}}
    keys = {key for layer in kernel.configuration.layers for key in layer.values}
    if ("llm", NAME, "cache") not in keys:
        settings.setdefault("llm", {}).setdefault(NAME, {})["cache"] = NAME
    return settings


@dataclass(frozen=True, slots=True)
class Place:
    """The open resources, and what this process did with them.

    Args:
        calls: ``storage.put`` and so on: how often.
    """

    database: AsyncDatabase
    storage: AsyncBucket
    queue: AsyncQueue
    cache: AsyncCache
    llm: AsyncLLM
    calls: Counter[str] = field(default_factory=Counter[str])

    @classmethod
    async def open(cls, services: AsyncInfra) -> Place:
        """Open the five resources."""
        names = ("database", "storage", "queue", "cache", "llm")
        return cls(*[await services.open(f"{name}.{NAME}") for name in names])

    async def create_tables(self) -> None:
        """Make the demo's tables, with outbox and inbox, where they are missing.

        Raises:
            ConfigurationError: In production, where no program makes tables by the way.
        """
        if self.database.context.is_production:
            raise ConfigurationError(
                "the demo makes its own tables, which is refused in production",
                resource=self.database.name,
                provider=self.database.provider,
                operation="create_all",
                remedy='run it with `environment = "development"`, on a database of its own',
            )
        outbox.include(DemoBase.metadata)
        async with self.database.lock("infra-demo-schema", timeout=30.0):
            await self.database.create_all(DemoBase.metadata)
