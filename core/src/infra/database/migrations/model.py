"""Value types of migrations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a host keeps its migrations and its models.

    Args:
        directory: The folder of all lineages; each named database has a folder of its own in it.
        models: ``"module"`` or ``"module:attribute"`` references to modules with models, bases or metadata.
        packages: Packages of which every ``models`` module is imported, at any depth: ``["app.modules"]``.
        version_table: The table that records what was applied; ``alembic_version``, and for databases other than ``main``
            ``alembic_version_<name>``, when not given.
        lock_timeout: Seconds to wait for another migrator.
    """

    directory: Path = Path("migrations")
    models: Sequence[str] = ()
    packages: Sequence[str] = ()
    version_table: str | None = None
    lock_timeout: float = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Current:
    """Where a database stands.

    Args:
        revisions: The applied revisions; several where the lineage has branches.
        heads: The newest revisions of the lineage.
        pending: Revisions that are not applied, oldest first.
    """

    revisions: tuple[str, ...]
    heads: tuple[str, ...]
    pending: tuple[str, ...]

    @property
    def is_head(self) -> bool:
        """True when nothing is left to apply."""
        return set(self.revisions) == set(self.heads)


class Finding(StrEnum):
    """What a check finds."""

    UNREGISTERED_MODELS = "unregistered_models"  #: a ``models`` module exists that no reference or package covers
    MISSING_HEAD = "missing_head"  #: revisions exist that are not applied
    MULTIPLE_HEADS = "multiple_heads"  #: two revisions follow the same one
    DRIFT = "drift"  #: models and schema differ


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One finding.

    Args:
        finding: Its kind.
        message: What differs.
        remedy: What to do.
    """

    finding: Finding
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.message}; {self.remedy}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The result of a check.

    Args:
        database: The resource's name.
        problems: All findings; none when everything fits.
        not_compared: What may differ all the same, since no comparison of this server covers it.
    """

    database: str
    problems: tuple[Problem, ...] = ()
    not_compared: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """True when models, migrations and schema fit each other."""
        return not self.problems
