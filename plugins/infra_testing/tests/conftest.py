"""Running single cases of a suite against drivers that were broken on purpose."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from infra_testing.harness import Harness, Place

Break = Callable[[Any], None]
RunCase = Callable[..., Awaitable[None]]


@dataclass(frozen=True)
class BrokenHarness(Harness):
    """Opens the working provider and breaks its driver. Subject to the asyncio door only."""

    plant: Break | None = None

    async def open_async(self, capability: str, place: Place, name: str = "main", **overrides: object) -> Any:
        resource = await super().open_async(capability, place, name, **overrides)
        if self.plant is not None:
            self.plant(resource.driver)
            for part in (getattr(resource, "_link", None),):  # what the portable object took from its driver
                if part is not None:
                    part._get_many = resource.driver.get_many
        return resource


@pytest.fixture
def run_case(tmp_path: Path) -> RunCase:
    """``await run_case(Suite, "test_...", Harness(...), plant)`` runs one case against the driver that `plant` has broken."""

    async def run(suite: type[Any], case: str, harness: Harness, plant: Break | None, **more: Any) -> None:
        folder = tmp_path / ("broken" if plant else "whole")
        folder.mkdir()
        instance = suite()
        instance.harness = BrokenHarness(harness.provider, harness.settings, harness.plugin, server=harness.server, plant=plant)
        place = Place(folder / "data")
        resources: list[Any] = []

        async def opened(name: str = "main", **settings: object) -> Any:
            resources.append(await instance.harness.open_async(suite.capability, place, name, **settings))
            return resources[-1]

        method = getattr(instance, case)
        offers: dict[str, Any] = {"opened": opened, "place": place, "tmp_path": folder, **more}
        wanted = inspect.signature(method).parameters
        try:
            for portable in {"cache", "bucket"} & set(wanted):
                offers[portable] = await opened()
            await method(**{name: offers[name] for name in wanted})
        finally:
            for resource in reversed(resources):
                await resource.close()
                if (close := getattr(resource.driver, "close_after_all", None)) is not None:
                    await close(10.0)

    return run
