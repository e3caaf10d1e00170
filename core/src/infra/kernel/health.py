"""Health of all resources: concurrent, each with its own timeout, cached for a moment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from infra.resource.model import Health, Status


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """A check of a plugin or host, beside those of the resources.

    Args:
        name: A name that no other check has.
        check: Returns a `Health`, or an awaitable of one; what it raises counts as down.
        required: Whether readiness depends on it.
        timeout: Seconds that it may take.
    """

    name: str
    check: Callable[[], Health | Awaitable[Health]] | Callable[[], Any]
    required: bool = False
    timeout: float = 5.0


@dataclass(frozen=True, slots=True)
class HealthReport:
    """The health of everything that was asked.

    Args:
        status: The worst of what is required, else DEGRADED when something optional is not up.
        ready: Whether every required resource serves and the kernel is started and not draining.
        checks: The health of each, by full name.
    """

    status: Status
    ready: bool
    checks: Mapping[str, Health] = field(default_factory=dict[str, Health])


def failed_check(result: object) -> Health:
    """The health that a check of a plugin stands for when it raised, or returned something else than a `Health`."""
    said = f"raised {type(result).__name__}" if isinstance(result, BaseException) else f"returned {type(result).__name__}, not a Health"
    return Health(Status.DOWN, code="INTERNAL", message=f"the check {said}", remedy="report it to its author")


def summarize(checks: Mapping[str, Health], required: set[str], serving: bool) -> HealthReport:
    """The whole from its parts: down when something required is not up or degraded."""
    fit = (Status.UP, Status.DEGRADED)
    if any(health.status not in fit for name, health in checks.items() if name in required):
        status = Status.DOWN
    elif any(health.status is not Status.UP for health in checks.values()):
        status = Status.DEGRADED
    else:
        status = Status.UP
    return HealthReport(status, serving and status is not Status.DOWN, dict(checks))
