"""A named database's own lineage of revisions, and Alembic configured for it."""

from __future__ import annotations

import re
import threading
from argparse import Namespace
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final

from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, MetaData

from infra.database import Database, DatabaseFeature
from infra.database.migrations.checks import default_differs
from infra.database.migrations.comparing import PLUGIN
from infra.database.migrations.discovery import load_metadata
from infra.database.migrations.drops import created
from infra.database.migrations.enums import created_enums
from infra.database.migrations.errors import MigrationError
from infra.database.migrations.model import Current, Source
from infra.database.migrations.rendering import render
from infra.database.migrations.types import differs

_ENVIRONMENT: Final = Path(__file__).parent / "environment"
_VERSION_TABLE: Final = re.compile(r"alembic_version(_\w+)?")
# Alembic's `op` and `context` are global to the process.
_alembic: Final = threading.RLock()


class Lineage:
    """The revisions of one database.

    Args:
        database: The database.
        source: Where migrations and models are.
    """

    def __init__(self, database: Database, source: Source) -> None:
        self.database = database
        self.name = database.context.name
        self.folder = source.directory / self.name
        self._source = source
        plain = re.sub(r"\W", "_", self.name)
        self.version_table = source.version_table or ("alembic_version" if self.name == "main" else f"alembic_version_{plain}")

    @cached_property
    def metadata(self) -> list[MetaData]:
        """The metadata of this database's models."""
        return load_metadata(self._source.models, self._source.packages, self.name)

    @cached_property
    def script(self) -> ScriptDirectory:
        """The revision files."""
        return ScriptDirectory.from_config(self.config(None))

    @contextmanager
    def connect(self) -> Generator[Connection]:
        """A connection for schema work, without the time limit of requests; it does not go back to the pool where a session has one."""
        with self.database.engine.connect() as connection:
            unlimited = self.database.policy.unlimited()
            if unlimited is not None:
                connection.detach()
                connection.exec_driver_sql(unlimited)
                connection.commit()
            yield connection

    def current(self) -> Current:
        """Where the database stands."""
        applied = self._applied()
        heads = tuple(self.script.get_heads()) if self.folder.is_dir() else ()
        pending = [step.revision for step in self._between("heads", applied)] if heads else []
        return Current(revisions=applied, heads=heads, pending=tuple(pending))

    def steps(self, target: str, direction: str) -> list[Script]:
        """The revisions that a move to `target` would apply or take back, in that order."""
        if not self.folder.is_dir():
            raise MigrationError(
                f"there is no lineage in {self.folder}",
                resource=self.database.name,
                operation=direction,
                remedy="write the first revision (`infra db revision`), or correct the migrations folder",
            )
        self.__dict__.pop("script", None)  # files may have come while it waited for the lock
        applied = self._applied()
        if direction == "upgrade":
            return self._between(target, applied)
        return [step.revision for step in self.script._downgrade_revs(target, applied)]  # type: ignore[misc]

    def config(self, connection: Connection | None, applied: Callable[..., None] | None = None) -> Config:
        """Alembic's configuration: no file, all of it from here. `applied` is called within the transaction of each revision."""
        config = Config(cmd_opts=Namespace(quiet=True))
        options = {
            "script_location": str(_ENVIRONMENT),
            "version_locations": str(self.folder),
            "path_separator": "newline",
            "file_template": "%(year)d%(month).2d%(day).2d_%(hour).2d%(minute).2d_%(rev)s_%(slug)s",
            "timezone": "UTC",
        }
        for name, value in options.items():
            config.set_main_option(name, value.replace("%", "%%"))
        config.attributes["run"] = partial(self._run, connection, applied)
        return config

    def context(self, connection: Connection) -> MigrationContext:
        """Alembic's view of the connection, for comparing and reading."""
        return MigrationContext.configure(connection, opts={"target_metadata": self.metadata, **self._options(connection)})

    def _run(self, connection: Connection | None, applied: Callable[..., None] | None, context: Any) -> None:
        if connection is None:
            return
        options = self._options(connection)
        context.configure(connection=connection, target_metadata=self.metadata, on_version_apply=applied, **options)
        with context.begin_transaction():
            context.run_migrations()

    def _options(self, connection: Connection) -> dict[str, Any]:
        ours: set[str] = set()
        enums: set[str] = set()
        if self.folder.is_dir():
            for script in self.script.walk_revisions():
                ours |= created(Path(script.path))
                enums |= created_enums(Path(script.path))
        schemas = {table.schema for metadata in self.metadata for table in metadata.tables.values()}

        def named(name: str | None, kind: str, _parents: object) -> bool:
            return kind != "schema" or name is None or name in schemas

        def include(_item: object, name: str | None, kind: str, reflected: bool, counterpart: object) -> bool:
            # A table that no model has is only ours to drop when this lineage made it.
            return not (kind == "table" and reflected and counterpart is None and (name not in ours or _VERSION_TABLE.fullmatch(str(name))))

        return {
            "version_table": self.version_table,
            "compare_type": differs,
            "compare_server_default": default_differs,
            "include_schemas": bool(schemas - {None}),
            "include_name": named,
            "include_object": include,
            "autogenerate_plugins": ["alembic.autogenerate.*", PLUGIN],
            "infra_enums": enums,
            "infra_drift": [],
            "infra_notes": [],
            "render_item": render,
            "render_as_batch": connection.dialect.name == "sqlite",
            "transaction_per_migration": True,
            "transactional_ddl": DatabaseFeature.TRANSACTIONAL_DDL in self.database.features,
        }

    def _applied(self) -> tuple[str, ...]:
        with self.database.engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"version_table": self.version_table})
            return tuple(context.get_current_heads())

    def _between(self, target: str, applied: tuple[str, ...]) -> list[Script]:
        return [step.revision for step in self.script._upgrade_revs(target, applied)]  # type: ignore[misc,arg-type]


@contextmanager
def working(database: Database, operation: str) -> Generator[None]:
    """Alembic for this thread alone; its errors as ours."""
    with _alembic:
        try:
            yield
        except CommandError as error:
            raise MigrationError(
                f"{operation} failed: {error}",
                resource=database.name,
                provider=database.provider,
                operation=operation,
                remedy=_remedy(str(error)),
            ) from error


def _remedy(text: str) -> str:
    if "not up to date" in text:
        return "apply what is pending first: `infra db upgrade`"
    if "Multiple head" in text:
        return "let one head follow the other: correct `down_revision` in the later file"
    if "locate revision" in text:
        return "check the revision's name, and that this checkout has all migration files"
    return "see `infra db current`"
