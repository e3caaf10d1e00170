from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import ForeignKey, create_engine, select, update
from sqlalchemy.exc import IntegrityError, StatementError
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship, selectinload

from infra.database import Base, SoftDelete, Timestamps, UUIDPrimaryKey, Version, new_metadata, unique_among_live
from infra.database.models import INCLUDE_DELETED, utcnow
from infra.errors import UnsupportedError


class HostBase(Base):
    __abstract__ = True
    metadata = new_metadata()


class Owner(UUIDPrimaryKey, HostBase):
    __tablename__ = "owner"
    pets: Mapped[list[Pet]] = relationship(back_populates="owner")


class Pet(UUIDPrimaryKey, Timestamps, SoftDelete, Version, HostBase):
    __tablename__ = "pet"
    name: Mapped[str]
    born: Mapped[datetime | None]
    owner_id: Mapped[object] = mapped_column(ForeignKey("owner.id"), nullable=True)
    owner: Mapped[Owner | None] = relationship(back_populates="pets")
    __table_args__ = (unique_among_live("name"),)


@pytest.fixture
def session() -> Iterator[Session]:
    engine = create_engine("sqlite://")
    HostBase.metadata.create_all(engine)
    with Session(engine) as session:
        yield session
    engine.dispose()


def test_keys_and_times_are_made_by_the_client_and_sort_by_age(session: Session) -> None:
    pets = [Pet(name=str(number)) for number in range(5)]
    for pet in pets:
        session.add(pet)
        session.flush()
    assert [pet.id for pet in pets] == sorted(pet.id for pet in pets)
    assert {pet.id.version for pet in pets} == {7}
    session.expire_all()
    assert pets[0].created_at.tzinfo is UTC
    assert abs(utcnow() - pets[0].created_at) < timedelta(minutes=1)


def test_a_change_moves_updated_at_and_version(session: Session) -> None:
    pet = Pet(name="a")
    session.add(pet)
    session.flush()
    created, updated = pet.created_at, pet.updated_at
    pet.name = "b"
    session.flush()
    assert (pet.version, pet.created_at) == (2, created)
    assert pet.updated_at > updated


def test_datetimes_come_back_aware_and_naive_ones_are_refused(session: Session) -> None:
    born = datetime(2024, 3, 1, 1, 30, 0, 7, timezone(timedelta(hours=2)))
    session.add(Pet(name="a", born=born))
    session.flush()
    session.expire_all()
    pet = session.scalars(select(Pet).where(Pet.born == born)).one()
    assert pet.born is not None
    assert (pet.born, pet.born.tzinfo) == (born, UTC)
    session.add(Pet(name="b", born=datetime(2024, 3, 1)))
    with pytest.raises(StatementError, match="naive datetime"):
        session.flush()


def test_deleted_rows_are_hidden_from_queries_and_relationships(session: Session) -> None:
    owner = Owner(pets=[Pet(name="alive"), Pet(name="dead", deleted_at=utcnow())])
    session.add(owner)
    session.commit()
    assert [pet.name for pet in session.scalars(select(Pet))] == ["alive"]
    assert [pet.name for pet in owner.pets] == ["alive"]
    session.expire_all()
    eager = session.scalars(select(Owner).options(selectinload(Owner.pets))).one()
    assert [pet.name for pet in eager.pets] == ["alive"]
    assert [pet.name for pet in session.scalars(select(Pet).join(Owner))] == ["alive"]
    assert len(session.scalars(select(Pet), execution_options={INCLUDE_DELETED: True}).all()) == 2
    session.execute(update(Pet).values(born=utcnow()))
    born = session.scalars(select(Pet.born).order_by(Pet.name), execution_options={INCLUDE_DELETED: True}).all()
    assert [value is None for value in born] == [False, True]


def test_a_deleted_rows_values_are_free_again(session: Session) -> None:
    session.add(Pet(name="a", deleted_at=utcnow()))
    session.add(Pet(name="a"))
    session.flush()
    session.add(Pet(name="a"))
    with pytest.raises(IntegrityError):
        session.flush()


def test_a_server_without_partial_indexes_refuses_them() -> None:
    engine = create_engine("sqlite://")
    index = next(iter(Pet.__table__.indexes))
    with engine.connect() as connection:
        connection.dialect.name = "mysql"
        with pytest.raises(UnsupportedError, match="partial indexes") as caught:
            index.dispatch.before_create(index, connection)
    assert caught.value.remedy
    engine.dispose()


def test_constraints_have_computed_names_and_metadata_says_its_database() -> None:
    assert {constraint.name for constraint in Pet.__table__.constraints} == {"pk_pet", "fk_pet_owner_id_owner"}
    assert new_metadata("garmin").info == {"database": "garmin"}
    assert Base.metadata.info == {"database": "main"}
