"""Embedded providers: no server, no key. Descriptors only."""

from __future__ import annotations

from collections.abc import Sequence

from infra.plugin import Provider, hookimpl


@hookimpl
def infra_database() -> Sequence[Provider]:
    """SQLite in a file or in memory."""
    return [
        Provider(
            name="sqlite",
            summary="SQLite database in a file or in memory",
            settings="infra_local.database.settings:SQLiteSettings",
            open="infra_local.database.driver:open_driver",
            open_async="infra_local.database.driver:open_driver_async",
            schemes=("sqlite",),
            modules=("aiosqlite",),
            embedded=True,
            telemetry_system="sqlite",
            docs="docs/providers/sqlite.md",
        )
    ]


@hookimpl
def infra_storage() -> Sequence[Provider]:
    """Files below a root, and memory."""
    return [
        Provider(
            name="local",
            summary="objects as files below a root folder",
            settings="infra_local.storage.settings:LocalStorageSettings",
            open="infra_local.storage.local:open_driver",
            schemes=("file",),
            embedded=True,
            docs="docs/providers/local.md",
        ),
        Provider(
            name="memory",
            summary="objects in this process's memory",
            settings="infra_local.storage.settings:MemoryStorageSettings",
            open="infra_local.storage.memory:open_driver",
            open_async="infra_local.storage.memory:open_driver_async",
            schemes=("memory",),
            embedded=True,
            docs="docs/providers/memory-storage.md",
        ),
    ]


@hookimpl
def infra_queue() -> Sequence[Provider]:
    """A durable queue in a SQLite file, and memory."""
    return [
        Provider(
            name="sqlite",
            summary="durable queue in a SQLite file, shared by processes",
            settings="infra_local.queue.settings:SQLiteQueueSettings",
            open="infra_local.queue.sqlite:open_driver",
            open_async="infra_local.queue.sqlite:open_driver_async",
            schemes=("sqlite",),
            embedded=True,
            telemetry_system="sqlite",
            docs="docs/providers/sqlite-queue.md",
        ),
        Provider(
            name="memory",
            summary="queue in this process's memory",
            settings="infra_local.queue.settings:MemoryQueueSettings",
            open="infra_local.queue.memory:open_driver",
            open_async="infra_local.queue.memory:open_driver_async",
            schemes=("memory",),
            embedded=True,
            docs="docs/providers/memory-queue.md",
        ),
    ]


@hookimpl
def infra_cache() -> Sequence[Provider]:
    """Memory, and a SQLite file shared by processes."""
    return [
        Provider(
            name="memory",
            summary="bounded LRU cache in this process's memory",
            settings="infra_local.cache.settings:MemoryCacheSettings",
            open="infra_local.cache.memory:open_driver",
            open_async="infra_local.cache.memory:open_driver_async",
            schemes=("memory",),
            embedded=True,
            docs="docs/providers/memory-cache.md",
        ),
        Provider(
            name="sqlite",
            summary="cache in a SQLite file, shared by processes",
            settings="infra_local.cache.settings:SQLiteCacheSettings",
            open="infra_local.cache.sqlite:open_driver",
            schemes=("sqlite",),
            embedded=True,
            telemetry_system="sqlite",
            docs="docs/providers/sqlite-cache.md",
        ),
    ]


@hookimpl
def infra_llm() -> Sequence[Provider]:
    """Rules instead of a model: honest, useful without a key."""
    return [
        Provider(
            name="offline",
            summary="rules instead of a language model, for tests and demos",
            settings="infra_local.llm.settings:OfflineSettings",
            open="infra_local.llm.driver:open_driver",
            open_async="infra_local.llm.driver:open_driver_async",
            embedded=True,
            telemetry_system="offline",
            docs="docs/providers/offline.md",
        )
    ]
