"""Value types of every resource."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Status(StrEnum):
    """The health of a resource. DEGRADED serves, with something missing; UNKNOWN was not asked or did not answer in time."""

    UP = "up"
    DEGRADED = "degraded"
    DOWN = "down"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Health:
    """The outcome of one health check.

    Args:
        status: What was found.
        duration: How long the check took, in seconds.
        code: The error code of the failure; None when there was none.
        message: One line for operators; holds no secret.
        details: Small facts, such as the server's version.
        remedy: What to do about the failure.
    """

    status: Status
    duration: float = 0.0
    code: str | None = None
    message: str | None = None
    details: Mapping[str, object] = field(default_factory=dict[str, object])
    remedy: str | None = None
