"""The infrastructure layer of Python backends: one kernel, portable APIs, provider plugins.

    from infra import Infra

    with Infra() as services:
        services.cache().set("greeting", "hello")

Public names are loaded on first use: importing this package imports nothing but the standard library.
"""

from __future__ import annotations

TYPE_CHECKING = False  # importing typing would cost more than all of this module
if TYPE_CHECKING:
    from typing import Any

    from infra.errors import BusinessRuleError as BusinessRuleError
    from infra.errors import ClosedError as ClosedError
    from infra.errors import ConfigurationError as ConfigurationError
    from infra.errors import ConflictError as ConflictError
    from infra.errors import DatabaseError as DatabaseError
    from infra.errors import ErrorCode as ErrorCode
    from infra.errors import InfraError as InfraError
    from infra.errors import NotFoundError as NotFoundError
    from infra.errors import ServiceError as ServiceError
    from infra.errors import UnsupportedError as UnsupportedError
    from infra.errors import ValidationError as ValidationError
    from infra.kernel.health import HealthCheck as HealthCheck
    from infra.kernel.health import HealthReport as HealthReport
    from infra.kernel.problems import EnvironmentStatus as EnvironmentStatus
    from infra.kernel.secrets import Secret as Secret
    from infra.kernel.services._async import AsyncInfra as AsyncInfra
    from infra.kernel.services._sync import Infra as Infra
    from infra.kernel.settings import Section as Section
    from infra.resource import Health as Health
    from infra.resource import Status as Status

_PLACES = {
    "AsyncInfra": "infra.kernel.services._async",
    "BusinessRuleError": "infra.errors",
    "ClosedError": "infra.errors",
    "ConfigurationError": "infra.errors",
    "ConflictError": "infra.errors",
    "DatabaseError": "infra.errors",
    "EnvironmentStatus": "infra.kernel.problems",
    "ErrorCode": "infra.errors",
    "Health": "infra.resource",
    "HealthCheck": "infra.kernel.health",
    "HealthReport": "infra.kernel.health",
    "Infra": "infra.kernel.services._sync",
    "InfraError": "infra.errors",
    "NotFoundError": "infra.errors",
    "Secret": "infra.kernel.secrets",
    "Section": "infra.kernel.settings",
    "ServiceError": "infra.errors",
    "Status": "infra.resource",
    "UnsupportedError": "infra.errors",
    "ValidationError": "infra.errors",
}

__all__ = list(_PLACES)  # pyright: ignore[reportUnsupportedDunderAll]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'infra' has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(_PLACES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_PLACES])
