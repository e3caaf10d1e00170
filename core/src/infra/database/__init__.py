"""Databases: sessions and units on SQLAlchemy, the same for every server.

Public names are loaded on first use: settings of databases are validated without SQLAlchemy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from infra.database._async.database import AsyncDatabase as AsyncDatabase
    from infra.database._sync.database import Database as Database
    from infra.database.driver import DatabaseDriver as DatabaseDriver
    from infra.database.errors import CheckError as CheckError
    from infra.database.errors import CommitUnknownError as CommitUnknownError
    from infra.database.errors import DatabaseConnectionError as DatabaseConnectionError
    from infra.database.errors import DatabaseOperationError as DatabaseOperationError
    from infra.database.errors import DatabaseTimeoutError as DatabaseTimeoutError
    from infra.database.errors import DataError as DataError
    from infra.database.errors import DeadlockError as DeadlockError
    from infra.database.errors import ForeignKeyError as ForeignKeyError
    from infra.database.errors import IntegrityError as IntegrityError
    from infra.database.errors import LockTimeoutError as LockTimeoutError
    from infra.database.errors import NotNullError as NotNullError
    from infra.database.errors import PoolTimeoutError as PoolTimeoutError
    from infra.database.errors import ReadOnlyError as ReadOnlyError
    from infra.database.errors import SerializationError as SerializationError
    from infra.database.errors import StatementError as StatementError
    from infra.database.errors import StatementTimeoutError as StatementTimeoutError
    from infra.database.errors import TransactionFailedError as TransactionFailedError
    from infra.database.errors import UniqueError as UniqueError
    from infra.database.model import DatabaseFeature as DatabaseFeature
    from infra.database.model import DatabaseInfo as DatabaseInfo
    from infra.database.model import DatabaseStats as DatabaseStats
    from infra.database.model import Failure as Failure
    from infra.database.model import Fault as Fault
    from infra.database.model import PoolStats as PoolStats
    from infra.database.model import Retry as Retry
    from infra.database.model import Role as Role
    from infra.database.model import SchemaReport as SchemaReport
    from infra.database.models import Base as Base
    from infra.database.models import SoftDelete as SoftDelete
    from infra.database.models import Timestamps as Timestamps
    from infra.database.models import UTCDateTime as UTCDateTime
    from infra.database.models import UUIDPrimaryKey as UUIDPrimaryKey
    from infra.database.models import Version as Version
    from infra.database.models import new_metadata as new_metadata
    from infra.database.models import unique_among_live as unique_among_live
    from infra.database.repository import UNSET as UNSET
    from infra.database.repository import AsyncRepository as AsyncRepository
    from infra.database.repository import InvalidCursorError as InvalidCursorError
    from infra.database.repository import InvalidFilterError as InvalidFilterError
    from infra.database.repository import Page as Page
    from infra.database.repository import Repository as Repository
    from infra.database.repository import RowNotFoundError as RowNotFoundError
    from infra.database.repository import Sort as Sort
    from infra.database.repository import StaleVersionError as StaleVersionError
    from infra.database.repository import UniqueKeyError as UniqueKeyError
    from infra.database.repository import UnknownFieldError as UnknownFieldError
    from infra.database.settings import DatabaseSettings as DatabaseSettings
    from infra.database.settings import ServerDatabaseSettings as ServerDatabaseSettings
    from infra.errors import DatabaseError as DatabaseError

_PLACES: Final = {
    "AsyncDatabase": "infra.database._async.database",
    "AsyncRepository": "infra.database.repository",
    "Base": "infra.database.models",
    "CheckError": "infra.database.errors",
    "CommitUnknownError": "infra.database.errors",
    "DataError": "infra.database.errors",
    "Database": "infra.database._sync.database",
    "DatabaseConnectionError": "infra.database.errors",
    "DatabaseDriver": "infra.database.driver",
    "DatabaseError": "infra.errors",
    "DatabaseFeature": "infra.database.model",
    "DatabaseInfo": "infra.database.model",
    "DatabaseOperationError": "infra.database.errors",
    "DatabaseSettings": "infra.database.settings",
    "DatabaseStats": "infra.database.model",
    "DatabaseTimeoutError": "infra.database.errors",
    "DeadlockError": "infra.database.errors",
    "Failure": "infra.database.model",
    "Fault": "infra.database.model",
    "ForeignKeyError": "infra.database.errors",
    "IntegrityError": "infra.database.errors",
    "InvalidCursorError": "infra.database.repository",
    "InvalidFilterError": "infra.database.repository",
    "LockTimeoutError": "infra.database.errors",
    "NotNullError": "infra.database.errors",
    "Page": "infra.database.repository",
    "PoolStats": "infra.database.model",
    "PoolTimeoutError": "infra.database.errors",
    "ReadOnlyError": "infra.database.errors",
    "Repository": "infra.database.repository",
    "Retry": "infra.database.model",
    "Role": "infra.database.model",
    "RowNotFoundError": "infra.database.repository",
    "SchemaReport": "infra.database.model",
    "SerializationError": "infra.database.errors",
    "ServerDatabaseSettings": "infra.database.settings",
    "SoftDelete": "infra.database.models",
    "Sort": "infra.database.repository",
    "StaleVersionError": "infra.database.repository",
    "StatementError": "infra.database.errors",
    "StatementTimeoutError": "infra.database.errors",
    "Timestamps": "infra.database.models",
    "TransactionFailedError": "infra.database.errors",
    "UNSET": "infra.database.repository",
    "UTCDateTime": "infra.database.models",
    "UUIDPrimaryKey": "infra.database.models",
    "UniqueError": "infra.database.errors",
    "UniqueKeyError": "infra.database.repository",
    "UnknownFieldError": "infra.database.repository",
    "Version": "infra.database.models",
    "new_metadata": "infra.database.models",
    "unique_among_live": "infra.database.models",
}

__all__ = list(_PLACES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(_PLACES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_PLACES])
