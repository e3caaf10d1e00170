"""Engines: one pool, seen through the options of each kind of session."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine, Executable, NullPool, Pool, event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from infra.database.driver import DatabaseDriver
from infra.database.model import Role
from infra.database.pooling import queue_pool, set_up_connections, translating, watch_idle_connections
from infra.database.settings import DatabaseSettings
from infra.database.translation import Translator
from infra.database.units import refuse_ddl
from infra.plugin import OpenContext
from infra.runtime.aio import Background, Stop


class AsyncEngines:
    """All engines of one database, over one pool. The five methods of every driver are here, since here is the I/O.

    Args:
        policy: The provider's driver.
        settings: The validated settings.
        context: Where it is opened.
    """

    def __init__(self, policy: DatabaseDriver, settings: DatabaseSettings, context: OpenContext) -> None:
        self.policy = policy
        self._background = Background(context.resource)
        self.translator = Translator(policy, context, settings, self._run_apart)
        self._settings = settings
        self._context = context
        self._is_async = True
        # sync-only: self._is_async = False
        self.engine = self._make(
            poolclass=translating(queue_pool(self._is_async), self.translator.translate),
            pool_size=settings.pool_size,
            max_overflow=settings.max_overflow,
            pool_timeout=settings.pool_timeout,
            pool_recycle=settings.pool_recycle,
        )
        if settings.pool_pre_ping:
            watch_idle_connections(core(self.engine))
        #: Engines of sessions, by (role, autocommit).
        self.by_kind: dict[tuple[Role, bool], AsyncEngine] = {
            ("writer", False): self.engine,
            ("writer", True): self._with(read_only=False, autocommit=True),
            ("reader", False): self._with(read_only=True, autocommit=False),
            ("reader", True): self._with(read_only=True, autocommit=True),
        }
        #: The engine of units: it refuses DDL, which MySQL would commit half-way.
        self.units = self.engine.execution_options(infra_unit=True)
        event.listen(core(self.units), "before_cursor_execute", refuse_ddl)
        #: Connections outside the pool: for locks, for cancelling, and for health when the pool is exhausted.
        self.reserve = self._make(poolclass=translating(NullPool, self.translator.translate)).execution_options(
            infra_autocommit=True, **policy.execution_options(read_only=False, autocommit=True)
        )
        self._abandoned: list[Pool] = []

    @property
    def features(self) -> frozenset[str]:
        """The driver's: what it says may depend on the server that it has met."""
        return self.policy.features

    def classify(self, error: BaseException) -> None:
        """Nothing: the translator has made errors of the tree where they arise."""

    async def ping(self, timeout: float) -> None:  # noqa: ARG002 - the portable class bounds it
        """Ask the server through a connection of the pool."""
        await self._ping(self.by_kind["writer", True])

    async def ping_reserve(self) -> None:
        """Ask the server through a connection outside the pool."""
        await self._ping(self.reserve)

    def unwrap(self) -> Sequence[object]:
        """The engine, and what the driver offers."""
        # async-only: begin
        return [self.engine, self.engine.sync_engine, *self.policy.unwrap()]
        # async-only: end
        # sync-only: return [self.engine, *self.policy.unwrap()]

    async def close(self, timeout: float) -> None:
        """Close all idle connections; those in use close when they come back."""
        await self._background.stop(timeout)
        await self.engine.dispose()
        self.policy.close()

    def forked(self) -> None:
        """Leave the parent's connections alone: they are kept, unused, so that nothing closes them."""
        engine = core(self.engine)
        self._abandoned.append(engine.pool)
        engine.dispose(close=False)

    async def _ping(self, engine: AsyncEngine) -> None:
        connection: AsyncConnection
        async with engine.connect() as connection:
            # async-only: begin
            await connection.run_sync(self.policy.ping)
            # async-only: end
            # sync-only: self.policy.ping(connection)

    def _run_apart(self, statement: Executable) -> None:
        async def execute(_: Stop) -> None:
            connection: AsyncConnection
            async with self.reserve.connect() as connection:
                await connection.execute(statement)

        self._background.start(execute, "cancel")

    def _with(self, *, read_only: bool, autocommit: bool) -> AsyncEngine:
        options = self.policy.execution_options(read_only=read_only, autocommit=autocommit)
        return self.engine.execution_options(infra_read_only=read_only, infra_autocommit=autocommit, **options)

    def _make(self, **options: Any) -> AsyncEngine:
        production = self._context.is_production
        chosen: dict[str, Any] = {
            "echo": bool(self._settings.echo) and not production,
            "hide_parameters": production,
            "json_serializer": strict_json,
            **options,
            **self.policy.engine_options(self._settings, self._is_async),
        }
        if issubclass(options["poolclass"], NullPool):
            chosen = {name: value for name, value in chosen.items() if name not in _POOL_OPTIONS}
        engine = create_async_engine(self.policy.url(self._settings, self._is_async), **chosen)
        self.translator.attach(core(engine))
        set_up_connections(core(engine), self.policy, self._settings, self.translator.translate)
        return engine


def strict_json(value: Any) -> str:
    """JSON as every server reads it: without NaN and infinity."""
    return json.dumps(value, allow_nan=False)


_POOL_OPTIONS = frozenset({"pool_size", "max_overflow", "pool_timeout", "pool_recycle", "pool_use_lifo"})


def core(engine: AsyncEngine) -> Engine:
    """The blocking engine beneath, which has the events."""
    # async-only: begin
    return engine.sync_engine
    # async-only: end
    # sync-only: return engine
