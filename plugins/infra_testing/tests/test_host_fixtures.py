"""The fixtures that a host's tests use: all embedded, and nothing left from one test to the next."""

from __future__ import annotations

from typing import Any

import pytest

from infra import AsyncInfra, Infra


@pytest.mark.parametrize("number", [1, 2])
def test_each_test_gets_an_empty_cache(infra: Infra, number: int) -> None:
    assert infra.cache().get("seen") is None
    infra.cache().set("seen", number)
    assert infra.cache().get("seen") == number


@pytest.mark.parametrize("number", [1, 2])
async def test_each_test_of_asyncio_gets_an_empty_cache(async_infra: AsyncInfra, number: int) -> None:
    assert await async_infra.cache().get("seen") is None
    await async_infra.cache().set("seen", number)
    assert await async_infra.cache().get("seen") == number


class TestOverridden:
    @pytest.fixture
    def infra_settings(self, infra_settings: dict[str, Any]) -> dict[str, Any]:
        return infra_settings | {"cache": {"sessions": {"provider": "memory"}}}

    def test_a_host_names_further_resources(self, infra: Infra, monkeypatch: pytest.MonkeyPatch) -> None:
        infra.cache("sessions").set("a", 1)
        assert infra.cache("sessions").get("a") == 1
        assert infra.kernel.environment == "test"
