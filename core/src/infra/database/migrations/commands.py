"""The commands, for one database each."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.script import Script
from sqlalchemy import Connection

from infra.database import Database, DatabaseFeature
from infra.database.migrations.comparing import compared
from infra.database.migrations.discovery import unregistered
from infra.database.migrations.drops import drops, guarded
from infra.database.migrations.enums import cast_columns
from infra.database.migrations.errors import DropRefusedError, MigrationError
from infra.database.migrations.lineage import Lineage, working
from infra.database.migrations.model import Check, Current, Finding, Problem, Source
from infra.database.migrations.references import References
from infra.errors import ConfigurationError

_SOURCE = Source()
_ALLOW = "make sure that nobody needs it, then say --allow-drop (allow_drop=True)"


def revision(database: Database, message: str, autogenerate: bool = True, *, source: Source = _SOURCE) -> Path | None:
    """Write the next revision, from the differences between models and schema; None when there are none.

    It drops a table only when the lineage itself created it. Read it before you apply it: a renamed column looks like one dropped and one
    added.

    Args:
        database: The database, at its head.
        message: What the revision does, for its name.
        autogenerate: Fill it from the differences; an empty one otherwise.
        source: Where migrations and models are.

    Raises:
        MigrationError: The database is not at its head.
        ConfigurationError: It is external, or its models cannot be imported.
    """
    _refuse_external(database, "revision")
    lineage = Lineage(database, source)
    if lineage.metadata or not autogenerate:
        lineage.folder.mkdir(parents=True, exist_ok=True)
    else:
        raise MigrationError(
            f"no models of the database {lineage.name} are registered",
            resource=database.name,
            operation="revision",
            remedy="name their packages as `modules` in [infra]; metadata of another database than main says so (new_metadata)",
        )

    def keep_if_needed(_context: Any, _revision: Any, directives: list[Any]) -> None:
        for operations in (part for one in directives for part in (*one.upgrade_ops_list, *one.downgrade_ops_list)):
            cast_columns(operations)
        if autogenerate and directives and all(operations.is_empty() for operations in directives[0].upgrade_ops_list):
            directives.clear()

    with working(database, "revision"), lineage.connect() as connection:
        script = command.revision(
            lineage.config(connection), message, autogenerate=autogenerate, process_revision_directives=keep_if_needed
        )
    for written in script if isinstance(script, list) else [script]:
        if written is not None:
            return Path(written.path)
    return None


def upgrade(database: Database, target: str = "head", allow_drop: bool = False, *, source: Source = _SOURCE) -> tuple[str, ...]:
    """Apply all revisions up to `target`; which ones it were.

    Of several migrators at once one applies them, the others wait and find nothing to do.

    Raises:
        DropRefusedError: One can lose rows or values, and `allow_drop` is False; none was applied. (Only what no file shows, such as SQL
            that is put together when it runs, is refused when it comes, and that revision is rolled back.)
        MigrationError: `target` does not exist, or the lineage has several heads.
        LockTimeoutError: Another migrator took longer than the source's `lock_timeout`.
        ConfigurationError: The database is external.
    """
    return _move(database, target, allow_drop, source, "upgrade")


def downgrade(database: Database, target: str = "-1", allow_drop: bool = False, *, source: Source = _SOURCE) -> tuple[str, ...]:
    """Take revisions back, newest first, down to `target` (``"base"`` for all); which ones it were.

    Raises:
        DropRefusedError: One can lose rows or values, and `allow_drop` is False; none was taken back. (Only what no file shows, such as SQL
            that is put together when it runs, is refused when it comes, and that revision is rolled back.)
        MigrationError: `target` does not exist.
        LockTimeoutError: Another migrator took longer than the source's `lock_timeout`.
        ConfigurationError: The database is external.
    """
    return _move(database, target, allow_drop, source, "downgrade")


def current(database: Database, *, source: Source = _SOURCE) -> Current:
    """Where the database stands in its lineage."""
    lineage = Lineage(database, source)
    with working(database, "current"):
        return lineage.current()


def check(database: Database, *, source: Source = _SOURCE) -> Check:
    """Compare models, migrations and schema; changes nothing.

    It finds a ``models`` module that is not registered, revisions that are not applied, two heads, and the differences between models and
    schema; what it does not compare stands in the answer's ``not_compared``. Of an external database it compares models and schema only.

    Raises:
        ConfigurationError: The models cannot be imported.
    """
    lineage = Lineage(database, source)
    metadata = lineage.metadata
    problems = [
        Problem(
            finding=Finding.UNREGISTERED_MODELS,
            message=f"{name} is not registered, so that its tables are unknown to migrations",
            remedy="add its package to `modules` in [infra], or import it from a registered module",
        )
        for name in unregistered(source.models, source.packages)
    ]
    external = database.settings.migrations == "external"
    with working(database, "check"):
        if not external:
            problems += _lineage_problems(lineage.current())
        with lineage.connect() as connection:
            differences, notes = compared(lineage.context(connection), metadata)
    remedy = "correct the models, or ask its owner" if external else "write a revision (`infra db revision`) and apply it"
    problems += [Problem(finding=Finding.DRIFT, message=text, remedy=remedy) for text in differences]
    return Check(database=database.name, problems=tuple(problems), not_compared=tuple(notes))


def _lineage_problems(state: Current) -> list[Problem]:
    problems: list[Problem] = []
    if len(state.heads) > 1:
        problems.append(
            Problem(
                finding=Finding.MULTIPLE_HEADS,
                message=f"the lineage has {len(state.heads)} heads: {', '.join(state.heads)}",
                remedy="let one follow the other: correct `down_revision` in the later file",
            )
        )
    if state.pending:
        problems.append(
            Problem(
                finding=Finding.MISSING_HEAD,
                message=f"{len(state.pending)} revisions are not applied: {', '.join(state.pending)}",
                remedy="run `infra db upgrade`",
            )
        )
    return problems


def _move(database: Database, target: str, allow_drop: bool, source: Source, direction: str) -> tuple[str, ...]:
    _refuse_external(database, direction)
    lineage = Lineage(database, source)
    with working(database, direction):
        steps = lineage.steps(target, direction)
        if not steps:  # no lock for the usual case: nothing to do
            return ()
        with _locked(database, lineage, source):
            steps = lineage.steps(target, direction)
            if not allow_drop:
                _refuse_drops(database, steps, direction)
            if steps:
                with lineage.connect() as connection, _careful(database, lineage, connection, allow_drop, direction) as config:
                    (command.upgrade if direction == "upgrade" else command.downgrade)(config, target)
    return tuple(step.revision for step in steps)


def _locked(database: Database, lineage: Lineage, source: Source) -> AbstractContextManager[None]:
    if database.supports(DatabaseFeature.LOCKS):
        return database.lock(f"infra.migrations.{lineage.version_table}", source.lock_timeout)
    return nullcontext()  # a database in memory, which no other process can see


@contextmanager
def _careful(database: Database, lineage: Lineage, connection: Connection, allow_drop: bool, direction: str) -> Generator[Config]:
    fields = {"resource": database.name, "provider": database.provider, "operation": direction}
    references = References(connection, **fields)
    guard = nullcontext() if allow_drop else guarded(connection, lineage.version_table, DropRefusedError, remedy=_ALLOW, **fields)
    with references.suspended(), guard:
        yield lineage.config(connection, references.check)


def _refuse_drops(database: Database, steps: Sequence[Script], direction: str) -> None:
    found = [f"{step.revision} line {text}" for step in steps for text in drops(step, direction)]
    if found:
        raise DropRefusedError(
            f"{direction} would drop data: {' | '.join(found)}",
            resource=database.name,
            provider=database.provider,
            operation=direction,
            remedy=_ALLOW,
        )


def _refuse_external(database: Database, operation: str) -> None:
    if database.settings.migrations == "external":
        raise ConfigurationError(
            f"{operation} is refused on an external database",
            resource=database.name,
            provider=database.provider,
            operation=operation,
            remedy="its owner changes its schema; `infra db check` compares it with the models",
        )
