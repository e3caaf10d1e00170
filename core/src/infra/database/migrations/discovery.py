"""Finding and importing every module with models, so that no table is forgotten."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from sqlalchemy import MetaData

from infra.errors import ConfigurationError

_NAME = "models"


def load_metadata(models: Sequence[str], packages: Sequence[str], database: str) -> list[MetaData]:
    """The metadata of the named database, after all modules with models are imported.

    Metadata belongs to the database in its ``info["database"]``, to ``main`` when it says none (see `infra.database.models.new_metadata`).

    Args:
        models: ``"module"`` or ``"module:attribute"`` references.
        packages: Packages of which every ``models`` module is imported.
        database: The database's name, such as ``main``.

    Raises:
        ConfigurationError: A reference or package cannot be imported.
    """
    found: dict[int, MetaData] = {}
    for source in [*(_resolve(reference) for reference in models), *(_import(name) for package in packages for name in below(package))]:
        for metadata in _metadata_of(source):
            if metadata.info.get("database", "main") == database:
                found[id(metadata)] = metadata
    return list(found.values())


def unregistered(models: Sequence[str], packages: Sequence[str]) -> list[str]:
    """``models`` modules that stand in the same top-level packages, and that neither a package covers nor anything has imported."""
    roots = {name.partition(":")[0].partition(".")[0] for name in (*models, *packages)}
    covered = {name for package in packages for name in below(package)}
    named = {reference.partition(":")[0] for reference in models}
    return [name for root in sorted(roots) for name in below(root) if name not in covered and name not in named and name not in sys.modules]


def below(package: str) -> list[str]:
    """The names of all ``models`` modules in a package, and of all modules within ``models`` packages. Imports parents only.

    Folders are searched, not packages: a forgotten ``__init__.py`` hides nothing.
    """
    try:
        spec = find_spec(package)
    except ImportError as error:
        raise _unimportable(package, error) from error
    if spec is None:
        raise ConfigurationError(f"there is no package {package}", remedy="correct `modules` in [infra], or install the package")
    names: list[str] = []
    for folder in spec.submodule_search_locations or ():
        root = Path(folder)
        for path in sorted(root.rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            if parts[-1] == "__init__":
                parts = parts[:-1]
            if _NAME in parts and all(part.isidentifier() for part in parts):
                names.append(".".join((package, *parts)))
    if package.rpartition(".")[2] == _NAME:
        names.insert(0, package)
    return names


def _resolve(reference: str) -> object:
    name, _, attribute = reference.partition(":")
    module = _import(name)
    if not attribute:
        return module
    try:
        return getattr(module, attribute)
    except AttributeError as error:
        raise ConfigurationError(
            f"{name} has no {attribute}", remedy=f"correct the reference {reference!r} to a module, base or metadata"
        ) from error


def _import(name: str) -> ModuleType:
    try:
        return import_module(name)
    except Exception as error:  # a module of the host's may raise anything
        raise _unimportable(name, error) from error


def _unimportable(name: str, error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"the models in {name} cannot be imported: {type(error).__name__}: {error}", remedy=f"make `python -c 'import {name}'` work"
    )


def _metadata_of(source: object) -> Iterator[MetaData]:
    candidates: list[Any] = [source]
    if isinstance(source, ModuleType):
        candidates = list(vars(source).values())
    for candidate in candidates:
        if isinstance(candidate, MetaData):
            yield candidate
        elif inspect.isclass(candidate) or not isinstance(source, ModuleType):
            metadata = getattr(candidate, "metadata", None)
            if isinstance(metadata, MetaData):
                yield metadata
