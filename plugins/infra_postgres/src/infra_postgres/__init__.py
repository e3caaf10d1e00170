"""PostgreSQL databases. Descriptors only."""

from __future__ import annotations

from collections.abc import Sequence

from infra.plugin import Provider, hookimpl


@hookimpl
def infra_database() -> Sequence[Provider]:
    """PostgreSQL."""
    return [
        Provider(
            name="postgres",
            summary="PostgreSQL through psycopg 3, or asyncpg for asyncio hosts",
            settings="infra_postgres.settings:PostgresSettings",
            open="infra_postgres.driver:open_driver",
            open_async="infra_postgres.driver:open_driver_async",
            schemes=("postgresql", "postgres"),
            modules=("psycopg",),
            telemetry_system="postgresql",
            docs="docs/providers/postgres.md",
        )
    ]
