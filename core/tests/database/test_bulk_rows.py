"""Rows of bulk statements: those that are alike are taken together, and come out as they would one by one."""

from __future__ import annotations

import pytest
from sqlalchemy import String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from infra.database.repository import UNSET
from infra.database.repository.errors import UnknownFieldError
from infra.database.repository.mapping import model_map
from infra.database.repository.rows import RowPlan


class Base(DeclarativeBase):
    pass


class Thing(Base):
    __tablename__ = "thing_of_rows"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column("thing_name", String(20))
    kind: Mapped[str] = mapped_column(String(20))
    size: Mapped[int] = mapped_column(default=7)


class Plain(Base):
    __tablename__ = "plain_of_rows"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))


CASES = {
    "dicts": lambda: [{"id": number, "kind": "a"} for number in range(3)],
    "in another order": lambda: [{"kind": "a", "id": 1}, {"id": 2, "kind": "b"}],
    "other fields": lambda: [{"id": 1, "kind": "a"}, {"id": 2}],
    "as many other fields": lambda: [{"id": 1}, {"kind": "a"}],
    "unset": lambda: [{"id": 1, "kind": "a"}, {"id": 2, "kind": UNSET}],
    "instances": lambda: [Plain(id=number, kind="a") for number in range(3)],
    "both": lambda: [Plain(id=1, kind="a"), {"id": 2, "kind": "b"}],
    "none": list,
}


@pytest.mark.parametrize("case", CASES)
def test_rows_come_out_as_one_by_one(case, monkeypatch):
    plan = model_map(Plain).plan
    together = plan.groups(CASES[case](), "add_many", write_back=True)
    monkeypatch.setattr(RowPlan, "_alike", lambda self, rows: None)
    assert together == plan.groups(CASES[case](), "add_many", write_back=True)


def test_columns_of_other_names_and_defaults_are_filled_in():
    plan = model_map(Thing).plan
    whole = [{"id": number, "name": "n", "kind": "k", "size": 1} for number in range(3)]
    wanted = [{"id": number, "thing_name": "n", "kind": "k", "size": 1} for number in range(3)]
    assert list(plan.groups(whole, "add_many").values()) == [wanted]
    short = [{"id": number, "name": "n", "kind": "k"} for number in range(3)]
    assert list(plan.groups(short, "add_many").values()) == [[{**row, "size": 7} for row in wanted]]


def test_parameters_that_are_ready_are_not_copied():
    given = CASES["dicts"]()
    (rows,) = model_map(Plain).plan.groups(given, "add_many").values()
    assert rows is given


@pytest.mark.parametrize("name", ["colour", "_sa_instance_state"])
def test_unknown_fields_are_refused(name):
    with pytest.raises(UnknownFieldError):
        model_map(Plain).plan.groups([{"id": 1, "kind": "a", name: 1}] * 2, "add_many")
