"""A cache in a dictionary that is kept in a JSON file. Descriptors only."""

from __future__ import annotations

from collections.abc import Sequence

from infra.plugin import Provider, hookimpl


@hookimpl
def infra_cache() -> Sequence[Provider]:
    """One provider, for blocking hosts; the kernel puts it on threads for asyncio."""
    return [
        Provider(
            name="dictfile",
            summary="example: a dictionary kept in a JSON file",
            settings="infra_dictfile.settings:DictFileSettings",
            open="infra_dictfile.driver:open_driver",
            embedded=True,
            status="experimental",
        )
    ]
