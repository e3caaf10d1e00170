# Generated from _async.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""The repository: the queries that every model needs, over one session."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import new_class
from typing import Any, ClassVar, Generic, TypeVar, cast

from sqlalchemy import ColumnElement, CursorResult, delete, insert, inspect, update
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import FlushError, StaleDataError
from sqlalchemy.orm.interfaces import ORMOption

from infra.database.errors import NotNullError
from infra.database.model import DatabaseFeature
from infra.database.models import INCLUDE_DELETED, utcnow
from infra.database.repository import keyset, upserts
from infra.database.repository.bulk import insert_rows, joined_rows
from infra.database.repository.errors import InvalidFilterError, RowNotFoundError, StaleVersionError
from infra.database.repository.filters import comparable, conditions, filtered
from infra.database.repository.loading import ONE_STATEMENT_AT_A_TIME, unique, whole
from infra.database.repository.mapping import ModelMap, model_map
from infra.database.repository.model import UNSET, Page

Model = TypeVar("Model")


class Repository(Generic[Model]):
    """Reads and writes one model through a session that somebody else owns.

    It flushes and never commits, and reads back only what the server made of a row (an `onupdate` expression, a computed column).
    ``Repository[Agent](session)`` serves as it is; add queries in a subclass:

        class AgentRepository(Repository[Agent]):
            def get_by_type(self, kind: str) -> list[Agent]:
                return self.list(kind=kind, sort="name")

    Filters are keywords, ``field=value`` or ``field__operator=value`` (`infra.database.repository.OPERATORS`), beside any SQLAlchemy
    expressions. None means IS NULL; `UNSET` leaves a filter out. Errors of the server pass as the session raises them.

    Args:
        session: The session. One of `Database` brings the key that signs paging cursors and the server's bulk load.
        model: The model, where the class does not say it.
    """

    model: ClassVar[type[Any]]
    #: The secret that signs paging cursors; when empty the session's ``info["cursor_key"]``, else its database's `cursor_key`.
    cursor_key: ClassVar[bytes] = b""
    #: Rows that one statement of `upsert_many` and `add_many` carries.
    batch_size: ClassVar[int] = 10_000
    #: Rows from which on `add_many` uses the server's COPY, where it has one.
    copy_from: ClassVar[int] = 500

    def __class_getitem__(cls, model: Any) -> Any:
        alias = cast("Any", super()).__class_getitem__(model)
        if not isinstance(model, type) or "model" in cls.__dict__:
            return alias
        return new_class(
            f"{cls.__name__}[{model.__name__}]", (alias,), exec_body=lambda body: body.update(model=model, __module__=cls.__module__)
        )

    def __init__(self, session: Session, model: type[Model] | None = None) -> None:
        self.session = session
        self._map: ModelMap[Model] = model_map(model or cast("type[Model]", self.model))

    # Reading

    def get(
        self, key: object, *, options: Sequence[ORMOption] | None = None, for_update: bool = False, include_deleted: bool = False
    ) -> Model:
        """The row with that primary key (a tuple, when it has several columns).

        Raises:
            RowNotFoundError: There is none, or it is soft-deleted and `include_deleted` does not ask for it.
        """
        row = self.get_or_none(key, options=options, for_update=for_update, include_deleted=include_deleted)
        if row is None:
            raise self._missing(key, "get")
        return row

    def get_or_none(
        self, key: object, *, options: Sequence[ORMOption] | None = None, for_update: bool = False, include_deleted: bool = False
    ) -> Model | None:
        """The row with that primary key; None when there is none, or it is soft-deleted and `include_deleted` does not ask for it."""
        models = self._map
        shown = {INCLUDE_DELETED: True} if include_deleted else {}
        if len(models.primary_key) == 1:
            key = comparable(models.columns[models.primary_key[0]], key)
        try:
            row = self.session.get(models.model, key, options=options, with_for_update=for_update or None, execution_options=shown)
        except InvalidRequestError as error:
            raise InvalidFilterError(
                f"the key of {models.name} is ({', '.join(models.primary_key)})",
                operation="get",
                remedy="give one value for each of its columns",
            ) from error
        if models.soft_delete and not include_deleted and row is not None and cast("Any", row).deleted_at is not None:
            return None
        return row

    def list(
        self,
        *where: ColumnElement[bool],
        sort: keyset.SortKeys = None,
        limit: int | None = None,
        offset: int | None = None,
        options: Sequence[ORMOption] = (),
        include_deleted: bool = False,
        **filters: Any,
    ) -> builtins.list[Model]:
        """All rows that match, or `limit` of them from `offset` on.

        Args:
            where: SQLAlchemy expressions that must all hold.
            sort: Fields in order of weight, ``"-name"`` for descending; the primary key breaks ties. No order when not given.
            limit: The largest number of rows.
            offset: Rows to leave out at the beginning; `page` does not slow down with depth.
            options: Loader options, such as ``selectinload(Agent.owner)``.
            include_deleted: Soft-deleted rows too, also those that are loaded with them.
            filters: Keyword filters.

        Raises:
            UnknownFieldError: A filter or sort key names no field.
        """
        models = self._map
        statement = keyset.in_order(models, sort, self._dialect(), "list") if sort else models.select
        statement = filtered(statement, models, where, filters, "list")
        if limit is not None:
            statement = statement.limit(whole(limit, 0, "list", "limit"))
        if offset is not None:
            statement = statement.offset(whole(offset, 0, "list", "offset"))
        if options:
            statement = statement.options(*options)
        if include_deleted:
            statement = statement.execution_options(**{INCLUDE_DELETED: True})
        return cast("builtins.list[Model]", unique(self.session.scalars(statement)).all())

    def page(
        self,
        limit: int,
        *where: ColumnElement[bool],
        after: str | None = None,
        sort: keyset.SortKeys = None,
        options: Sequence[ORMOption] = (),
        include_deleted: bool = False,
        **filters: Any,
    ) -> Page[Model]:
        """The first `limit` rows, or those after the page whose ``next`` is `after`; see `count` for a total.

        It costs the same at any depth, and rows written meanwhile make no other row appear twice or not at all. Every column that its
        server sorts can be a sort key; JSON is none.

        Raises:
            UnknownFieldError: A filter or sort key names no field.
            InvalidCursorError: `after` was altered, or belongs to another sort or filter.
        """
        whole(limit, 1, "page", "limit")
        models, dialect = self._map, self._dialect()
        keys = keyset.order(models, sort, "page")
        cursors = keyset.Cursors(self._cursor_key(), keyset.fingerprint(models, keys, where, filters, include_deleted))
        select = models.select.add_columns(*keyset.exact(models, keys, dialect))
        statement = filtered(select, models, where, filters, "page").order_by(*keyset.order_by(models, keys, dialect))
        if after is not None:
            statement = statement.where(keyset.after(models, keys, cursors.read(after), dialect))
        if options:
            statement = statement.options(*options)
        if include_deleted:
            statement = statement.execution_options(**{INCLUDE_DELETED: True})
        rows = unique(self.session.execute(statement.limit(limit + 1))).all()
        items = [row[0] for row in rows[:limit]]
        return Page(items, cursors.write(rows[limit - 1][1:]) if len(rows) > limit else None)

    def count(self, *where: ColumnElement[bool], include_deleted: bool = False, **filters: Any) -> int:
        """How many rows match."""
        shown = {INCLUDE_DELETED: True} if include_deleted else {}
        statement = filtered(self._map.count, self._map, where, filters, "count")
        return (self.session.execute(statement, execution_options=shown)).scalar_one()

    def exists(self, *where: ColumnElement[bool], include_deleted: bool = False, **filters: Any) -> bool:
        """Whether any row matches."""
        shown = {INCLUDE_DELETED: True} if include_deleted else {}
        statement = filtered(self._map.one, self._map, where, filters, "exists").limit(1)
        return (self.session.execute(statement, execution_options=shown)).first() is not None

    def stream(
        self,
        *where: ColumnElement[bool],
        sort: keyset.SortKeys = None,
        batch_size: int = 1_000,
        options: Sequence[ORMOption] = (),
        include_deleted: bool = False,
        **filters: Any,
    ) -> Iterator[Model]:
        """All rows that match, one by one, `batch_size` of them in memory. It holds the session's connection until it ends.

        Wrap it in ``contextlib.aclosing`` when the loop may be left early. Eager loads that a running stream cannot do (a joined
        collection, whose rows a server repeats; any on MySQL, which runs one statement at a time) make it read page after page instead:
        under READ COMMITTED each is of its own moment.
        """
        whole(batch_size, 1, "stream", "batch_size")
        models, dialect = self._map, self._dialect()
        statement = filtered(keyset.in_order(models, sort, dialect, "stream"), models, where, filters, "stream")
        if options:
            statement = statement.options(*options)
        if include_deleted:
            statement = statement.execution_options(**{INCLUDE_DELETED: True})
        result = None
        if dialect not in ONE_STATEMENT_AT_A_TIME or not (options or models.eager):
            statement = statement.execution_options(yield_per=batch_size)
            try:
                result = self.session.scalars(statement)
            except InvalidRequestError as error:
                if "uniquing" not in str(error):
                    raise
        if result is None:
            shown: Any = {"sort": sort, "options": options, "include_deleted": include_deleted, **filters}
            page = self.page(batch_size, *where, **shown)
            while True:
                for row in page.items:
                    yield row
                if page.next is None:
                    return
                page = self.page(batch_size, *where, after=page.next, **shown)
        try:
            yield from result
        finally:
            result.close()

    # Writing

    def add(self, row: Model) -> Model:
        """Add a new row and flush; the same object, now persistent.

        Raises:
            InvalidFilterError: It is no instance of this model.
        """
        if not isinstance(row, self._map.model):
            raise InvalidFilterError(
                f"a row of {self._map.name} is a {type(row).__name__}", operation="add", remedy=f"give an instance of {self._map.name}"
            )
        self.session.add(row)
        added = list(self.session.new)  # with what it refers to
        try:
            self.session.flush()
        except FlushError as error:
            if "NULL identity" not in str(error):
                raise
            raise NotNullError(f"a row of {self._map.name} has no key", operation="add", remedy="give it one") from error
        for one in added:
            self._complete(one)
        return row

    def add_many(self, rows: Iterable[Model | Mapping[str, Any]]) -> int:
        """Insert many rows by bulk statements, past the unit of work; how many there were.

        What is stored is what `add` stores, whichever way the rows take: INSERT, or COPY where no column needs SQL or the statement's
        context for its value. Instances get the keys and defaults that the client makes, but stay transient. Related objects are refused,
        not dropped.

        Raises:
            UnknownFieldError: A mapping has a name that is no field.
            InvalidFilterError: A row brings related objects, or is no row of this model.
        """
        if self._map.joined:
            mappings = joined_rows(self._map, rows, "add_many")
            if mappings:
                self.session.execute(insert(self._map.model), mappings)
            return len(mappings)
        plan = self._map.plan
        groups = plan.groups(rows, "add_many", write_back=True)
        self.session.flush()  # what these rows may refer to
        connection = self.session.connection(bind_arguments={"mapper": self._map.mapper})
        database = cast("Any", self.session.info.get("database"))
        copy = database.policy.bulk_insert if database is not None and DatabaseFeature.COPY in database.features else None
        count = 0
        for group in groups.values():
            as_it_is = copy is not None and plan.goes_as_it_is(group[0], connection.dialect)
            for start in range(0, len(group), self.batch_size):
                batch = group[start : start + self.batch_size]
                write = copy if copy is not None and as_it_is and len(batch) >= self.copy_from else insert_rows
                count += write(connection, plan.table, batch)
        return count

    def update(
        self, target: Model | object, values: Mapping[str, Any] | None = None, *, expected_version: int | None = None, **fields: Any
    ) -> Model:
        """Change a row, given itself or its primary key, and flush.

        Args:
            target: The row, or its primary key.
            values: Fields to change, for names that are parameters here; `UNSET` leaves one as it is.
            expected_version: The version that the caller has seen, on models with `Version`.
            fields: Fields to change.

        Raises:
            RowNotFoundError: There is none, or it is soft-deleted.
            UnknownFieldError: A name is no field.
            StaleVersionError: Someone else changed it meanwhile.
        """
        models = self._map
        changes = {**values, **fields} if values else fields
        for name in changes:
            if name not in models.settable:
                raise models.unknown(name, models.settable, "update")
        row = self._target(target, "update")
        if expected_version is not None:
            self._expect(row, expected_version)
        for name, value in changes.items():
            if value is not UNSET:
                setattr(row, name, value)
        self._flush(row, "update")
        self._complete(row)
        return row

    def upsert_many(
        self, rows: Iterable[Model | Mapping[str, Any]], *, keys: Sequence[str] | None = None, update: Sequence[str] | None = None
    ) -> int:
        """Insert rows, or update those whose unique key exists, by the server's own upsert; how many distinct rows there were.

        Of rows with the same key the last one counts. Objects in the session do not see the change.

        Args:
            rows: Instances or mappings.
            keys: The fields of the primary key (the default) or of a unique constraint.
            update: The fields that an existing row takes over; all given ones when None, none to leave existing rows as they are.

        Raises:
            UniqueKeyError: `keys` are no unique key, or a row has no value for one of them.
            UnknownFieldError: A mapping has a name that is no field.
        """
        models, plan = self._map, self._map.plan
        named = models.primary_key if keys is None else tuple(keys)
        groups = plan.groups(rows, "upsert_many")
        dialect = self._dialect()
        upserts.prove_key(models, named, groups, dialect)
        columns = [plan.column_keys[name] for name in named]
        self.session.flush()
        connection = self.session.connection(bind_arguments={"mapper": models.mapper})
        count = 0
        for given, group in groups.items():
            unique = upserts.distinct(group, columns)
            count += len(unique)
            size = 1 if plan.on_update_in_context else self.batch_size  # such a value is made for one row
            for start in range(0, len(unique), size):
                batch = unique[start : start + size]
                statement = upserts.statement(dialect, plan.table, columns, *upserts.changes(models, given, named, update, batch[0]))
                connection.execute(statement, batch)
        return count

    def delete(self, target: Model | object, *, expected_version: int | None = None) -> None:
        """Delete a row, given itself or its primary key, and flush; on a model with `SoftDelete` mark it.

        Raises:
            RowNotFoundError: There is none, or it is soft-deleted already.
            StaleVersionError: Someone else changed it meanwhile.
        """
        row = self._target(target, "delete")
        if expected_version is not None:
            self._expect(row, expected_version)
        if self._map.soft_delete:
            cast("Any", row).deleted_at = utcnow()
        else:
            self.session.delete(row)
        self._flush(row, "delete")
        if self._map.soft_delete:
            self._complete(row)

    def delete_where(self, *where: ColumnElement[bool], **filters: Any) -> int:
        """Delete all rows that match, or mark them on a model with `SoftDelete`, by one statement; how many there were.

        Raises:
            InvalidFilterError: There is no condition. ``delete_where(sqlalchemy.true())`` deletes all.
        """
        models = self._map
        matching = conditions(models, where, filters, "delete_where")
        if not matching:
            raise InvalidFilterError(
                f"this would delete all rows of {models.name}",
                operation="delete_where",
                remedy="give a condition; sqlalchemy.true() says that all are meant",
            )
        if models.joined:  # one statement would reach one of its tables alone
            rows = self.list(*matching)
            for row in rows:
                self.delete(row)
            return len(rows)
        if models.soft_delete:
            marks: dict[str, Any] = {"deleted_at": utcnow()}
            if models.version is not None:
                marks[models.version] = models.columns[models.version] + 1
            result = self.session.execute(update(models.model).where(*matching).values(marks))
        else:
            result = self.session.execute(delete(models.model).where(*matching))
        return cast("CursorResult[Any]", result).rowcount

    def restore(self, target: Model | object) -> Model:
        """Take the mark from a soft-deleted row, given itself or its primary key, and flush. A row without the mark stays as it is.

        Raises:
            RowNotFoundError: There is none.
            InvalidFilterError: The model has no `SoftDelete`.
            UniqueError: Another row has taken its unique values meanwhile.
        """
        if not self._map.soft_delete:
            raise InvalidFilterError(
                f"rows of {self._map.name} are removed, not marked",
                operation="restore",
                remedy="add the mixin infra.database.SoftDelete to the model",
            )
        row = target if isinstance(target, self._map.model) else self.get(target, include_deleted=True)
        cast("Any", row).deleted_at = None
        self._flush(row, "restore")
        self._complete(row)
        return row

    # Within

    def _target(self, target: Model | object, operation: str) -> Model:
        if isinstance(target, self._map.model):
            return target
        row = self.get_or_none(target)
        if row is None:
            raise self._missing(target, operation)
        return row

    def _flush(self, row: Model, operation: str) -> None:
        try:
            self.session.flush()
        except StaleDataError as error:
            raise self._stale(row, operation) from error

    def _complete(self, row: object) -> None:
        """Fetch what the server has made, such as an `onupdate` expression or a computed column: asyncio cannot do it on access."""
        state: Any = inspect(row)
        if state.expired_attributes and (names := state.expired_attributes.intersection(state.mapper.column_attrs.keys())):
            self.session.refresh(row, sorted(names))

    def _expect(self, row: Model, version: int) -> None:
        name = self._map.version
        if name is None:
            raise InvalidFilterError(f"{self._map.name} has no version", operation="update", remedy="add the mixin infra.database.Version")
        if getattr(row, name) != version:
            raise self._stale(row, "update")

    def _stale(self, row: Model, operation: str) -> StaleVersionError:
        key = inspect(row).identity or ()  # not the attributes: a failed flush has expired them
        return StaleVersionError(
            f"{self._map.name} {', '.join(map(str, key))} was changed or deleted by someone else",
            operation=operation,
            details={"model": self._map.name},
            remedy="read it again and repeat the change",
        )

    def _missing(self, key: object, operation: str) -> RowNotFoundError:
        return RowNotFoundError(
            f"no {self._map.name} has the key {key}",
            operation=operation,
            details={"model": self._map.name, "key": str(key)},
            remedy="check the key, or use get_or_none where it may be missing",
        )

    def _dialect(self) -> str:
        return self.session.get_bind(self._map.mapper).dialect.name

    def _cursor_key(self) -> bytes:
        info = self.session.info
        key = self.cursor_key or info.get("cursor_key") or getattr(info.get("database"), "cursor_key", None)
        if not key:
            raise InvalidFilterError(
                "there is no key to sign paging cursors with",
                operation="page",
                remedy='use a session of infra.database, or set session.info["cursor_key"] or the repository\'s cursor_key',
            )
        return key
