"""The portable database: sessions, units, raw SQL, and what operators ask for."""

from __future__ import annotations

import hashlib
import time

# async-only: begin
from asyncio import current_task as here

# async-only: end
# sync-only: from threading import current_thread as here
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from functools import cached_property
from typing import Any, LiteralString, TypeVar, overload
from uuid import UUID

from sqlalchemy import Connection, Executable, MetaData
from sqlalchemy.exc import ArgumentError, CompileError, InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from infra.database._async.engine import AsyncEngines, core
from infra.database._async.session import AsyncAutocommitScope, AsyncSessionScope
from infra.database.arguments import check_kind, check_lock, check_tables, check_unit, statement_of
from infra.database.driver import DatabaseDriver
from infra.database.errors import (
    TRANSIENT,
    CommitUnknownError,
    DatabaseConnectionError,
    DatabaseTimeoutError,
    LockTimeoutError,
    UniqueError,
)
from infra.database.model import DatabaseFeature, DatabaseInfo, DatabaseStats, Failure, Fault, PoolStats, Retry, Role, SchemaReport
from infra.database.models import Base
from infra.database.pooling import pool_stats
from infra.database.results import BufferedResult, buffered
from infra.database.schema import compare
from infra.database.scopes import class_named, find
from infra.database.settings import DatabaseSettings
from infra.database.units import forget
from infra.database.units import witness as witness_row
from infra.errors import ConfigurationError, DatabaseError, InfraError
from infra.plugin import OpenContext
from infra.resource import AsyncResource, Health, Status
from infra.runtime.aio import continues, sleep, within
from infra.runtime.deadline import Deadline
from infra.runtime.identifiers import uuid7

T = TypeVar("T")
S = TypeVar("S")
_RETRY = Retry()
_LOOKS = 6


