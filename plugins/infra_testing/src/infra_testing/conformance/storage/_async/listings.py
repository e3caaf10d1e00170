"""Listings: pages, prefixes, delimiters, and changes meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from infra_testing.conformance.storage._async.basis import AsyncStorageCases

KEYS = ("a", "b-1", "b.txt", "b/1", "b/10", "b/2", "b/c/1", "b/c/2", "b0", "c/x/y/z", "c/x/z", "d")


async def keys_of(listing: Any) -> list[str]:
    """The keys of a listing."""
    return [info.key async for info in listing]


class AsyncListingCases(AsyncStorageCases):
    """Cases 17 to 19."""

    async def filled(self, opened: Any) -> Any:
        """A bucket with KEYS."""
        bucket = await opened()
        for number, key in enumerate(KEYS):
            await bucket.put(key, b"x" * number)
        return bucket

    @pytest.mark.parametrize("size", [1, 2, 3, len(KEYS) - 1, len(KEYS), len(KEYS) + 1, 5000])
    async def test_pages_of_any_size_give_the_same(self, opened: Any, size: int) -> None:
        """Case 17."""
        bucket = await self.filled(opened)
        pages = [page async for page in bucket.list(page_size=size).pages()]
        assert [info.key for page in pages for info in page.objects] == sorted(KEYS)
        assert all(len(page.objects) <= size for page in pages)
        assert [info.size for page in pages for info in page.objects] == list(range(len(KEYS)))
        assert pages[-1].token is None
        for page in pages[:-1]:
            assert page.token

    async def test_an_entry_has_what_head_says(self, opened: Any) -> None:
        bucket = await self.filled(opened)
        async for info in bucket.list():
            full = await bucket.head(info.key)
            assert (info.key, info.size, info.etag) == (full.key, full.size, full.etag)
            assert abs((info.modified - full.modified).total_seconds()) <= 1
            assert not info.foreign

    async def test_an_empty_listing_is_one_empty_page(self, opened: Any) -> None:
        """Case 17."""
        bucket = await self.filled(opened)
        for prefix in ("zz", "a/", "b/c/1/", "no/such/folder/", "b/c/11"):
            pages = [page async for page in bucket.list(prefix).pages()]
            assert [(page.objects, page.prefixes, page.token) for page in pages] == [((), (), None)]

    async def test_a_token_continues_elsewhere(self, opened: Any) -> None:
        """Case 17."""
        bucket = await self.filled(opened)
        page = await bucket.list(page_size=5).page()
        again = await opened()
        rest = await keys_of(again.list(token=page.token))
        assert [info.key for info in page.objects] + rest == sorted(KEYS)

    @pytest.mark.parametrize("prefix", ["", "a", "b", "b/", "b/1", "b/c", "b/c/", "c/x/", "c/x/y/z", "d"])
    async def test_a_prefix_may_end_anywhere(self, opened: Any, prefix: str) -> None:
        """Case 19."""
        bucket = await self.filled(opened)
        expected = [key for key in sorted(KEYS) if key.startswith(prefix)]
        for size in (1, 2, 100):
            assert await keys_of(bucket.list(prefix, page_size=size)) == expected

    @pytest.mark.parametrize("delimiter", ["/", "-", "/x/", "1"])
    @pytest.mark.parametrize("prefix", ["", "b", "b/", "c/", "c/x", "nothing"])
    async def test_a_delimiter_rolls_up_what_comes_after_it(self, opened: Any, prefix: str, delimiter: str) -> None:
        """Case 19."""
        bucket = await self.filled(opened)
        objects: list[str] = []
        prefixes: list[str] = []
        for key in sorted(KEYS):
            if key.startswith(prefix):
                end = key.find(delimiter, len(prefix))
                if end < 0:
                    objects.append(key)
                elif key[: end + len(delimiter)] not in prefixes:
                    prefixes.append(key[: end + len(delimiter)])
        for size in (1, 2, 3, 100):
            pages = [page async for page in bucket.list(prefix, delimiter=delimiter, page_size=size).pages()]
            assert [info.key for page in pages for info in page.objects] == objects
            assert [found for page in pages for found in page.prefixes] == prefixes
            assert all(len(page.objects) + len(page.prefixes) <= size for page in pages)

    @pytest.mark.parametrize("delimiter", [None, "/"])
    async def test_changes_meanwhile_neither_hide_nor_repeat_the_rest(self, opened: Any, delimiter: str | None) -> None:
        """Case 18."""
        bucket = await opened()
        staying = [f"{letter}/{number:02}" if number % 2 else f"{letter}-{number:02}" for letter in "bdf" for number in range(8)]
        going = [f"{letter}/x{number}" for letter in "bdf" for number in range(4)] + ["c", "e"]
        for key in staying + going:
            await bucket.put(key, b"x")
        seen: list[str] = []
        step = 0
        async for page in bucket.list(delimiter=delimiter, page_size=5).pages():
            seen += [info.key for info in page.objects]
            seen += page.prefixes
            if going:
                await bucket.delete(going.pop())
                await bucket.delete(going.pop(0))
            for letter in "adz":
                await bucket.put(f"{letter}/new-{step}" if step % 2 else f"{letter}-new-{step}", b"x")
            step += 1
            assert step < 200
        assert len(seen) == len(set(seen))
        assert seen == sorted(seen) or delimiter is not None
        expected = {key if delimiter is None or "/" not in key else key[:2] for key in staying}
        assert expected <= set(seen)

    async def test_listings_refuse_nonsense(self, opened: Any) -> None:
        bucket = await opened()
        for wrong in ({"page_size": 0}, {"delimiter": ""}):
            with pytest.raises(ValueError, match="page_size"):
                bucket.list(**wrong)
