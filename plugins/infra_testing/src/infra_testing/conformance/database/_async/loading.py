"""What a repository gives back whole: joined eager loads, and values that the server made."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy.orm import joinedload, selectinload

from infra.database import AsyncRepository, InvalidFilterError, Page
from infra_testing.conformance.database._async.opening import AsyncDatabaseCases
from infra_testing.conformance.database.records import Agent, Book, Shelf, Team

#: Shelves, and the numbers of books on each.
BOOKS = {1: [10, 11, 12], 2: [], 3: [30], 4: [40, 41]}


class AsyncLoadingCases(AsyncDatabaseCases):
    """Rows come once, and can be read at once."""

    async def fill(self, session: Any) -> AsyncRepository[Shelf]:
        """The shelves with their books, and a session that has forgotten them."""
        session.add_all([Shelf(id=number, books=[Book(id=book) for book in books]) for number, books in BOOKS.items()])
        await session.flush()
        session.expunge_all()
        return AsyncRepository[Shelf](session)

    @staticmethod
    def books(shelves: Any) -> dict[int, list[int]]:
        """As `BOOKS`."""
        return {shelf.id: [book.id for book in shelf.books] for shelf in shelves}

    @pytest.mark.parametrize("options", [(), (joinedload(Shelf.books),), (selectinload(Shelf.books),)], ids=["model", "joined", "selectin"])
    async def test_rows_with_an_eager_collection_come_once(self, database: Any, options: Any) -> None:
        async with database.session() as session:
            shelves = await self.fill(session)
            listed = await shelves.list(sort="id", options=options)
            assert [shelf.id for shelf in listed] == [1, 2, 3, 4]
            assert self.books(listed) == BOOKS
            session.expunge_all()
            assert self.books(await shelves.list(sort="-id", limit=2, offset=1, options=options)) == {3: [30], 2: []}
            session.expunge_all()
            first: Page[Shelf] = await shelves.page(3, options=options)
            assert self.books(first.items) == {number: BOOKS[number] for number in (1, 2, 3)}
            assert self.books((await shelves.page(3, after=first.next, options=options)).items) == {4: [40, 41]}
            session.expunge_all()
            assert self.books([await shelves.get(1, options=options)]) == {1: BOOKS[1]}

    @pytest.mark.parametrize("size", [1, 2, 100])
    @pytest.mark.parametrize("options", [(), (joinedload(Shelf.books),), (selectinload(Shelf.books),)], ids=["model", "joined", "selectin"])
    async def test_a_stream_of_rows_with_an_eager_collection(self, database: Any, size: int, options: Any) -> None:
        async with database.session() as session:
            shelves = await self.fill(session)
            found = [shelf async for shelf in shelves.stream(id__gt=0, sort="-id", batch_size=size, options=options)]
            assert [shelf.id for shelf in found] == [4, 3, 2, 1]
            assert self.books(found) == BOOKS

    async def test_a_batch_has_a_row_at_least(self, database: Any) -> None:
        async with database.session() as session:
            for size in (0, -1):
                with pytest.raises(InvalidFilterError):
                    [shelf async for shelf in AsyncRepository[Shelf](session).stream(batch_size=size)]

    async def test_a_joined_row_of_another_side_comes_with_each(self, database: Any) -> None:
        async with database.session() as session:
            agents = AsyncRepository[Agent](session)
            session.add(Team(name="t", agents=[Agent(name="a"), Agent(name="b")]))
            await session.flush()
            session.expunge_all()
            options = [joinedload(Agent.team).joinedload(Team.agents)]
            for rows in (await agents.list(sort="name", options=options), (await agents.page(5, sort="name", options=options)).items):
                assert [(row.name, row.team and len(row.team.agents)) for row in rows] == [("a", 2), ("b", 2)]

    async def test_what_the_server_makes_can_be_read_at_once(self, database: Any) -> None:
        async with database.session() as session:
            shelves = AsyncRepository[Shelf](session)
            shelf = await shelves.add(Shelf(id=1, books=[Book(id=10)]))
            assert (shelf.room, shelf.double_width, shelf.changes, shelf.books[0].language) == ("hall", 2, None, "en")
            changed = await shelves.update(shelf, width=5)
            assert (changed.double_width, changed.changes) == (10, 2)
        async with database.session() as session:
            changed = await AsyncRepository[Shelf](session).update(1, {"width": 7})
            assert (changed.double_width, changed.changes, changed.room) == (14, 2, "hall")
