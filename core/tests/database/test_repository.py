from __future__ import annotations

import enum
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import ForeignKey, create_engine, select
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapped, Session, mapped_column

from infra.database import Base, InvalidFilterError, Repository, Sort, UniqueKeyError, UUIDPrimaryKey, new_metadata
from infra.database.repository import keyset, upserts
from infra.database.repository.mapping import model_map
from infra.errors import UnsupportedError


class Colour(enum.Enum):
    RED = 1


class HostBase(Base):
    __abstract__ = True
    metadata = new_metadata()


class User(UUIDPrimaryKey, HostBase):
    __tablename__ = "user_account"
    email: Mapped[str] = mapped_column(unique=True)
    login: Mapped[str | None] = mapped_column("login_name", unique=True)
    age: Mapped[int | None]
    limit: Mapped[int | None]

    @hybrid_property
    def handle(self) -> str:
        return "@" + self.email


class Animal(HostBase):
    __tablename__ = "animal"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}


class Dog(Animal):
    __mapper_args__ = {"polymorphic_identity": "dog"}


class Breeder(Dog):
    __tablename__ = "breeder"
    id: Mapped[int] = mapped_column(ForeignKey("animal.id"), primary_key=True)
    __mapper_args__ = {"polymorphic_identity": "breeder"}


@pytest.fixture
def session() -> Iterator[Session]:
    engine = create_engine("sqlite://")
    HostBase.metadata.create_all(engine)
    with Session(engine) as session:
        yield session
    engine.dispose()


def test_a_column_of_another_name_and_a_hybrid_can_be_named(session: Session) -> None:
    users = Repository[User](session)
    users.add_many([{"email": "a", "login": "x"}, {"email": "b"}])
    assert [user.email for user in users.list(login="x")] == ["a"]
    assert [user.email for user in users.list(handle="@b")] == ["b"]
    assert users.upsert_many([{"login": "x", "email": "c"}], keys=["login"]) == 1
    assert [user.email for user in users.list(sort="-email")] == ["c", "b"]


def test_a_field_that_is_a_parameter_is_updated_by_a_mapping_and_filtered_by_an_expression(session: Session) -> None:
    users = Repository[User](session)
    user = users.add(User(email="a"))
    users.update(user, {"limit": 3})
    assert users.list(User.limit == 3) == [user]


def test_a_subclass_without_a_table_of_its_own_keeps_its_discriminator(session: Session) -> None:
    Repository[Dog](session).add_many([{"id": 1}, Dog(id=2)])
    assert [animal.kind for animal in session.scalars(select(Animal))] == ["dog", "dog"]
    with pytest.raises(InvalidFilterError, match="several tables") as caught:
        Repository[Breeder](session).upsert_many([{"id": 3}])
    assert caught.value.remedy


def test_a_class_that_is_not_mapped_is_refused(session: Session) -> None:
    with pytest.raises(InvalidFilterError, match="not a mapped class"):
        Repository(session, int)


def test_paging_without_a_key_to_sign_with_is_refused(session: Session) -> None:
    with pytest.raises(InvalidFilterError, match="sign") as caught:
        Repository[User](session).page(1)
    assert caught.value.remedy
    session.info["cursor_key"] = b"secret"
    assert len(Repository[User](session).page(1)) == 0


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        2**70,
        0.1,
        "ü",
        b"\0\xff",
        UUID(int=7),
        Decimal("1.10"),
        date(2024, 1, 2),
        time(1, 2, 3),
        datetime(2024, 1, 2, 3, 4, 5, 6, UTC),
        timedelta(days=1, microseconds=1),
    ],
    ids=repr,
)
def test_a_cursor_holds_every_kind_of_value(value: Any) -> None:
    cursors = keyset.Cursors(b"key", b"query")
    (found,) = cursors.read(cursors.write([value]))
    assert found == value
    assert type(found) is type(value)


