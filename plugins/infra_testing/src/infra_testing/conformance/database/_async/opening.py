"""What all parts of the suite share: a database with its tables."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest_asyncio

from infra.database import DatabaseFeature
from infra_testing.conformance.base import AsyncConformance
from infra_testing.conformance.database.harness import ServerControl
from infra_testing.conformance.database.tables import SuiteBase


class AsyncDatabaseCases(AsyncConformance):
    """The base of the parts."""

    capability: ClassVar[str] = "database"
    feature_type = DatabaseFeature

    @pytest_asyncio.fixture
    async def database(self, opened: Any) -> AsyncIterator[Any]:
        """An open database with empty tables of the suite."""
        database = await opened()
        await self.drop_tables(database)
        await database.create_all(SuiteBase.metadata)
        yield database
        await self.drop_tables(database)

    async def drop_tables(self, database: Any) -> None:
        """Remove the tables of the suite."""
        async with database.engine.begin() as connection:
            # async-only: begin
            await connection.run_sync(SuiteBase.metadata.drop_all)
            # async-only: end
            # sync-only: SuiteBase.metadata.drop_all(connection)

    def server_control(self, database: Any) -> ServerControl | None:
        """The control of the server; None for an embedded provider, which must not claim to have one."""
        make = getattr(self.harness, "control", None)
        assert database.supports(DatabaseFeature.SERVER) is (make is not None), "a provider with a server gives its harness a `control`"
        return None if make is None else make()
