"""Comparing models with a schema: Alembic's comparisons, and ours beside them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Final

from alembic.autogenerate import compare_metadata, renderers
from alembic.operations.ops import MigrateOperation
from alembic.runtime.migration import MigrationContext
from alembic.runtime.plugins import Plugin
from alembic.util import DispatchPriority, PriorityDispatchResult
from sqlalchemy import MetaData, inspect
from sqlalchemy.schema import CreateSchema

from infra.database.migrations.checks import compare_checks, not_compared
from infra.database.migrations.differences import describe
from infra.database.migrations.enums import compare_enums

PLUGIN: Final = "infra.database.migrations"


def compared(context: MigrationContext, metadata: Sequence[MetaData]) -> tuple[list[str], list[str]]:
    """The differences in words, and what was not compared."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        differences: object = compare_metadata(context, metadata)  # type: ignore[arg-type]
    told = [*describe(differences), *context.opts["infra_drift"]]
    for warning in caught:
        words = str(warning.message)
        if words.startswith("Computed default on "):
            told.append(
                f"the expression of the computed column {words.split()[3]} differs from the models; no revision can change it in place"
            )
    tables = [table for one in metadata for table in one.sorted_tables]
    return told, [*not_compared(context.dialect.name, tables), *context.opts["infra_notes"]]


class SchemaOp(MigrateOperation):
    """A schema that the models name. Its way back does nothing: others may have put something into it."""

    def __init__(self, name: str, back: bool = False) -> None:
        self.name, self.back = name, back

    def reverse(self) -> SchemaOp:
        """The way back."""
        return SchemaOp(self.name, not self.back)

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """For `infra.database.migrations.differences`."""
        return ("schema", self.name)


@renderers.dispatch_for(SchemaOp)
def _render_schema(context: Any, op: SchemaOp) -> list[str]:
    statement = str(CreateSchema(op.name, if_not_exists=True).compile(dialect=context.dialect))
    return [] if op.back else [f"op.execute({statement!r})"]


def _compare_schemas(context: Any, upgrade_ops: Any, _schemas: set[str | None]) -> PriorityDispatchResult:
    present = inspect(context.connection).get_schema_names()
    wanted = {str(table.schema) for table in context.sorted_tables if table.schema}
    upgrade_ops.ops[:0] = [SchemaOp(name) for name in sorted(wanted - set(present))]
    return PriorityDispatchResult.CONTINUE


_plugin = Plugin(PLUGIN)
_plugin.add_autogenerate_comparator(compare_checks, "table", priority=DispatchPriority.LAST)
_plugin.add_autogenerate_comparator(compare_enums, "schema", qualifier="postgresql", priority=DispatchPriority.LAST)
_plugin.add_autogenerate_comparator(_compare_schemas, "schema", qualifier="postgresql", priority=DispatchPriority.LAST)
