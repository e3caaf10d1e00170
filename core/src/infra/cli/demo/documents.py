"""Which documents the demo summarises."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from infra.errors import ConfigurationError

_LARGEST = 1024 * 1024
_OURS = ("README.md", "docs/**/*.md", "core/README.md", "plugins/*/README.md", "examples/**/*.md")


@dataclass(frozen=True, slots=True)
class Source:
    """A document to upload.

    Args:
        name: Its name below the folder that was given.
        content: Its bytes, UTF-8.
    """

    name: str
    content: bytes


def collect(path: Path | None, limit: int | None) -> tuple[str, list[Source]]:
    """Where they come from, in words, and the documents, ordered by name.

    Args:
        path: A file or folder; this project's own documentation when not given.
        limit: The most documents.

    Raises:
        ConfigurationError: There is no such place, or no text in it.
    """
    if path is None:
        place, found = _own()
    elif path.is_dir():
        place, found = str(path.resolve()), _below(path, sorted(path.rglob("*")))
    elif path.is_file():
        place, found = str(path.resolve()), _below(path.parent, [path])
    else:
        raise ConfigurationError(f"there is no file or folder {path}", remedy="name one with text documents")
    documents = [source for _, source in zip(range(limit) if limit else iter(int, 1), found, strict=False)]
    if not documents:
        raise ConfigurationError(f"{place} has no text documents", remedy="name a folder with .md, .txt or other UTF-8 files")
    return place, documents


def _own() -> tuple[str, Iterator[Source]]:
    """The documentation of the checkout that this runs from, else what the installed distributions say of themselves."""
    checkout = Path(__file__).resolve().parents[5]
    if (checkout / "core" / "pyproject.toml").is_file():
        paths = dict.fromkeys(path for pattern in _OURS for path in sorted(checkout.glob(pattern)))
        return str(checkout), _below(checkout, list(paths))
    return "the documentation of the installed distributions", _packaged()


def _packaged() -> Iterator[Source]:
    from importlib_metadata import Distribution, distributions  # pyright: ignore[reportUnknownVariableType]

    installed = cast("Iterable[Distribution]", distributions())  # pyright: ignore[reportUnknownVariableType]
    found = {distribution.name: distribution for distribution in installed if distribution.name.startswith("infra-")}
    for name, distribution in sorted(found.items()):
        text = str(distribution.metadata.get_payload())  # type: ignore[attr-defined]  (the body of METADATA is the README)
        if text.strip():
            yield Source(f"{name}.md", text.encode())


def _below(folder: Path, paths: list[Path]) -> Iterator[Source]:
    for path in paths:
        relative = path.relative_to(folder)
        if not path.is_file() or any(part.startswith(".") for part in relative.parts) or path.stat().st_size > _LARGEST:
            continue
        content = path.read_bytes()
        try:
            text = content.decode()
        except UnicodeDecodeError:
            continue
        if text.strip() and "\0" not in text:
            yield Source(relative.as_posix(), content)
