"""What every database must do: ``class TestMine(DatabaseConformance): harness = DatabaseHarness("mine", settings)``."""

from infra_testing.conformance.database._async.columns import AsyncColumnCases as AsyncColumnCases
from infra_testing.conformance.database._async.errors import AsyncErrorCases as AsyncErrorCases
from infra_testing.conformance.database._async.faults import AsyncFaultCases as AsyncFaultCases
from infra_testing.conformance.database._async.loading import AsyncLoadingCases as AsyncLoadingCases
from infra_testing.conformance.database._async.migrations import AsyncMigrationCases as AsyncMigrationCases
from infra_testing.conformance.database._async.misuse import AsyncMisuseCases as AsyncMisuseCases
from infra_testing.conformance.database._async.outbox import AsyncOutboxCases as AsyncOutboxCases
from infra_testing.conformance.database._async.paging import AsyncPagingCases as AsyncPagingCases
from infra_testing.conformance.database._async.repository import AsyncRepositoryCases as AsyncRepositoryCases
from infra_testing.conformance.database._async.sessions import AsyncSessionCases as AsyncSessionCases
from infra_testing.conformance.database._async.sharing import AsyncSharingCases as AsyncSharingCases
from infra_testing.conformance.database._sync.columns import ColumnCases as ColumnCases
from infra_testing.conformance.database._sync.errors import ErrorCases as ErrorCases
from infra_testing.conformance.database._sync.faults import FaultCases as FaultCases
from infra_testing.conformance.database._sync.loading import LoadingCases as LoadingCases
from infra_testing.conformance.database._sync.migrations import MigrationCases as MigrationCases
from infra_testing.conformance.database._sync.misuse import MisuseCases as MisuseCases
from infra_testing.conformance.database._sync.outbox import OutboxCases as OutboxCases
from infra_testing.conformance.database._sync.paging import PagingCases as PagingCases
from infra_testing.conformance.database._sync.repository import RepositoryCases as RepositoryCases
from infra_testing.conformance.database._sync.sessions import SessionCases as SessionCases
from infra_testing.conformance.database._sync.sharing import SharingCases as SharingCases
from infra_testing.conformance.database.harness import DatabaseHarness as DatabaseHarness
from infra_testing.conformance.database.harness import ServerControl as ServerControl
from infra_testing.conformance.database.proxied import ProxiedServer as ProxiedServer


class AsyncDatabaseConformance(
    AsyncSessionCases,
    AsyncSharingCases,
    AsyncErrorCases,
    AsyncMisuseCases,
    AsyncFaultCases,
    AsyncRepositoryCases,
    AsyncColumnCases,
    AsyncLoadingCases,
    AsyncPagingCases,
    AsyncMigrationCases,
    AsyncOutboxCases,
):
    """All cases, through asyncio."""


class DatabaseConformance(
    SessionCases, SharingCases, ErrorCases, FaultCases, RepositoryCases, ColumnCases, LoadingCases, PagingCases, MigrationCases, OutboxCases
):
    """All cases, blocking."""
