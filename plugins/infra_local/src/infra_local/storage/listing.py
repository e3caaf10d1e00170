"""Pages from keys in order."""

from __future__ import annotations

from collections.abc import Iterator

from infra.storage.model import ObjectInfo, Page


def page_of(found: Iterator[ObjectInfo | str], limit: int) -> Page:
    """The first `limit` of what was found, objects and prefixes; the token is the last of them."""
    objects: list[ObjectInfo] = []
    prefixes: list[str] = []
    last: str | None = None
    for entry in found:
        if len(objects) + len(prefixes) == limit:
            return Page(tuple(objects), tuple(prefixes), last)
        if isinstance(entry, str):
            prefixes.append(entry)
            last = entry
        else:
            objects.append(entry)
            last = entry.key
    return Page(tuple(objects), tuple(prefixes), None)


def rolled_up(found: Iterator[ObjectInfo], prefix: str, delimiter: str, token: str | None) -> Iterator[ObjectInfo | str]:
    """What was found, in the order of keys, with those that have the delimiter after the prefix rolled up into one entry."""
    last = token
    for info in found:
        end = info.key.find(delimiter, len(prefix))
        if end < 0:
            yield info
        elif (group := info.key[: end + len(delimiter)]) != last:
            last = group
            yield group
