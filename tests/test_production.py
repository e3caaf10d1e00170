"""In production a missing setting never becomes a silent SQLite file."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra import AsyncInfra, ConfigurationError, Infra

PRODUCTION = {"INFRA_ENVIRONMENT": "production"}


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.name != "infra.toml")


def test_an_unconfigured_database_fails_with_the_remedy_and_leaves_no_file(tmp_path: Path) -> None:
    with Infra(root=tmp_path, environ=PRODUCTION) as services, pytest.raises(ConfigurationError, match="set DATABASE_URL"):
        services.database()
    assert files(tmp_path) == []


async def test_a_database_without_a_provider_fails_at_start_up(tmp_path: Path) -> None:
    (tmp_path / "infra.toml").write_text("[database.main]\n[queue.jobs]\n")
    with pytest.raises(ConfigurationError) as caught:
        await AsyncInfra(root=tmp_path, environ=PRODUCTION).start()
    assert "database.main: no provider is configured, and in production an embedded one must be asked for by name" in str(caught.value)
    assert "queue.jobs" in str(caught.value)
    assert files(tmp_path) == []


def test_an_embedded_provider_that_is_asked_for_by_name_serves(tmp_path: Path) -> None:
    (tmp_path / "infra.toml").write_text('[database.main]\nprovider = "sqlite"\n')
    with Infra(root=tmp_path, environ=PRODUCTION) as services:
        assert services.database().ping() >= 0
