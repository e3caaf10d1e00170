"""Keys that are checked all at once: they must come out as they do one by one."""

from __future__ import annotations

import pytest

from infra.cache.entries import safe, safe_all
from infra.cache.errors import CacheValueError


@pytest.mark.parametrize(
    "keys",
    [[], ["a"], ["a", "b:c"], ["a b"], ["~a", "b"], ["a", "x" * 140], ["a", "x" * 141], ["a", "é"], ["a", "\n"], ["a~b", "c"]],
)
def test_many_are_as_one_by_one(keys):
    assert list(safe_all(keys)) == [safe(key) for key in keys]


def test_an_empty_key_among_many_is_refused():
    with pytest.raises(CacheValueError):
        safe_all(["a", ""])
