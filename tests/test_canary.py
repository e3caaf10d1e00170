"""A canary secret in every field of every installed provider, well-formed and malformed, appears in no output."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from infra.errors import InfraError
from infra.kernel.core import Kernel
from infra.kernel.discovery import discover
from infra.kernel.explain import explain, shown
from infra.kernel.opening import load
from infra.kernel.validation import mentions_secret

CANARY = "cAnArY-7c1f-s3cr3t"
CATALOG = discover()
PROVIDERS = [found for found in CATALOG.providers if found.available]
SHAPES = (CANARY, f"[{CANARY}", f'["{CANARY}"]', f'{{"a": "{CANARY}"}}', f"x://u:{CANARY}@h:p")


@pytest.fixture(autouse=True)
def discovered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is installed stays the same for the hundreds of kernels of a test."""
    monkeypatch.setattr("infra.kernel.core.discover", lambda **_: CATALOG)


def kernel(folder: Path, found: Any, /, **values: str) -> Kernel:
    prefix = f"INFRA_{found.capability.upper()}__MAIN__"
    return Kernel(
        root=folder, environ={f"{prefix}PROVIDER": found.name, **{f"{prefix}{name.upper()}": value for name, value in values.items()}}
    )


def everything_said_of(made: Kernel, name: str) -> str:
    said = [str(made.validate_environment()), repr(made.configuration.problems)]
    try:
        made.settings(name)
    except InfraError as error:
        said += [str(error), repr(error), str(error.to_dict(public=False)), repr(error.__cause__), repr(error.__context__)]
    return "\n".join(said)


@pytest.mark.parametrize("found", PROVIDERS, ids=lambda found: f"{found.capability}-{found.name}")
def test_no_error_shows_what_stands_in_any_field(found: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for field in [*load(found.descriptor.settings).model_fields, "url", "pasword"]:
        for value in SHAPES:
            assert CANARY not in everything_said_of(kernel(tmp_path, found, **{field: value}), f"{found.capability}.main"), (field, value)
    assert CANARY not in caplog.text


@pytest.mark.parametrize("found", PROVIDERS, ids=lambda found: f"{found.capability}-{found.name}")
def test_no_listing_and_no_settings_object_shows_a_secret_or_an_unknown_field(found: Any, tmp_path: Path) -> None:
    model = load(found.descriptor.settings)
    secrets = [name for name, info in model.model_fields.items() if mentions_secret(info.annotation)]
    for field in [*secrets, "pasword"]:
        made = kernel(tmp_path, found, **{field: CANARY})
        name = f"{found.capability}.main"
        said = [repr(shown(made, name, with_defaults=True)), repr(explain(made, name))]
        settings = made.validated(name).settings
        if settings is not None:
            said += [repr(settings), str(settings), settings.model_dump_json(), repr(settings.model_dump())]
        assert CANARY not in "\n".join(said), field
