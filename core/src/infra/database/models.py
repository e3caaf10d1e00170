"""The declarative base and the mixins for models.

    class Agent(UUIDPrimaryKey, Timestamps, SoftDelete, Version, Base):
        __tablename__ = "agents"
        name: Mapped[str]

Every model of a named database other than ``main`` derives from a base of its own, so that databases have independent metadata:

    class GarminBase(Base):
        __abstract__ = True
        metadata = new_metadata("garmin")
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, Final
from uuid import UUID

from sqlalchemy import JSON, Connection, DateTime, Dialect, Index, Integer, MetaData, Uuid, event, text
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import (
    DeclarativeBase,
    LoaderCriteriaOption,
    Mapped,
    MappedColumn,
    ORMExecuteState,
    Session,
    declared_attr,
    mapped_column,
)
from sqlalchemy.types import TypeDecorator, TypeEngine

from infra.errors import UnsupportedError
from infra.runtime.identifiers import uuid7

#: Names that Alembic can compute, so that every constraint can be dropped later.
NAMING_CONVENTION: Final[Mapping[str, str]] = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

#: The execution option that shows soft-deleted rows too: ``session.execute(query, execution_options={INCLUDE_DELETED: True})``.
INCLUDE_DELETED: Final = "include_deleted"


def utcnow() -> datetime:
    """The present time, aware, in UTC."""
    return datetime.now(UTC)


def new_metadata(database: str = "main") -> MetaData:
    """Empty metadata with the naming convention, for the models of the named database."""
    return MetaData(naming_convention=dict(NAMING_CONVENTION), info={"database": database})


class UTCDateTime(TypeDecorator[datetime]):
    """Aware datetimes in UTC, with microseconds, on every server.

    Servers without a time zone type (SQLite, MySQL) store the UTC wall time. A naive datetime is refused with `ValueError`: nobody can know
    which instant it means.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """MySQL's DATETIME drops fractions of a second unless told otherwise."""
        if dialect.name in ("mysql", "mariadb"):
            return dialect.type_descriptor(mysql.DATETIME(fsp=6))
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To UTC; without its zone where the server knows none."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"naive datetime {value.isoformat()}: give it a time zone, such as datetime.now(UTC)")
        if value.tzinfo is not UTC:
            value = value.astimezone(UTC)
        return value if dialect.name == "postgresql" else value.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - SQLAlchemy passes it
        """Aware, in UTC."""
        if value is None or value.tzinfo is UTC:
            return value
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """The declarative base of the database ``main``: the naming convention, and aware UTC for ``Mapped[datetime]``.

    In a JSON column that may be NULL, None is NULL; ``sqlalchemy.JSON.NULL`` writes JSON's own null.
    """

    metadata = new_metadata()
    type_annotation_map: ClassVar[dict[Any, Any]] = {datetime: UTCDateTime(), UUID: Uuid()}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        columns: Any = getattr(cls.__dict__.get("__table__"), "columns", ())
        for column in columns:
            if column.nullable and issubclass(type(column.type), JSON):
                # In place: what tracks changes within a value knows its column by the type.
                kinds: Any = (column.type, *column.type._variant_mapping.values())
                for kind in kinds:
                    if isinstance(kind, JSON):
                        kind.none_as_null = True


class UUIDPrimaryKey:
    """A key made by the client: UUIDv7, so that rows made later sort later and indexes grow at their end."""

    id: Mapped[UUID] = mapped_column(Uuid(), primary_key=True, default=uuid7, sort_order=-100)


class Timestamps:
    """When a row was made and last changed, aware UTC, set by the client."""

    created_at: Mapped[datetime] = mapped_column(UTCDateTime(), default=utcnow, sort_order=900)
    updated_at: Mapped[datetime] = mapped_column(UTCDateTime(), default=utcnow, onupdate=utcnow, sort_order=901)


class Version:
    """Optimistic locking: a change of a row that someone else changed meanwhile fails instead of overwriting it."""

    version: Mapped[int] = mapped_column(Integer(), default=1, sort_order=902)

    @declared_attr.directive
    def __mapper_args__(cls) -> dict[str, Any]:  # noqa: N805 - SQLAlchemy calls it with the class
        return {"version_id_col": cls.version}


class SoftDelete:
    """Rows that are marked instead of removed.

    ORM queries of any session, joins, relationship loads of every kind and bulk UPDATE and DELETE do not see marked rows, unless they carry
    the execution option ``include_deleted=True``. ``Session.delete`` still removes for good; ``Repository.delete`` marks, and
    ``Repository.restore`` takes the mark away.
    """

    deleted_at: Mapped[datetime | None] = mapped_column(UTCDateTime(), default=None, sort_order=903)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # Only processes that use soft deletion pay for the event: it costs about 1 % of a query.
        if not event.contains(Session, "do_orm_execute", _hide_deleted):
            event.listen(Session, "do_orm_execute", _hide_deleted)


def _hide_deleted(state: ORMExecuteState) -> None:
    if state.execution_options.get(INCLUDE_DELETED, False):
        return
    if state.is_select or ((state.is_update or state.is_delete) and not state.is_executemany):
        state.statement = state.statement.options(_ONLY_LIVE)


def _is_live(model: type[SoftDelete]) -> Any:
    return model.deleted_at.is_(None)


class _OnlyLive(LoaderCriteriaOption):
    """The criteria for the statement at hand and its joined eager loads.

    Objects do not keep it for the loads that come later: lazy ones pass the event themselves, also those of objects that no query loaded.
    """

    _traverse_internals = LoaderCriteriaOption._traverse_internals  # pyright: ignore[reportPrivateUsage]

    def get_global_criteria(self, attributes: dict[Any, Any]) -> None:
        """Joined eager loads heed only criteria that say that they go on to loaders."""
        _JOINED_TOO.get_global_criteria(attributes)


_JOINED_TOO: Final = LoaderCriteriaOption(SoftDelete, _is_live, include_aliases=True, propagate_to_loaders=True)
_ONLY_LIVE: Final = _OnlyLive(SoftDelete, _is_live, include_aliases=True, propagate_to_loaders=False)


def unique_among_live(*columns: str | MappedColumn[Any], name: str | None = None) -> Index:
    """A unique index over the rows that are not soft-deleted, for ``__table_args__``: a deleted row's values are free again.

    Raises:
        UnsupportedError: At CREATE on MySQL and MariaDB, which have no partial indexes.
    """
    live = text("deleted_at IS NULL")
    index = Index(name, *columns, unique=True, postgresql_where=live, sqlite_where=live)
    event.listen(index, "before_create", _refuse_without_partial_indexes)
    return index


def _refuse_without_partial_indexes(index: Index, connection: Connection, **_: object) -> None:
    if connection.dialect.name in ("mysql", "mariadb"):
        raise UnsupportedError(
            f"{connection.dialect.name} has no partial indexes, which {index.name} needs",
            operation="create_index",
            remedy="use a UniqueConstraint over the columns and a generated column that is NULL for deleted rows",
        )
