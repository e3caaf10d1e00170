# Generated from opening.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""What all parts of the suite share: a database with its tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from infra.database import DatabaseFeature
from infra_testing.conformance.base import Conformance
from infra_testing.conformance.database.harness import ServerControl
from infra_testing.conformance.database.tables import SuiteBase


class DatabaseCases(Conformance):
    """The base of the parts."""

    capability: ClassVar[str] = "database"
    feature_type = DatabaseFeature

    @pytest.fixture
    def database(self, opened: Any) -> Iterator[Any]:
        """An open database with empty tables of the suite."""
        database = opened()
        self.drop_tables(database)
        database.create_all(SuiteBase.metadata)
        yield database
        self.drop_tables(database)

    def drop_tables(self, database: Any) -> None:
        """Remove the tables of the suite."""
        with database.engine.begin() as connection:
            SuiteBase.metadata.drop_all(connection)

    def server_control(self, database: Any) -> ServerControl | None:
        """The control of the server; None for an embedded provider, which must not claim to have one."""
        make = getattr(self.harness, "control", None)
        assert database.supports(DatabaseFeature.SERVER) is (make is not None), "a provider with a server gives its harness a `control`"
        return None if make is None else make()