def test_a_query_has_the_same_fingerprint_in_every_process() -> None:
    program = """
from sqlalchemy import Column, Integer, String, MetaData, Table
from sqlalchemy.orm import registry
from infra.database.repository import keyset
from infra.database.repository.mapping import model_map
class Thing: pass
mapped = registry()
mapped.map_imperatively(Thing, Table("thing", mapped.metadata, Column("id", Integer, primary_key=True), Column("name", String)))
models = model_map(Thing)
where = (Thing.id.in_([1, 2]) | Thing.name.contains("x"),)
print(keyset.fingerprint(models, keyset.order(models, "-name", "page"), where, {"name__in": {"b", "a", "c"}, "id": 3}).hex())
"""
    prints = {subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout for _ in range(2)}
    assert len(prints) == 1


def sql(statement: Any, dialect: Any) -> str:
    return " ".join(str(statement.compile(dialect=dialect)).split())


def test_keyset_conditions_suit_the_server() -> None:
    models = model_map(User)
    keys = keyset.order(models, ["email"], "page")
    values = ["e", UUID(int=1)]
    by_row = sql(keyset.after(models, keys, values, "postgresql"), postgresql.dialect())
    assert by_row.startswith("(user_account.email, user_account.id) > (")
    spelt_out = sql(keyset.after(models, keys, values, "mysql"), mysql.dialect())
    assert spelt_out.startswith("user_account.email >= %s AND (user_account.email > %s OR user_account.email = %s AND user_account.id > %s")


@pytest.mark.parametrize(
    ("sort", "dialect", "expected"),
    [
        (Sort("age"), "postgresql", ["age ASC"]),
        (Sort("age", descending=True), "postgresql", ["age IS NULL", "age DESC"]),
        (Sort("age", nulls="first"), "postgresql", ["age IS NOT NULL", "age ASC"]),
        (Sort("age"), "mysql", ["age IS NULL", "age ASC"]),
        (Sort("age", nulls="first"), "mysql", ["age ASC"]),
        (Sort("age", descending=True), "sqlite", ["age DESC"]),
        (Sort("email"), "sqlite", ["email ASC"]),
    ],
    ids=str,
)
def test_the_position_of_null_is_spelt_out_only_where_the_servers_own_differs(sort: Sort, dialect: str, expected: list[str]) -> None:
    terms = [str(term).removeprefix("user_account.") for term in keyset.order_by(model_map(User), [sort], dialect)]
    assert terms == expected


def test_each_server_has_its_own_upsert() -> None:
    table = model_map(User).plan.table
    ours = {"keys": ["email"], "update": ["age"], "fixed": {}}
    assert "ON CONFLICT (email) DO UPDATE SET age = excluded.age" in sql(upserts.statement("sqlite", table, **ours), sqlite.dialect())
    assert "ON CONFLICT (email) DO UPDATE SET age = excluded.age" in sql(
        upserts.statement("postgresql", table, **ours), postgresql.dialect()
    )
    assert "ON DUPLICATE KEY UPDATE age = VALUES(age)" in sql(upserts.statement("mysql", table, **ours), mysql.dialect())
    keep = {"keys": ["email"], "update": [], "fixed": {}}
    assert "DO NOTHING" in sql(upserts.statement("sqlite", table, **keep), sqlite.dialect())
    assert "ON DUPLICATE KEY UPDATE email = user_account.email" in sql(upserts.statement("mariadb", table, **keep), mysql.dialect())
    with pytest.raises(UnsupportedError, match="mssql"):
        upserts.statement("mssql", table, **ours)


def test_where_any_unique_key_matches_a_second_one_is_refused() -> None:
    models = model_map(User)
    both = models.plan.groups([{"email": "a", "login": "b"}], "upsert_many")
    upserts.prove_key(models, ["email"], both, "postgresql")
    with pytest.raises(UniqueKeyError, match="login") as caught:
        upserts.prove_key(models, ["email"], both, "mysql")
    assert caught.value.remedy
    upserts.prove_key(models, ["email"], models.plan.groups([{"email": "a"}], "upsert_many"), "mysql")
