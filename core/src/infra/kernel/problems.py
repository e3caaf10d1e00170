"""What is wrong with a configuration, a line each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from infra.errors import ConfigurationError
from infra.kernel.layers import Origin


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where, what, from which source, and what to do.

    Args:
        subject: The resource (``database.garmin``), section or ``settings``.
        message: What is wrong; never holds a value.
        origin: Where the value stands.
        remedy: What to do.
    """

    subject: str
    message: str
    origin: Origin | None = None
    remedy: str | None = None

    def __str__(self) -> str:
        source = f" ({self.origin})" if self.origin else ""
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{self.subject}: {self.message}{source}{remedy}"


@dataclass(frozen=True, slots=True)
class EnvironmentStatus:
    """The answer of `validate_environment`.

    Args:
        is_valid: Whether every configured resource and section is valid.
        errors: A line for each problem that stops something.
        warnings: A line for each that does not.
    """

    is_valid: bool
    errors: list[str] = field(default_factory=list[str])
    warnings: list[str] = field(default_factory=list[str])


def failure(problems: Sequence[Problem], **fields: str) -> ConfigurationError:
    """One error for all problems."""
    if len(problems) == 1:
        only = problems[0]
        source = f" ({only.origin})" if only.origin else ""
        return ConfigurationError(only.message + source, resource=only.subject, remedy=only.remedy)
    lines = "\n".join(f"  {problem}" for problem in problems)
    return ConfigurationError(f"{len(problems)} problems in the configuration:\n{lines}", **fields)  # type: ignore[arg-type]
