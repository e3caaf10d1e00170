# Generated from paging.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""Case 17: pages by key, while rows come and go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from infra.database import InvalidCursorError, InvalidFilterError, Repository, Sort
from infra_testing.conformance.database._sync.opening import DatabaseCases
from infra_testing.conformance.database.records import Colour, Entry

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)


def entry(number: int) -> dict[str, Any]:
    """A row with ties, and with NULLs in a fifth of them."""
    return {
        "id": number,
        "rank": None if number % 5 == 0 else number % 37,
        "score": number % 11,
        "at": None if number % 3 == 0 else NOON + timedelta(microseconds=number % 13),
        "colour": Colour.BLUE if number % 2 else Colour.RED,
    }


class PagingCases(DatabaseCases):
    """Keyset paging."""

    @pytest.mark.parametrize(
        ("sort", "rows"),
        [
            (["score", "-rank", "at"], 10_000),
            (None, 2_000),
            ("rank", 2_000),
            ("-rank", 2_000),
            ([Sort("rank", nulls="first"), "-score"], 2_000),
            ([Sort("rank", descending=True, nulls="first")], 2_000),
            (["-score"], 2_000),
        ],
        ids=str,
    )
    def test_untouched_rows_are_seen_once_while_others_come_and_go(self, database: Any, sort: Any, rows: int) -> None:
        with database.session() as session:
            Repository[Entry](session).add_many(entry(number * 2) for number in range(rows))
        untouched = {number * 2 for number in range(rows) if number % 10}
        seen: list[int] = []
        cursor: str | None = None
        turn = 0
        while True:
            with database.session() as session:
                entries = Repository[Entry](session)
                page = entries.page(rows // 10 - 23, after=cursor, sort=sort)
                seen += [row.id for row in page]
                # Deletes rows before and behind the cursor, the row that it stands for among them, and inserts new ones everywhere.
                entries.delete_where(Entry.id.in_([row.id for row in page if row.id not in untouched]))
                entries.delete_where(id=turn * 1_000 // 20 * 20)
                entries.add_many(entry(number * 2 + 1) for number in range(turn * 50, turn * 50 + 50))
            cursor, turn = page.next, turn + 1
            if cursor is None:
                break
        old = [number for number in seen if number in untouched]
        assert len(old) == len(untouched)
        assert set(old) == untouched
        assert len(seen) == len(set(seen))

    def test_the_order_is_the_same_as_of_one_long_list(self, database: Any) -> None:
        with database.session() as session:
            entries = Repository[Entry](session)
            entries.add_many(entry(number) for number in range(300))
            for nulls in ("first", "last"):
                for descending in (False, True):
                    sort = [Sort("rank", descending, nulls), Sort("at", not descending, nulls), "colour"]
                    ids = [row.id for row in entries.list(sort=sort)]
                    assert ids == [row.id for row in self.pages(entries, 17, sort=sort)]
                    ranks = [row.rank for row in entries.list(sort=sort)]
                    known = [rank for rank in ranks if rank is not None]
                    empty = [None] * (len(ranks) - len(known))
                    assert known == sorted(known, reverse=descending)
                    assert ranks == (empty + known if nulls == "first" else known + empty)

    def test_filters_hold_on_every_page(self, database: Any) -> None:
        with database.session() as session:
            entries = Repository[Entry](session)
            entries.add_many(entry(number) for number in range(300))
            rows = self.pages(entries, 7, Entry.id > 50, sort="-score", rank=None, colour=Colour.BLUE)
            assert sorted(row.id for row in rows) == [number for number in range(51, 300) if number % 5 == 0 and number % 2]

    def test_the_last_page_has_no_cursor(self, database: Any) -> None:
        with database.session() as session:
            entries = Repository[Entry](session)
            assert (entries.page(10)).next is None
            entries.add_many(entry(number) for number in range(10))
            page = entries.page(10)
            assert (len(page), page.next) == (10, None)
            with pytest.raises(InvalidFilterError):
                entries.page(0)

    def test_a_cursor_serves_only_the_query_that_made_it(self, database: Any, opened: Any) -> None:
        with database.session() as session:
            entries = Repository[Entry](session)
            entries.add_many(entry(number) for number in range(50))
            cursor = (entries.page(10, Entry.id > 3, sort="score", colour=Colour.RED)).next
            assert cursor is not None
            entries.page(20, Entry.id > 3, after=cursor, sort="score", colour=Colour.RED)
            altered = cursor[:-2] + ("AA" if not cursor.endswith("AA") else "BB")
            others: list[tuple[Any, str, str, dict[str, Any]]] = [
                ((Entry.id > 3,), altered, "score", {"colour": Colour.RED}),
                ((Entry.id > 3,), "", "score", {"colour": Colour.RED}),
                ((Entry.id > 3,), "no cursor ü", "score", {"colour": Colour.RED}),
                ((Entry.id > 4,), cursor, "score", {"colour": Colour.RED}),
                ((), cursor, "score", {"colour": Colour.RED}),
                ((Entry.id > 3,), cursor, "-score", {"colour": Colour.RED}),
                ((Entry.id > 3,), cursor, "score", {"colour": Colour.BLUE}),
                ((Entry.id > 3,), cursor, "score", {}),
            ]
            for where, after, sort, filters in others:
                with pytest.raises(InvalidCursorError) as caught:
                    entries.page(10, *where, after=after, sort=sort, **filters)
                assert caught.value.remedy
        other = opened("main", cursor_key="another key of another host")
        with other.session() as session:
            with pytest.raises(InvalidCursorError):
                Repository[Entry](session).page(10, Entry.id > 3, after=cursor, sort="score", colour=Colour.RED)

    def pages(self, entries: Any, limit: int, *where: Any, **query: Any) -> list[Any]:
        """All rows, page by page."""
        rows: list[Any] = []
        page = entries.page(limit, *where, **query)
        while True:
            rows += page.items
            if page.next is None:
                return rows
            page = entries.page(limit, *where, after=page.next, **query)
