from __future__ import annotations

from infra_testing.conformance.database import AsyncDatabaseConformance, DatabaseConformance, DatabaseHarness

FILE = DatabaseHarness("sqlite", plugin="infra_local")
MEMORY = DatabaseHarness("sqlite", {"path": ":memory:"}, plugin="infra_local")


class TestFile(DatabaseConformance):
    harness = FILE


class TestFileAsync(AsyncDatabaseConformance):
    harness = FILE


class TestMemory(DatabaseConformance):
    harness = MEMORY


class TestMemoryAsync(AsyncDatabaseConformance):
    harness = MEMORY
