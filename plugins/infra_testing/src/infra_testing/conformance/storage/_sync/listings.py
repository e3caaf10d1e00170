# Generated from listings.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""Listings: pages, prefixes, delimiters, and changes meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from infra_testing.conformance.storage._sync.basis import StorageCases

KEYS = ("a", "b-1", "b.txt", "b/1", "b/10", "b/2", "b/c/1", "b/c/2", "b0", "c/x/y/z", "c/x/z", "d")


def keys_of(listing: Any) -> list[str]:
    """The keys of a listing."""
    return [info.key for info in listing]


class ListingCases(StorageCases):
    """Cases 17 to 19."""

    def filled(self, opened: Any) -> Any:
        """A bucket with KEYS."""
        bucket = opened()
        for number, key in enumerate(KEYS):
            bucket.put(key, b"x" * number)
        return bucket

    @pytest.mark.parametrize("size", [1, 2, 3, len(KEYS) - 1, len(KEYS), len(KEYS) + 1, 5000])
    def test_pages_of_any_size_give_the_same(self, opened: Any, size: int) -> None:
        """Case 17."""
        bucket = self.filled(opened)
        pages = [page for page in bucket.list(page_size=size).pages()]
        assert [info.key for page in pages for info in page.objects] == sorted(KEYS)
        assert all(len(page.objects) <= size for page in pages)
        assert [info.size for page in pages for info in page.objects] == list(range(len(KEYS)))
        assert pages[-1].token is None
        for page in pages[:-1]:
            assert page.token

    def test_an_entry_has_what_head_says(self, opened: Any) -> None:
        bucket = self.filled(opened)
        for info in bucket.list():
            full = bucket.head(info.key)
            assert (info.key, info.size, info.etag) == (full.key, full.size, full.etag)
            assert abs((info.modified - full.modified).total_seconds()) <= 1
            assert not info.foreign

    def test_an_empty_listing_is_one_empty_page(self, opened: Any) -> None:
        """Case 17."""
        bucket = self.filled(opened)
        for prefix in ("zz", "a/", "b/c/1/", "no/such/folder/", "b/c/11"):
            pages = [page for page in bucket.list(prefix).pages()]
            assert [(page.objects, page.prefixes, page.token) for page in pages] == [((), (), None)]

    def test_a_token_continues_elsewhere(self, opened: Any) -> None:
        """Case 17."""
        bucket = self.filled(opened)
        page = bucket.list(page_size=5).page()
        again = opened()
        rest = keys_of(again.list(token=page.token))
        assert [info.key for info in page.objects] + rest == sorted(KEYS)

    @pytest.mark.parametrize("prefix", ["", "a", "b", "b/", "b/1", "b/c", "b/c/", "c/x/", "c/x/y/z", "d"])
    def test_a_prefix_may_end_anywhere(self, opened: Any, prefix: str) -> None:
        """Case 19."""
        bucket = self.filled(opened)
        expected = [key for key in sorted(KEYS) if key.startswith(prefix)]
        for size in (1, 2, 100):
            assert keys_of(bucket.list(prefix, page_size=size)) == expected

    @pytest.mark.parametrize("delimiter", ["/", "-", "/x/", "1"])
    @pytest.mark.parametrize("prefix", ["", "b", "b/", "c/", "c/x", "nothing"])
    def test_a_delimiter_rolls_up_what_comes_after_it(self, opened: Any, prefix: str, delimiter: str) -> None:
        """Case 19."""
        bucket = self.filled(opened)
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
            pages = [page for page in bucket.list(prefix, delimiter=delimiter, page_size=size).pages()]
            assert [info.key for page in pages for info in page.objects] == objects
            assert [found for page in pages for found in page.prefixes] == prefixes
            assert all(len(page.objects) + len(page.prefixes) <= size for page in pages)

    @pytest.mark.parametrize("delimiter", [None, "/"])
    def test_changes_meanwhile_neither_hide_nor_repeat_the_rest(self, opened: Any, delimiter: str | None) -> None:
        """Case 18."""
        bucket = opened()
        staying = [f"{letter}/{number:02}" if number % 2 else f"{letter}-{number:02}" for letter in "bdf" for number in range(8)]
        going = [f"{letter}/x{number}" for letter in "bdf" for number in range(4)] + ["c", "e"]
        for key in staying + going:
            bucket.put(key, b"x")
        seen: list[str] = []
        step = 0
        for page in bucket.list(delimiter=delimiter, page_size=5).pages():
            seen += [info.key for info in page.objects]
            seen += page.prefixes
            if going:
                bucket.delete(going.pop())
                bucket.delete(going.pop(0))
            for letter in "adz":
                bucket.put(f"{letter}/new-{step}" if step % 2 else f"{letter}-new-{step}", b"x")
            step += 1
            assert step < 200
        assert len(seen) == len(set(seen))
        assert seen == sorted(seen) or delimiter is not None
        expected = {key if delimiter is None or "/" not in key else key[:2] for key in staying}
        assert expected <= set(seen)

    def test_listings_refuse_nonsense(self, opened: Any) -> None:
        bucket = opened()
        for wrong in ({"page_size": 0}, {"delimiter": ""}):
            with pytest.raises(ValueError, match="page_size"):
                bucket.list(**wrong)
