"""Rows for statements that write many at once, made from mappings or instances."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import ColumnDefault, Dialect, Table

from infra.database.repository.errors import InvalidFilterError
from infra.database.repository.model import UNSET, Unset

if TYPE_CHECKING:
    from infra.database.repository.mapping import ModelMap

#: Rows by the columns that the caller set, to which those with defaults are added; the rows of one group fit one statement.
Groups = dict[tuple[str, ...], list[dict[str, Any]]]
_STATE = "_sa_instance_state"


class RowPlan:
    """How a model's rows become statement parameters: which attribute is which column, and the defaults that the client makes."""

    def __init__(self, models: ModelMap[Any]) -> None:
        table = models.table
        if table is None:
            raise InvalidFilterError(
                f"{models.name} spans several tables, so that no single statement writes it", remedy="add its rows one by one"
            )
        self._models = models
        self.table: Table[Any] = table
        #: (attribute, column key) of every column that a client can write.
        self.names: list[tuple[str, str]] = []
        #: (column key, attribute, maker) of the values that the client makes.
        self.defaults: list[tuple[str, str, Callable[[], Any]]] = []
        #: Columns that change with every update, with the maker of their value, or of the SQL expression for it.
        self.on_update: dict[str, Callable[[], Any]] = {}
        #: The same, of makers that want to see the row's other values.
        self.on_update_in_context: dict[str, Callable[[Any], Any]] = {}
        #: Columns in which an instance's None means their default, as it does to a unit of work.
        self.none_is_default: set[str] = set()
        for name, attribute in models.columns.items():
            column = attribute.property.columns[0]
            if getattr(column, "table", None) is not table or getattr(column, "computed", None) is not None:
                continue
            self.names.append((name, column.key))
            made = self._default(name, column)
            if made is not None:
                self.defaults.append((column.key, name, made))
            changed: Any = column.onupdate
            if changed is not None and changed.is_clause_element:
                self.on_update[column.key] = partial(getattr, changed, "arg")
            elif (change := maker(changed)) is not None:
                self.on_update[column.key] = change
            elif changed is not None and changed.is_callable:
                self.on_update_in_context[column.key] = changed.arg
            has_default = column.default is not None or column.server_default is not None or column.primary_key
            if has_default and not column.type.should_evaluate_none:
                self.none_is_default.add(column.key)
        self.column_keys = dict(self.names)

    def _default(self, name: str, column: Any) -> Callable[[], Any] | None:
        mapper = self._models.mapper
        if name == self._models.version and (first := mapper.version_id_generator):
            return lambda: first(None)  # type: ignore[operator]
        if mapper.polymorphic_on is column and mapper.polymorphic_identity is not None:
            return lambda: mapper.polymorphic_identity
        return maker(column.default)

    def goes_as_it_is(self, given: Mapping[str, Any], dialect: Dialect) -> bool:
        """Whether rows with these columns can be copied: no value is made by SQL of the client, or by a statement's context."""
        for column in self.table.columns:
            if column.key in given:
                if column.type.dialect_impl(dialect)._has_bind_expression or column.type._has_bind_expression:  # pyright: ignore[reportPrivateUsage]
                    return False
            elif column.default is not None:
                return False
        return True

    def groups(self, rows: Iterable[object], operation: str, *, write_back: bool = False) -> Groups:
        """The rows as statement parameters.

        Args:
            rows: Instances, or mappings of fields; `UNSET` values are left out.
            operation: For errors.
            write_back: Give instances the values that were made here, such as their key. They stay transient.

        Raises:
            UnknownFieldError: A mapping has a name that is no field.
            InvalidFilterError: A row is neither a mapping nor an instance, or an instance brings related objects.
        """
        names, defaults, model = self.names, self.defaults, self._models.model
        every: list[object] = rows if isinstance(rows, list) else list(rows)
        if (alike := self._alike(every)) is not None:
            return alike
        found: Groups = {}
        for row in every:
            if isinstance(row, model):
                values: dict[str, Any] = vars(row)
                if not self._models.relationships.isdisjoint(values):
                    self._refuse_related(values, operation)
            elif type(row) is dict or isinstance(row, Mapping):
                values = cast("dict[str, Any]", row)
                if not self.column_keys.keys() >= values.keys():
                    unknown = next(key for key in values if key not in self.column_keys)
                    raise self._models.unknown(unknown, self.column_keys, operation)
            else:
                raise InvalidFilterError(
                    f"a row of {self._models.name} is a {type(row).__name__}",
                    operation=operation,
                    remedy=f"pass instances of {self._models.name} or mappings of its fields",
                )
            made = {column: value for name, column in names if (value := values.get(name, UNSET)) is not UNSET}
            if _STATE in values:
                for column in self.none_is_default:
                    if column in made and made[column] is None:
                        del made[column]
            found.setdefault(tuple(made), []).append(made)
            instance = write_back and _STATE in values
            for column, name, make in defaults:
                if column not in made:
                    made[column] = value = make()
                    if instance:
                        values[name] = value
        return found

    def _alike(self, rows: list[object]) -> Groups | None:
        """The rows as one group, where all are plain dicts, or all instances, with the same columns and nothing has to be added to them.

        This is how bulk loads come. Each check takes all rows at once: looking at them one by one took as long as a COPY of them does.
        Dicts that are parameters already are not copied.
        """
        kinds, hidden = set(map(type, rows)), set[str]()
        if kinds == {dict}:
            found = cast("list[dict[str, Any]]", rows)
        elif kinds == {self._models.model}:
            found = list(map(vars, rows))
            hidden = {_STATE}
        else:
            return None
        first = found[0]
        named = [(name, column) for name, column in self.names if name in first]
        foreign = first.keys() - {name for name, _ in named} - hidden
        given = tuple(column for _, column in named)
        if len(named) < 2 or foreign or set(map(len, found)) != {len(first)} or not all(column in given for column, _, _ in self.defaults):
            return None
        try:
            if any(Unset in set(map(type, map(itemgetter(name), found))) for name, _ in named):
                return None
            if hidden:
                for name, column in named:
                    if column in self.none_is_default and any(row[name] is None for row in found):
                        return None
        except KeyError:
            return None
        if first.keys() == set(given):
            return {given: found}
        return {given: [{column: row[name] for name, column in named} for row in found]}

    def _refuse_related(self, values: Mapping[str, Any], operation: str) -> None:
        for name in sorted(self._models.relationships):
            if values.get(name):
                raise InvalidFilterError(
                    f"a row of {self._models.name} brings related objects in {name!r}, which only a unit of work can write",
                    operation=operation,
                    remedy="use add, or set the foreign key column instead",
                )


def maker(default: Any) -> Callable[[], Any] | None:
    """A function for the client-side default; None when it is the server's, needs the statement's context, or does not exist."""
    if not isinstance(default, ColumnDefault):
        return None
    argument: Any = default.arg
    if default.is_scalar:
        return lambda: argument
    if default.is_callable and not inspect.signature(argument).parameters:
        return inspect.unwrap(argument)  # SQLAlchemy wraps functions without parameters
    return None
