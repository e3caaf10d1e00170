"""Columns hold what their models say, bulk and single ways store the same, every column that sorts pages, deleted rows stay hidden."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, inspect, select, text
from sqlalchemy.orm import joinedload, selectinload, subqueryload

from infra.database import AsyncRepository, DatabaseFeature, InvalidFilterError, RowNotFoundError, Sort, UniqueError
from infra.database.models import INCLUDE_DELETED
from infra_testing.conformance.database._async.opening import AsyncDatabaseCases
from infra_testing.conformance.database.columns import Level, Lorry, Odd, Remark, Sample, Small, Topic, Vehicle

DAY = datetime(2024, 2, 29, 1, 2, 3)
#: Values of one column each, with ties and without a value.
SORTED: dict[str, list[Any]] = {
    "exact": [Decimal("0.1"), Decimal("-2.5"), Decimal(7)],
    "price": [Decimal("19.99"), Decimal("5.00"), Decimal("100.10")],
    "wide": [Decimal("123456789012345678901234567.123"), Decimal("123456789012345678901234567.124"), Decimal(9), Decimal(10)],
    "real": [0.1, 1 / 3, -1e30, 16777216.0],
    "double": [0.1, 1 / 3, -0.0, 0.0, 1e300],
    "at": [time(1, 2, 3, 4), time(1, 2, 3), time(23, 59, 59, 999999)],
    "span": [timedelta(microseconds=1), timedelta(days=40), timedelta(hours=-3, microseconds=5)],
    "naive": [DAY, DAY.replace(microsecond=1), DAY.replace(year=1996)],
    "day": [date(2024, 2, 29), date(1970, 1, 1)],
    "flag": [True, False],
    "token": [UUID(int=1), UUID(int=2**127)],
    "level": [Level.LOW, Level.HIGH, Level.A_BIT],
    "text": ["a", "B", "ä", "b c", ""],
    "raw": [b"a", b"\xff\x00", b""],
}


class AsyncColumnCases(AsyncDatabaseCases):
    """What columns hold."""

    @pytest.mark.parametrize(
        "values",
        [
            {"exact": Decimal("19.99")},
            {"price": Decimal("12345678.91")},
            {"wide": Decimal("123456789012345678901234567.123")},
            {"double": 0.12345678901234567},
            {"at": time(1, 2, 3, 456789)},
            {"span": timedelta(seconds=1, microseconds=500001)},
            {"span": timedelta(days=-3, microseconds=1)},
            {"naive": DAY.replace(microsecond=123456)},
            {"day": date(1, 1, 1)},
            {"token": UUID(int=2**128 - 1)},
            {"level": Level.A_BIT},
            {"flag": False},
            {"text": "ü" * 70_000},
            {"long": "x" * 70_000},
            {"raw": b"\x00\xff" * 40_000},
            {"document": {"a": None}},
        ],
        ids=lambda values: "-".join(values),
    )
    async def test_a_column_holds_what_its_model_says(self, database: Any, values: dict[str, Any]) -> None:
        ((name, value),) = values.items()
        async with database.session() as session:
            samples = AsyncRepository[Sample](session)
            assert (await samples.add(Sample(**values))).id > 0
            await samples.add_many([values, values])
        async with database.session() as session:
            rows = await AsyncRepository[Sample](session).list()
            assert [getattr(row, name) for row in rows] == [value] * 3
            assert len({row.id for row in rows}) == 3

    async def test_decimals_compare_as_numbers_and_keep_every_digit(self, database: Any) -> None:
        large = Decimal("123456789012345678901234567.123")
        near = Decimal("123456789012345678901234567.124")
        async with database.session() as session:
            samples = AsyncRepository[Sample](session)
            await samples.add_many([{"wide": value} for value in (near, Decimal("9.5"), large, Decimal(-10), Decimal("10.10"))])
            for asked, count in {"wide": 1, "wide__lte": 4, "wide__gt": 1}.items():
                assert await samples.count(**{asked: large}) == count, asked
            assert await samples.count(wide=Decimal("10.1")) == await samples.count(wide__in=[Decimal("10.1"), 11]) == 1
            assert await samples.count(wide__gte=10) == 3
            assert [row.wide for row in await samples.list(sort="-wide")] == [near, large, Decimal("10.1"), Decimal("9.5"), -10]
            for wanted in (Sample.wide * 2 > 19, func.coalesce(Sample.wide, 0) > Decimal("9.50"), Sample.wide - 1 > Decimal("8.5")):
                assert await session.scalar(select(func.count()).where(wanted)) in (3, 4)
            extremes = (await session.execute(select(func.min(Sample.wide), func.max(Sample.wide)))).one()
            assert tuple(extremes) == (Decimal(-10), near)
            grouped = select(func.sum(Sample.wide)).group_by(Sample.flag).having(func.sum(Sample.wide) > 5)
            assert len((await session.execute(grouped)).all()) == 1

    async def test_small_keys_count_and_text_without_a_length_is_unique(self, database: Any) -> None:
        async with database.session() as session:
            first, second = [(await AsyncRepository[Small](session).add(Small(name=name))).id for name in "ab"]
            assert second == first + 1
        with pytest.raises(UniqueError):
            async with database.session() as session:
                await AsyncRepository[Small](session).add(Small(name="a"))

    async def test_none_in_json_is_null_whichever_way_it_came(self, database: Any) -> None:
        async with database.session() as session:
            samples = AsyncRepository[Sample](session)
            await samples.add(Sample(id=1, document=None))
            await samples.add_many([{"id": 2, "document": None}])
            await samples.upsert_many([{"id": 3, "document": None}])
            await samples.update(await samples.add(Sample(id=4, document={"a": 1})), document=None)
            await samples.add(Sample(id=5, document={"a": 1}))
            assert await samples.count(document=None) == await samples.count(document__is_null=True) == 4
            assert await samples.count(document__in=[None]) == 4
            assert await samples.count(document__ne=None) == await samples.count(document__is_null=False) == 1
            counted = await session.scalar(text("SELECT count(*) FROM suite_sample WHERE document IS NULL"))
            assert counted == 4

    async def test_every_operator_compares_text_alike(self, database: Any) -> None:
        sensitive = database.supports(DatabaseFeature.CASE_SENSITIVE)
        every = {"Éa", "éa", "ÉA", "ea"}
        async with database.session() as session:
            samples = AsyncRepository[Sample](session)
            await samples.add_many([{"text": value} for value in sorted(every)])
            for operator, value in {"eq": "éa", "in": ["éa"], "contains": "éa", "startswith": "éa", "endswith": "éa"}.items():
                found = {row.text for row in await samples.list(**{f"text__{operator}": value})}
                assert found == ({"éa"} if sensitive else every), operator
            assert await samples.count(text__ne="éa") == (3 if sensitive else 0)
            await AsyncRepository[Small](session).add(Small(name="éa"))
            if sensitive:
                await AsyncRepository[Small](session).add(Small(name="ÉA"))
                return
            with pytest.raises(UniqueError):
                async with session.begin_nested():
                    await AsyncRepository[Small](session).add(Small(name="ÉA"))

    @pytest.mark.parametrize(
        ("value", "stored"),
        [("ärger", "ÄRGER"), ("ΟΔΟΣ", "οδος"), ("οδοσ", "ΟΔΟΣ"), ("a/%É_", "A/%é_")],
    )
    async def test_operators_without_case_know_unicode(self, database: Any, value: str, stored: str) -> None:
        async with database.session() as session:
            samples = AsyncRepository[Sample](session)
            await samples.add_many([{"text": stored}, {"text": f"x{stored}x"}, {"text": "other"}])
            assert [await samples.count(**{f"text__i{name}": value}) for name in ("exact", "startswith", "endswith", "contains")] == [
                1,
                1,
                1,
                2,
            ]

    @pytest.mark.parametrize("count", [3, 600])
    async def test_bulk_and_single_ways_store_the_same(self, database: Any, count: int) -> None:
        def fields(number: int) -> dict[str, Any]:
            return {"id": number, "loud": "quiet", "select": 1, "colon": None}

        async with database.session() as session:
            odds = AsyncRepository[Odd](session)
            await odds.add(Odd(**fields(1)))
            await odds.add(Odd(**fields(2), state=None))
            await odds.add_many([{**fields(10 + number), "percent": number} for number in range(count)])
            await odds.add_many([Odd(**fields(1000 + number), state=None) for number in range(count)])
            await odds.upsert_many([fields(2000), fields(2001)])
        async with database.session() as session:
            odds = AsyncRepository[Odd](session)
            rows = await odds.list()
            assert sorted(row.percent for row in rows if row.percent is not None) == list(range(count))
            assert {(row.loud, row.select, row.colon, row.state, row.twice == row.id * 2, row.changed) for row in rows} == {
                ("QUIET", 1, None, "new", True, None)
            }
            await odds.upsert_many([{**fields(1), "select": 2}, {**fields(2), "select": 2}])
            await odds.upsert_many([{**fields(10), "changed": 5}])
            await odds.update(2000, colon=4)
            session.expunge_all()
            assert [(row.id, row.select, row.changed) for row in await odds.list(changed__ne=None, sort="id")] == [
                (1, 2, 7),
                (2, 2, 7),
                (10, 1, 5),
                (2000, 1, 7),
            ]

    async def test_rows_that_span_tables_go_in_and_out_whole(self, database: Any) -> None:
        async with database.session() as session:
            lorries = AsyncRepository[Lorry](session)
            await lorries.add(Lorry())
            assert await lorries.add_many([{"tons": 9}, {}]) + await lorries.add_many([Lorry(tons=9)]) == 3
            assert sorted([(row.kind, row.tons) for row in await lorries.list()]) == [("lorry", 3)] * 2 + [("lorry", 9)] * 2
            assert await lorries.delete_where(tons=9) == 2
            assert await AsyncRepository[Vehicle](session).count() == await lorries.count() == 2

    @pytest.mark.parametrize("field", [*SORTED, "made"])
    async def test_pages_by_every_column_end_and_repeat_nothing(self, database: Any, field: str) -> None:
        values = [None, *SORTED[field]] if field in SORTED else []
        async with database.session() as session:
            samples = AsyncRepository[Sample](session)
            rows = [{"id": number, **({field: values[number % len(values)]} if values else {})} for number in range(1, 24)]
            await samples.add_many(rows)
            sorts: list[Any] = [field, f"-{field}", [field, "-id"], [f"-{field}", "id"]]
            if values:
                sorts += [Sort(field, nulls="first"), [Sort(field, descending=True, nulls="first"), "flag", "-day"]]
            for sort in sorts:
                seen: list[int] = []
                after: str | None = None
                for _ in range(len(rows)):
                    page = await samples.page(3, sort=sort, after=after)
                    seen += [row.id for row in page]
                    after = page.next
                    if after is None:
                        break
                assert seen == [row.id for row in await samples.list(sort=sort)], sort
                assert sorted(seen) == [row["id"] for row in rows], sort

    async def test_json_is_no_sort_key(self, database: Any) -> None:
        async with database.session() as session:
            with pytest.raises(InvalidFilterError, match="no order") as caught:
                await AsyncRepository[Sample](session).page(3, sort="document")
            assert caught.value.remedy

    async def test_deleted_rows_are_hidden_on_every_road(self, database: Any) -> None:
        async with database.session() as session:
            await AsyncRepository[Topic](session).add(Topic(id=1, remarks=[Remark(id=1), Remark(id=2)]))
            await AsyncRepository[Topic](session).add(Topic(id=2, remarks=[Remark(id=3)]))
            remarks = AsyncRepository[Remark](session)
            await remarks.delete(1)
            await AsyncRepository[Topic](session).delete(2)
            assert await session.get(Remark, 1) is None
        async with database.session() as session:
            for load in (selectinload, joinedload, subqueryload):
                session.expunge_all()
                topics = (await session.scalars(select(Topic).options(load(Topic.remarks)))).unique().all()
                assert [[remark.id for remark in topic.remarks] for topic in topics] == [[2]], load.__name__
                remark = (await session.scalars(select(Remark).where(Remark.id == 3).options(load(Remark.topic)))).one()
                assert remark.topic is None, load.__name__
            joined = select(Topic.id, Remark.id).join(Topic.remarks)
            assert [tuple(row) for row in await session.execute(joined)] == [(1, 2)]
            outer = select(Remark.id, Topic.id).outerjoin(Remark.topic).order_by(Remark.id)
            assert [tuple(row) for row in await session.execute(outer)] == [(2, 1), (3, None)]
            assert (await session.scalars(select(Topic.id).where(Topic.remarks.any(Remark.id == 1)))).all() == []
            assert await session.scalar(select(func.count()).select_from(Remark)) == 2
            shown = select(Topic).options(selectinload(Topic.remarks)).order_by(Topic.id)
            topics = (await session.scalars(shown, execution_options={INCLUDE_DELETED: True, "populate_existing": True})).all()
            assert [[remark.id for remark in topic.remarks] for topic in topics] == [[1, 2], [3]]

    async def test_deleted_rows_can_be_asked_for_and_restored(self, database: Any) -> None:
        async with database.session() as session:
            await AsyncRepository[Topic](session).add(Topic(id=1, remarks=[Remark(id=1), Remark(id=2)]))
            await AsyncRepository[Remark](session).delete(1)
        async with database.session() as session:
            remarks = AsyncRepository[Remark](session)
            assert [row.id for row in await remarks.list(include_deleted=True, sort="id")] == [1, 2]
            assert (await remarks.count(), await remarks.count(include_deleted=True)) == (1, 2)
            assert (await remarks.exists(id=1), await remarks.exists(id=1, include_deleted=True)) == (False, True)
            page = await remarks.page(1, include_deleted=True)
            assert [row.id for row in await remarks.page(1, after=page.next, include_deleted=True)] == [2]
            assert [row.id async for row in remarks.stream(sort="id", include_deleted=True)] == [1, 2]
            assert (await remarks.get(1, include_deleted=True)).deleted_at is not None
            assert await remarks.get_or_none(1) is None
            assert (await remarks.restore(1)).deleted_at is None
            assert await remarks.count() == 2
            with pytest.raises(RowNotFoundError):
                await remarks.restore(9)
            with pytest.raises(InvalidFilterError):
                await AsyncRepository[Small](session).restore(1)

    async def test_the_schema_is_what_the_models_say(self, database: Any) -> None:
        def differences(connection: Any) -> list[Any]:
            from alembic.autogenerate import compare_metadata
            from alembic.runtime.migration import MigrationContext

            from infra.database.migrations.types import differs

            metadata = Sample.metadata
            ours = {table.name for table in metadata.tables.values()}
            assert ours <= set(inspect(connection).get_table_names())
            context = MigrationContext.configure(connection, opts={"compare_type": differs})
            return compare_metadata(context, metadata)

        async with database.engine.connect() as connection:
            # async-only: begin
            found = await connection.run_sync(differences)
            # async-only: end
            # sync-only: found = differences(connection)
        assert found == []
