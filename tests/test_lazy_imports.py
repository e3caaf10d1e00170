"""No SDK is imported before a resource opens, whatever plugins are installed and however much is configured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from infra.kernel.discovery import discover
from infra.kernel.opening import load

PROVIDERS = [found for found in discover().providers if found.available]
#: What providers say that they need, and what no command that opens nothing should pay for.
SDKS = sorted(
    {module for found in PROVIDERS for module in found.descriptor.modules} | {"botocore", "hiredis", "httpx", "aiohttp", "asyncpg"}
)
DEPENDENT = ("sqlalchemy", "alembic")
#: What a settings class asks for, beside the provider.
NEEDED: dict[tuple[str, str], dict[str, Any]] = {
    ("storage", "s3"): {"bucket": "there"},
    ("llm", "azure"): {"endpoint": "https://example.openai.azure.com", "api_key": "unused-key"},
    ("llm", "openai"): {"api_key": "unused-key"},
}


def settings() -> dict[str, dict[str, Any]]:
    """A resource of every installed provider, opened by whoever uses it first."""
    found: dict[str, dict[str, Any]] = {}
    for one in PROVIDERS:
        own = {"provider": one.name, "startup": "lazy", **NEEDED.get((one.capability, one.name), {})}
        found.setdefault(one.capability, {})[one.name] = own
    return found


def imported(folder: Path, code: str, heavy: list[str]) -> list[str]:
    """Which of `heavy` a fresh interpreter has after `code`."""
    after = f"; import sys, json; print(json.dumps([name for name in {heavy!r} if name in sys.modules]), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code + after], cwd=folder, capture_output=True, text=True, check=True, timeout=120)
    return json.loads(done.stderr.splitlines()[-1])


def test_a_host_with_every_provider_configured_imports_no_sdk_before_it_opens_one(tmp_path: Path) -> None:
    code = (
        f"from infra import Infra; services = Infra({settings()!r}, environ={{}}); services.start()"
        "; assert services.kernel.problems() == []; services.close()"
    )
    assert imported(tmp_path, code, [*SDKS, *DEPENDENT]) == []


def test_an_asyncio_host_neither(tmp_path: Path) -> None:
    code = (
        "import asyncio; from infra import AsyncInfra"
        f"; services = AsyncInfra({settings()!r}, environ={{}}); asyncio.run(services.start()); asyncio.run(services.close())"
    )
    assert imported(tmp_path, code, [*SDKS, *DEPENDENT]) == []


def test_no_settings_class_imports_an_sdk(tmp_path: Path) -> None:
    for found in PROVIDERS:
        load(found.descriptor.settings)
    modules = sorted({found.descriptor.settings.partition(":")[0] for found in PROVIDERS})
    assert imported(tmp_path, f"import {', '.join(modules)}", [*SDKS, *DEPENDENT]) == []


def test_listing_providers_imports_neither_an_sdk_nor_pydantic_nor_sqlalchemy(tmp_path: Path) -> None:
    heavy = [*SDKS, *DEPENDENT, "pydantic", "pydantic_settings", "asyncio"]
    assert imported(tmp_path, "from infra.cli import main; main(['providers', '--all'])", heavy) == []


def test_every_module_that_providers_need_is_looked_for(tmp_path: Path) -> None:
    assert {"psycopg", "redis", "boto3", "pika", "openai"} <= set(SDKS)
    listed = imported(tmp_path, f"import {', '.join(found for found in SDKS if found in ('redis', 'pika'))}", SDKS)
    assert {"redis", "pika"} <= set(listed)  # the look-up itself works
