"""Value types of repositories."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, Generic, Literal, TypeVar

Item = TypeVar("Item")


class Unset(Enum):
    """The type of `UNSET`."""

    UNSET = "UNSET"

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "UNSET"


#: Leaves a filter or a field out, where None would mean NULL: ``list(owner_id=owner_id if owner_id else UNSET)``.
UNSET: Final = Unset.UNSET


@dataclass(frozen=True, slots=True)
class Sort:
    """One sort key. The strings ``"name"`` and ``"-name"`` stand for `Sort("name")` and `Sort("name", descending=True)`.

    Args:
        field: The field's name.
        descending: From the greatest to the least.
        nulls: Where rows without a value stand, the same on every server and in both directions.
    """

    field: str
    descending: bool = False
    nulls: Literal["first", "last"] = "last"


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """One page of a longer result.

    Args:
        items: The rows, in order.
        next: The cursor of the page after this one; None on the last page.
    """

    items: Sequence[Item]
    next: str | None = None

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)
