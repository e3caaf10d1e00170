"""The entry points of plugins, as ``importlib_metadata.entry_points`` finds them.

Every command of every host pays for this, so folders, which are nearly always all there is, are read without importing importlib_metadata
(a fifth of what ``infra providers`` may cost). Archives, eggs, distributions that hide each other and the finders of other programs are
left to it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from importlib import import_module
from importlib.machinery import PathFinder
from typing import Any, NamedTuple, cast


class Point(NamedTuple):
    """An entry point.

    Args:
        name: Its name.
        value: What it names: ``module`` or ``module:attribute``.
        distribution: The distribution that has it.
        version: The distribution's version.
    """

    name: str
    value: str
    distribution: str
    version: str

    @property
    def module(self) -> str:
        """The module that it names."""
        return self.value.partition(":")[0]

    def load(self) -> Any:
        """Import what it names."""
        found: Any = import_module(self.module)
        for attribute in filter(None, self.value.partition(":")[2].split(".")):
            found = getattr(found, attribute)
        return found


def find_points(group: str) -> list[Point]:
    """All entry points of `group`, in no particular order."""
    if any(_is_foreign(finder) for finder in sys.meta_path):
        return list(_ask(group))
    found: list[Point] = []
    ours: dict[str, bool] = {}  # distributions seen, and whether they have such points
    for place in sys.path:
        try:
            names = os.listdir(place or ".")  # noqa: PTH208  (no Path object for each of hundreds)
        except OSError:
            if os.path.isfile(place):  # noqa: PTH113  (an archive)
                return list(_ask(group))
            continue
        for name in names:
            if name.endswith((".dist-info", ".egg-info")):
                text = _text(f"{place or '.'}/{name}", "entry_points.txt")
                distribution, has = _plain(name.partition("-")[0]), group in text
                if ours.get(distribution, False) or (has and distribution in ours):
                    return list(_ask(group))  # one hides the other, or is the remains of it
                ours[distribution] = has
                if has:
                    found += _parse(text, f"{place or '.'}/{name}", group)
            elif name.endswith(".egg") or name == "EGG-INFO":
                return list(_ask(group))
    return found


def _is_foreign(finder: object) -> bool:
    """Whether a finder of another program may know further distributions."""
    module = type(finder).__module__.partition(".")[0]
    return hasattr(finder, "find_distributions") and finder is not PathFinder and module != "importlib_metadata"


def _parse(text: str, folder: str, group: str) -> Iterator[Point]:
    """The points that a distribution's ``entry_points.txt`` names."""
    name, version = _identity(_text(folder, "METADATA") or _text(folder, "PKG-INFO"))
    inside = False
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            inside = line == f"[{group}]"
        elif inside and "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            yield Point(key.strip(), value.partition("[")[0].strip(), name, version)


def _text(folder: str, name: str) -> str:
    try:
        with open(f"{folder}/{name}", encoding="utf-8") as file:  # noqa: PTH123
            return file.read()
    except OSError:
        return ""


def _identity(metadata: str) -> tuple[str, str]:
    """Name and version. Only two lines are looked at: parsing all of it imports the email package, 20 ms."""
    header = dict(line.split(": ", 1) for line in metadata.partition("\n\n")[0].splitlines() if line.startswith(("Name: ", "Version: ")))
    return header.get("Name", ""), header.get("Version", "")


def _plain(name: str) -> str:
    return name.removesuffix(".dist-info").removesuffix(".egg-info").replace("-", "_").replace(".", "_").lower()


def _ask(group: str) -> Iterator[Point]:
    """What importlib_metadata says."""
    from importlib_metadata import entry_points  # pyright: ignore[reportUnknownVariableType]

    for point in cast("Iterable[Any]", entry_points(group=group)):
        distribution = point.dist
        yield Point(point.name, point.value.partition("[")[0].strip(), distribution.name or point.module, distribution.version or "")