class AsyncDatabase(AsyncResource[AsyncEngines, DatabaseSettings]):
    """A named database on SQLAlchemy: its own engine, pool, metadata and health.

    Args:
        driver: The provider's policy; this object makes the engines.
        settings: The validated settings.
        context: Where it is opened.
        owned: Whether `close` closes the driver too.
    """

    error_type = DatabaseError

    def __init__(self, driver: DatabaseDriver, settings: DatabaseSettings, context: OpenContext, *, owned: bool = True) -> None:
        super().__init__(AsyncEngines(driver, settings, context), settings, context, owned=owned)
        self.engines = self.driver
        #: The class of sessions that the settings name; None for SQLAlchemy's own.
        self.session_class = class_named(settings.session_class, context.resource)

    @property
    def policy(self) -> DatabaseDriver:
        """The provider's driver, for rooms that build statements."""
        return self.driver.policy

    @property
    def engine(self) -> AsyncEngine:
        """SQLAlchemy's engine of the writer."""
        self.check()
        return self.driver.engine

    @cached_property
    def cursor_key(self) -> bytes:
        """The key that signs paging cursors: the same in every process with the same settings."""
        given = self.settings.cursor_key
        secret = given.reveal() if given is not None else self.driver.engine.url.render_as_string(hide_password=False)
        return hashlib.sha256(b"paging cursors of " + secret.encode()).digest()

    @overload
    def session(
        self, *, role: Role = "writer", autocommit: bool = False, independent: bool = False, session_class: None = None
    ) -> AbstractAsyncContextManager[AsyncSession]: ...

    @overload
    def session(
        self, *, role: Role = "writer", autocommit: bool = False, independent: bool = False, session_class: type[S]
    ) -> AbstractAsyncContextManager[S]: ...

    def session(
        self, *, role: Role = "writer", autocommit: bool = False, independent: bool = False, session_class: type[Any] | None = None
    ) -> AbstractAsyncContextManager[Any]:
        """SQLAlchemy's own session; ``info["connection_id"]`` is the server's name of its connection, once it has begun.

        Within another session of the same database, in the same task, it joins that one: the owner commits or rolls back, once. An error
        that leaves a joined session fails the whole transaction, unless a savepoint around it is rolled back. What ``gather`` or
        ``create_task`` starts has a session of its own. One user at a time: a second task, or any use after its end, gets an error.

        Args:
            role: ``reader`` works on a replica if there is one, and cannot write.
            autocommit: Every statement commits by itself, without a round trip for BEGIN and COMMIT; such a session never joins.
            independent: Open a new session with a transaction of its own, even within another one.
            session_class: A subclass of SQLAlchemy's session, for this one; else that of the setting `session_class`.

        Raises:
            PoolTimeoutError: From the first statement, when no connection was free within `pool_timeout`.
            TransactionFailedError: At the end, when an error in it was swallowed; nothing was committed.
            CommitUnknownError: At the end, when the answer to COMMIT never came.
        """
        if (role, False) not in self.driver.by_kind:
            check_kind(role, self.driver.by_kind, "session", self.name, self.provider)
        engine = self.driver.by_kind[role, bool(autocommit)]
        if autocommit:
            return AsyncAutocommitScope(self, engine, session_class)
        return AsyncSessionScope(self, engine, role, joins=not independent, session_class=session_class)

    async def run(
        self,
        work: Callable[[AsyncSession], Awaitable[T]],
        *,
        retry: Retry = _RETRY,
        idempotent: bool = False,
        witness: bool = False,
        independent: bool = False,
    ) -> T:
        """Run ``work(session)`` as one transaction, again from its start after a deadlock, a serialization failure or a disconnect.

        Within another session it joins that one and runs once: only the owner of a transaction can run it again. It refuses DDL.

        Args:
            work: The whole unit. It must not keep what it read for a later run.
            retry: How often, and how long to wait.
            idempotent: Running it twice does no harm, so an unknown COMMIT is a reason to run it again.
            witness: Leave a row in the table ``infra_unit``, by which an unknown COMMIT is found out.
            independent: Do not join a session around it.

        Raises:
            CommitUnknownError: The outcome is unknown, and neither `idempotent` nor `witness` is given, or it could not be found out.
            DatabaseError: Whatever the last run raised.
        """
        self.check()
        check_unit(work, retry, self.name, self.provider)
        if not independent and (found := find(self, here(), continues)) is not None:
            return await work(found.session)
        attempt = 0
        while True:
            attempt += 1
            unit = uuid7() if witness else None
            try:
                async with AsyncSessionScope(self, self.driver.units, "writer", joins=False) as session:
                    if unit is not None:
                        await session.execute(witness_row(unit))
                    result = await work(session)
            except CommitUnknownError:
                if unit is not None:
                    if await self._was_committed(unit):
                        return result  # type: ignore[possibly-undefined]  # COMMIT comes after it
                elif not idempotent:
                    raise
                if attempt >= retry.attempts:
                    raise
            except TRANSIENT:
                if attempt >= retry.attempts:
                    raise
            else:
                return result
            await sleep(retry.delay(attempt))

    async def execute(
        self,
        sql: LiteralString | Executable,
        params: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        *,
        role: Role = "writer",
    ) -> BufferedResult:
        """Execute one statement with bound parameters (``:name``); all rows of its result.

        Within a session of this task it is part of that transaction; otherwise it commits by itself. Values belong into `params`: there is
        no API for a text with values pasted in.
        """
        self.check()
        statement = statement_of(sql, params, self.name, self.provider)
        if (found := find(self, here(), continues)) is not None:
            return buffered(await self._compiled(found.session.execute, statement, params))
        several = params is not None and not isinstance(params, Mapping)  # all or none: a transaction
        check_kind(role, self.driver.by_kind, "execute", self.name, self.provider)
        engine = self.driver.by_kind[role, not several]
        connection: AsyncConnection
        async with engine.begin() as connection:
            return buffered(await self._compiled(connection.execute, statement, params))

    async def health(self, timeout: float = 5.0) -> Health:
        """Whether it serves now. A pool that is exhausted while the server answers is DEGRADED, ``saturated``."""
        if not self.pool.saturated:
            return await super().health(timeout)
        started = time.perf_counter()
        try:
            self.check()
            await within(timeout, self.driver.ping_reserve)
        except (InfraError, TimeoutError) as error:
            failure = self.error(error, "ping")
            return Health(Status.DOWN, time.perf_counter() - started, str(failure.code), failure.message)
        message = "saturated: every connection of the pool is in use"
        return Health(Status.DEGRADED, time.perf_counter() - started, None, message, {"in_use": self.pool.in_use})

    @property
    def pool(self) -> PoolStats:
        """Numbers of the pool."""
        return pool_stats(core(self.driver.engine).pool)

    async def stats(self) -> DatabaseStats:
        """Numbers of the pool and of the server."""
        return DatabaseStats(pool=self.pool, server=await self._with_connection(self.policy.stats))

    async def info(self) -> DatabaseInfo:
        """What one connects to."""

        def ask(connection: Connection) -> DatabaseInfo:
            dialect = connection.dialect
            version = ".".join(str(part) for part in dialect.server_version_info or ())
            return DatabaseInfo(
                dialect=dialect.name,
                driver=dialect.driver,
                server_version=version,
                database=connection.engine.url.database,
                features=self.features,
                details={"connection_id": connection.info["connection_id"]},
            )

        return await self._with_connection(ask)

    async def validate_schema(self, metadata: MetaData | None = None) -> SchemaReport:
        """How the database differs from `metadata` (``Base.metadata`` when not given). ``infra db check`` compares types too."""
        wanted = metadata if metadata is not None else Base.metadata
        return await self._with_connection(lambda connection: compare(connection, wanted))

    async def optimize(self, tables: Sequence[str] | None = None) -> None:
        """Refresh the planner's statistics and reclaim space, of `tables` or all."""
        check_tables(tables, self.name, self.provider)
        await self._with_connection(lambda connection: self.policy.maintenance(connection, tables))

    async def create_all(self, metadata: MetaData) -> None:
        """Create what is missing of `metadata`, in development and tests.

        Raises:
            ConfigurationError: In production, and for an ``external`` database.
        """
        self.check()
        external = self.settings.migrations == "external"
        if self.context.is_production or external:
            raise ConfigurationError(
                "create_all is refused " + ("on an external database" if external else "in production"),
                resource=self.name,
                provider=self.provider,
                operation="create_all",
                remedy="its owner changes its schema" if external else "apply migrations: `infra db upgrade`",
            )
        connection: AsyncConnection
        async with self.driver.engine.begin() as connection:
            # async-only: begin
            await connection.run_sync(metadata.create_all)
            # async-only: end
            # sync-only: metadata.create_all(connection)

    @asynccontextmanager
    async def lock(self, name: str, timeout: float = 5.0) -> AsyncGenerator[None]:
        """Hold the named lock of this database: one holder at a time, over all processes.

        Raises:
            LockTimeoutError: It was not free within `timeout` seconds.
            UnsupportedError: The provider has none.
        """
        self.check()
        check_lock(name, timeout, self.name, self.provider)
        self.need(DatabaseFeature.LOCKS, "choose a provider with the feature `locks`")
        deadline = Deadline(timeout)
        connection: AsyncConnection
        async with self.driver.reserve.connect() as connection:
            wait = 0.005
            while not await self._call(connection, self.policy.lock, name):
                if deadline.passed:
                    raise LockTimeoutError(
                        f"the lock {name} was not free within {timeout:g} s",
                        resource=self.name,
                        provider=self.provider,
                        operation="lock",
                        remedy="wait for its holder, or raise the timeout",
                    )
                await sleep(min(wait, deadline.remaining() or 0.0))
                wait = min(0.25, wait * 2)
            try:
                yield
            finally:
                await self._call(connection, self.policy.unlock, name)

    async def forget_units(self, older_than: timedelta = timedelta(days=1)) -> int:
        """Delete the rows that ``run(witness=True)`` left; how many it was."""
        return (await self.execute(forget(older_than))).rowcount

    def error(self, cause: BaseException, operation: str, **details: Any) -> InfraError:  # noqa: ARG002 - the base's signature
        """The error to raise for an exception; an error of the tree passes as it is."""
        if isinstance(cause, InfraError):
            return cause
        return self.driver.translator.translate(cause, operation)

    def forked(self) -> None:
        """Called in a forked child: the connections are the parent's."""
        super().forked()
        self.driver.forked()

    async def _was_committed(self, unit: UUID) -> bool:
        # Writing the same row both asks and decides: it waits for a COMMIT that is still under way, and stops one that comes later.
        for attempt in range(1, _LOOKS + 1):
            try:
                async with self.driver.by_kind["writer", False].begin() as connection:
                    await connection.execute(witness_row(unit))
            except UniqueError:
                return True
            except (DatabaseConnectionError, DatabaseTimeoutError, CommitUnknownError):
                if attempt == _LOOKS:
                    raise
                await sleep(_RETRY.delay(attempt + 3))
            else:
                return False
        return False

    async def _compiled(self, execute: Callable[..., Awaitable[Any]], statement: Executable, params: Any) -> Any:
        """The result; a statement that SQLAlchemy cannot make text of is our error, as one that the server refuses."""
        try:
            return await execute(statement, params)
        except (CompileError, ArgumentError, InvalidRequestError) as error:
            raise self.driver.translator.translate(error, "execute", Failure(fault=Fault.STATEMENT)) from error

    async def _with_connection(self, work: Callable[[Connection], T]) -> T:
        self.check()
        connection: AsyncConnection
        async with self.driver.by_kind["writer", True].connect() as connection:
            return await self._call(connection, work)

    async def _call(self, connection: AsyncConnection, work: Callable[..., T], *args: Any) -> T:
        # async-only: begin
        return await connection.run_sync(work, *args)
        # async-only: end
        # sync-only: return work(connection, *args)
