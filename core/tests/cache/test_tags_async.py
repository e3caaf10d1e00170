"""Tags given as a lone text are refused: its letters would become the tags."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.cache import CacheValueError
from infra_testing.harness import Harness, Place


async def test_a_lone_text_is_no_list_of_tags(tmp_path: Path) -> None:
    async with await Harness("memory").open_async("cache", Place(tmp_path)) as cache:
        for use in (
            lambda: cache.set("a", 1, tags="users"),
            lambda: cache.get("a", tags="users"),
            lambda: cache.invalidate_tags("users"),
        ):
            with pytest.raises(CacheValueError, match=r"write tags=\['users'\]"):
                await use()
