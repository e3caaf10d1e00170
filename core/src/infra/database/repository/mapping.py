"""What a repository knows about a model, computed once per model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Generic, TypeVar, cast

from sqlalchemy import ColumnElement, Select, Table, UniqueConstraint, func, inspect, literal_column, select
from sqlalchemy.ext.hybrid import HybridExtensionType
from sqlalchemy.orm import InstrumentedAttribute, Mapper
from sqlalchemy.orm.exc import UnmappedClassError

from infra.database.models import SoftDelete
from infra.database.repository.errors import InvalidFilterError, UnknownFieldError
from infra.database.repository.rows import RowPlan
from infra.errors import nearest

Model = TypeVar("Model")
Lookup = Callable[[Any], ColumnElement[bool]]
#: How SQLAlchemy calls relationships that are read when they are asked for, or not at all.
_LAZY = frozenset({"select", True, "raise", "raise_on_sql", "noload", None, "dynamic", "write_only"})
_INFO_KEY = "infra.repository"


class ModelMap(Generic[Model]):
    """A model's fields, keys and ready-made statements. Get one with `model_map`, which keeps it on the mapper."""

    def __init__(self, model: type[Model], mapper: Mapper[Model]) -> None:
        self.model = model
        self.mapper = mapper
        self.name = model.__name__
        #: Mapped columns by attribute name.
        self.columns: dict[str, InstrumentedAttribute[Any]] = {prop.key: getattr(model, prop.key) for prop in mapper.column_attrs}
        #: What a filter may name: columns and hybrid properties.
        self.filterable: dict[str, Any] = self.columns | {
            key: getattr(model, key)
            for key, descriptor in mapper.all_orm_descriptors.items()
            if descriptor.extension_type is HybridExtensionType.HYBRID_PROPERTY
        }
        self.relationships = frozenset(prop.key for prop in mapper.relationships)
        #: Whether reading a row may read related ones too, by statements of their own or in its own.
        self.eager = any(prop.lazy not in _LAZY for prop in mapper.relationships)
        #: What `update` may set.
        self.settable = frozenset(self.columns) | self.relationships | frozenset(self.filterable)
        self.primary_key: tuple[str, ...] = tuple(mapper.get_property_by_column(column).key for column in mapper.primary_key)
        self.soft_delete = issubclass(model, SoftDelete)
        version: Any = mapper.version_id_col
        self.version: str | None = None if version is None else mapper.get_property_by_column(version).key
        #: The one table that holds the model; None when it spans several, by joined inheritance or a join.
        table: object = mapper.local_table
        self.table = cast("Table[Any]", table) if isinstance(table, Table) and len(mapper.tables) == 1 else None
        #: Whether a row spans the tables of its class and of those above it.
        self.joined = len(mapper.tables) > 1 and mapper.inherits is not None
        self.select: Select[Model] = select(model)
        self.count: Select[int] = select(func.count()).select_from(model)
        self.one: Select[Any] = select(cast("ColumnElement[Any]", literal_column("1"))).select_from(model)
        #: Filters met before, by their keyword: ``age__gte``. Only valid ones are kept, so it stays small.
        self.lookups: dict[str, Lookup] = {}
        #: The select in an order that was asked for, by sort key and dialect.
        self.sorted: dict[tuple[str, str], Select[Model]] = {}

    def unknown(self, name: str, known: frozenset[str] | Mapping[str, object], operation: str) -> UnknownFieldError:
        """The error for a name that is no field, with the nearest one."""
        near = nearest(name, frozenset(known))
        return UnknownFieldError(
            f"{self.name} has no field {name!r}",
            operation=operation,
            details={"model": self.name, "field": name, "nearest": near},
            remedy=f"did you mean {near}?" if near else f"its fields are: {', '.join(sorted(known))}",
        )

    def column(self, name: str, operation: str) -> InstrumentedAttribute[Any]:
        """The mapped column of that name."""
        try:
            return self.columns[name]
        except KeyError:
            raise self.unknown(name, self.columns, operation) from None

    def unique_keys(self) -> list[frozenset[str]]:
        """The attribute names of the primary key and of every unique constraint and unconditional unique index."""
        keys = [frozenset(self.primary_key)]
        if self.table is None:
            return keys
        groups: list[Any] = [constraint.columns for constraint in self.table.constraints if isinstance(constraint, UniqueConstraint)]
        groups += [
            index.columns
            for index in self.table.indexes
            if index.unique
            and len(index.expressions) == len(index.columns)
            and not any(key.endswith("_where") for key, value in index.dialect_kwargs.items() if value is not None)
        ]
        for columns in groups:
            names = [self.attribute_of(column.name) for column in columns]
            if all(names):
                keys.append(frozenset(cast("list[str]", names)))
        return keys

    @cached_property
    def plan(self) -> RowPlan:
        """How rows of this model are written without the unit of work."""
        return RowPlan(self)

    def attribute_of(self, column_name: str) -> str | None:
        """The attribute that maps the column of that name; None when none does."""
        for name, attribute in self.columns.items():
            if getattr(attribute.property.columns[0], "name", None) == column_name:
                return name
        return None


def model_map(model: type[Model]) -> ModelMap[Model]:
    """The map of a model, made on first use and kept as long as the model lives.

    Raises:
        InvalidFilterError: It is no mapped class.
    """
    mapper = cast("Mapper[Model] | None", inspect(model, raiseerr=False))
    if not isinstance(mapper, Mapper):
        raise InvalidFilterError(
            f"{getattr(model, '__name__', model)!r} is not a mapped class", remedy="derive it from infra.database.Base"
        ) from UnmappedClassError(model)
    kept = cast("dict[str, ModelMap[Model]]", cast("Any", mapper.class_manager).info)
    known = kept.get(_INFO_KEY)
    if known is None:
        known = kept[_INFO_KEY] = ModelMap(model, mapper)
    return known
