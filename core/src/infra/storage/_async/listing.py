"""Listings."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from typing import TYPE_CHECKING

from infra.runtime.aio import within
from infra.storage.model import ObjectInfo, Page
from infra.storage.rules import key_problem

if TYPE_CHECKING:
    from infra.storage._async.bucket import AsyncBucket


class AsyncListing:
    """The objects whose keys begin with a prefix, in the order of their keys; asked for page by page, as they are iterated.

    ``async for info in listing`` gives the objects; ``async for page in listing.pages()`` gives pages, with the prefixes that a delimiter
    rolled up. A key that breaks the key rules, which another program must have put there, comes with ``foreign=True``.
    """

    def __init__(self, bucket: AsyncBucket, prefix: str, delimiter: str | None, token: str | None, page_size: int) -> None:
        self._bucket = bucket
        self._prefix = prefix
        self._delimiter = delimiter
        self._token = token
        self._page_size = page_size

    def __aiter__(self) -> AsyncIterator[ObjectInfo]:
        return self._objects()

    async def _objects(self) -> AsyncGenerator[ObjectInfo]:
        async for page in self.pages():
            # async-only: begin
            for info in page.objects:
                yield info
            # async-only: end
            # sync-only: yield from page.objects

    async def pages(self) -> AsyncGenerator[Page]:
        """The pages, from the token on that the listing was given; at least one."""
        token = self._token
        while True:
            page = await self._page(token)
            yield page
            token = page.token
            if token is None:
                return

    async def page(self) -> Page:
        """The first page only; its token continues in another listing, perhaps of another process."""
        return await self._page(self._token)

    async def _page(self, token: str | None) -> Page:
        bucket = self._bucket
        bucket.check()
        timeout = bucket.settings.timeout
        prefix = bucket.full_prefix(self._prefix)
        limit = min(self._page_size, bucket.driver.limits.page_size)
        try:
            page = await within(timeout, bucket.driver.list_page, prefix, self._delimiter, token, limit, timeout)
        except Exception as error:
            raise bucket.error(error, "list", prefix=self._prefix) from error
        return Page(tuple(self._flagged(bucket.own(info)) for info in page.objects), tuple(map(bucket.own_key, page.prefixes)), page.token)

    @staticmethod
    def _flagged(info: ObjectInfo) -> ObjectInfo:
        return info if key_problem(info.key) is None else replace(info, foreign=True)
