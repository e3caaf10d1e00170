"""What a plugin is told when a resource opens, and what it may answer to a failure. Apart from `infra.plugin`, which names both: a program
that opens nothing need not build them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.plugin import SharedStores

if TYPE_CHECKING:
    import logging


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """An answer of the hook ``infra_analyze_failure``: what failed, why, and what to do."""

    what: str
    why: str
    remedy: str


def _unchanged(text: str) -> str:
    return text


def _nothing(names: Sequence[str]) -> str | None:  # noqa: ARG001
    return None


def _logger() -> logging.Logger:
    import logging

    return logging.getLogger("infra")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenContext:
    """What a driver or portable object may know about where it is opened.

    Args:
        capability: ``cache``.
        name: The resource's name within the capability: ``main``.
        provider: The provider's name.
        environment: ``development``, ``test``, ``staging`` or ``production``.
        data_dir: The folder for files of embedded providers; it may not exist yet.
        stores: In-memory stores of the kernel.
        redact: Replaces the values of all live secrets in a text.
        origins: Settings by name, with where each value comes from: ```host` and `port` (REDIS_URL)``; None where the resource has none.
        logger: The logger of this resource.
        services: Looks up another portable object of the same door: ``services("cache", "main")``; for portable classes only.
    """

    capability: str
    name: str
    provider: str
    environment: str = "development"
    data_dir: Path = Path(".infra")
    stores: SharedStores = field(default_factory=SharedStores)
    redact: Callable[[str], str] = _unchanged
    origins: Callable[[Sequence[str]], str | None] = _nothing
    logger: logging.Logger = field(default_factory=_logger)
    services: Callable[[str, str], Any] | None = None

    @property
    def resource(self) -> str:
        """The full name: ``cache.main``."""
        return f"{self.capability}.{self.name}"

    @property
    def is_production(self) -> bool:
        """Whether the host runs in production."""
        return self.environment == "production"
